"""kea-leases6.csv: read and written; escapes and states are those of `keacsv`. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

from provisioner.dhcp.foreign.found import FOR_EVER, Contents, FoundLease6, Was, clean_name, duid_in, octets
from provisioner.dhcp.foreign.keacsv import INFINITE, escape, lines, read_rows, state_of, times_of

KIND = "kea-leases6.csv"
COLUMNS = (
    "address",
    "duid",
    "valid_lifetime",
    "expire",
    "subnet_id",
    "pref_lifetime",
    "lease_type",
    "iaid",
    "prefix_len",
    "fqdn_fwd",
    "fqdn_rev",
    "hostname",
    "hwaddr",
    "state",
    "user_context",
    "hwtype",
    "hwaddr_source",
)
"""As Kea 2.2 writes them; later versions add columns behind, and read files without them."""
NEEDED = COLUMNS[:8]
IA_NA = "0"
"""Of `lease_type`; temporary addresses (1) and prefixes (2) are not given here."""
NO_DUID = "00:00:00"
"""What stands for the holder of an address that was declined."""


def read(data: bytes, where: str) -> Contents:
    """Read a lease file of IPv6."""
    contents = Contents(where, KIND)
    read_rows(contents, data, NEEDED, _row)
    return contents


def _row(contents: Contents, line: int, row: dict[str, str]) -> None:
    if row["lease_type"] != IA_NA:
        what = "a prefix" if row["lease_type"] == "2" else "a temporary address"
        contents.note(line, f"{row['address'][:60]} is {what}, and those are not given here")
        return
    valid, expire = int(row["valid_lifetime"]), int(row["expire"])
    iaid = int(row["iaid"])
    if not 0 <= iaid <= INFINITE:
        raise ValueError(f"{row['iaid'][:20]!r} is no number of an association")
    lease = FoundLease6(
        ip=int(IPv6Address(row["address"])),
        duid=duid_in(octets(row["duid"].split(":"))),
        iaid=iaid,
        where=contents.at(line),
        until=FOR_EVER if valid == INFINITE else float(expire),
        since=float(max(expire - valid, 0)),
        was=state_of(row),
        name=clean_name(row.get("hostname", "").partition(".")[0]),
    )
    # a life of nothing takes the lease away, also from a file that was read before
    contents.keep6(lease if valid else lease._replace(was=Was.RELEASED))


class Row6(NamedTuple):
    """One lease to be written. `declined` ones have no holder."""

    ip: int
    duid: bytes
    iaid: int
    since: float
    until: float
    subnet_id: int
    name: str
    declined: bool = False


def write(rows: Iterable[Row6]) -> Iterator[str]:
    """Write a lease file, line by line, with line ends."""
    return lines(COLUMNS, map(_fields, rows))


def _fields(row: Row6) -> tuple[str, ...]:
    valid, expire = times_of(row.since, row.until)
    duid, iaid, name = (NO_DUID, 0, "") if row.declined else (row.duid.hex(":"), row.iaid, escape(row.name.lower()))
    numbers = (str(valid), str(expire), str(row.subnet_id), str(valid), IA_NA, str(iaid))
    state = "1" if row.declined else "0"
    return (str(IPv6Address(row.ip)), duid, *numbers, "128", "0", "0", name, "", state, "", "", "")

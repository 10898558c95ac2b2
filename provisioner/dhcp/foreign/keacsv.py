"""kea-leases4.csv: read and written, with its escapes; a log whose last row of an address counts. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from provisioner.dhcp import relay
from provisioner.dhcp.foreign.found import FOR_EVER, Contents, FileFault, FoundLease, Was, clean_name, key_in, key_of
from provisioner.dhcp.foreign.found import octets as read_octets
from provisioner.dhcp.foreign.json import Map, Reader
from provisioner.errors import WireError

KIND = "kea-leases4.csv"
COLUMNS = (
    "address",
    "hwaddr",
    "client_id",
    "valid_lifetime",
    "expire",
    "subnet_id",
    "fqdn_fwd",
    "fqdn_rev",
    "hostname",
    "state",
    "user_context",
)
"""As Kea 2.2 writes them; later versions add columns behind, and read files without them."""
INFINITE = 0xFFFFFFFF
STATES = {"0": Was.ACTIVE, "1": Was.DECLINED, "2": Was.RELEASED, "3": Was.RELEASED, "4": Was.ACTIVE}
"""Default, declined, expired-reclaimed; released and registered since Kea 2.7."""

_ESCAPED = re.compile(r"&#x([0-9a-fA-F]{2})")


def escape(text: str) -> str:
    """Write a value so that it holds no comma and no line end."""
    return "".join(f"&#x{ord(c):02x}" if c in ",\r\n" or text.startswith("&#x", at) else c for at, c in enumerate(text))


def unescape(text: str) -> str:
    """Read what `escape` writes."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "&#x" in text else text


def read(data: bytes, where: str) -> Contents:
    """Read a lease file of IPv4."""
    contents = Contents(where, KIND)
    read_rows(contents, data, COLUMNS[:5], _row)
    return contents


def read_rows(
    contents: Contents, data: bytes, needed: Sequence[str], take: Callable[[Contents, int, dict[str, str]], None]
) -> None:
    """Hand every row to `take`, by the names of its columns; raise `FileFault` where one of `needed` is not there."""
    lines = data.decode("utf-8", "replace").split("\n")
    header = lines[0].strip("\r").split(",")
    missing = [name for name in needed if name not in header]
    if missing:
        hint = "the first line of a Kea lease file names them"
        raise FileFault(f"{contents.where}:1: no column {missing[0]}", hint=hint)
    for line, text in enumerate(lines[1:], 2):
        values = [unescape(value) for value in text.rstrip("\r").split(",")]
        try:
            if not text.strip():
                continue
            if not len(needed) <= len(values) <= len(header):
                raise ValueError(f"{len(values)} values, and {len(header)} columns")
            take(contents, line, dict(zip(header, values, strict=False)))
        except ValueError as error:
            contents.fault(line, str(error))


def _row(contents: Contents, line: int, row: dict[str, str]) -> None:
    lease = _lease(contents.at(line), row)
    contents.leases.pop(lease.ip, None)
    # a life of nothing takes the lease away, also from a file that was read before
    contents.leases[lease.ip] = lease if row["valid_lifetime"] != "0" else lease._replace(was=Was.RELEASED)


def _lease(where: str, row: dict[str, str]) -> FoundLease:
    valid, expire = int(row["valid_lifetime"]), int(row["expire"])
    client_id = _octets(row["client_id"])
    mac = _octets(row["hwaddr"])
    was = state_of(row)
    info = _relay_info(row.get("user_context", ""))
    return FoundLease(
        ip=int(IPv4Address(row["address"])),
        key=key_of(1, mac) if mac else key_in(client_id),
        where=where,
        until=FOR_EVER if valid == INFINITE else float(expire),
        since=float(max(expire - valid, 0)),
        was=was,
        name=clean_name(row.get("hostname", "").partition(".")[0]),
        client_id=client_id,
        circuit_id=info.circuit_id,
        remote_id=info.remote_id,
    )


def state_of(row: dict[str, str]) -> Was:
    """Read a row's state; raise `ValueError`."""
    was = STATES.get(row.get("state", "0") or "0")
    if was is None:
        raise ValueError(f"state {row['state'][:20]!r} is unknown")
    return was


def _octets(text: str) -> bytes:
    return read_octets(text.split(":")) if text else b""


def _relay_info(context: str) -> relay.RelayInfo:
    """Read option 82 out of a row's user context, where the server was told to keep it."""
    try:
        found = Reader(context, "").value if context else None
        for key in ("ISC", "relay-agent-info"):
            found = found.get(key) if isinstance(found, Map) else None
        text = found.get("sub-options", "") if isinstance(found, Map) else found
        return (
            relay.decode(bytes.fromhex(text[2:])) if isinstance(text, str) and text.startswith("0x") else relay.NOTHING
        )
    except (FileFault, WireError, ValueError):
        return relay.NOTHING  # a context is anybody's; only what we know in it counts


class Row(NamedTuple):
    """One lease to be written. `declined` ones have no holder."""

    ip: int
    mac: bytes
    client_id: bytes
    since: float
    until: float
    subnet_id: int
    name: str
    declined: bool = False


def write(rows: Iterable[Row]) -> Iterator[str]:
    """Write a lease file, line by line, with line ends."""
    return lines(COLUMNS, map(_fields, rows))


def lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write columns and rows of values that were escaped."""
    yield ",".join(columns) + "\n"
    for row in rows:
        yield ",".join(row) + "\n"


def times_of(since: float, until: float) -> tuple[int, int]:
    """Give the life of a lease and its end, in whole seconds, as Kea counts them."""
    if until >= INFINITE:
        return INFINITE, INFINITE
    return max(1, min(int(until) - int(since), INFINITE - 1)), int(until)


def _fields(row: Row) -> tuple[str, ...]:
    valid, expire = times_of(row.since, row.until)
    return (
        str(IPv4Address(row.ip)),
        "" if row.declined else row.mac.hex(":"),
        "" if row.declined else row.client_id.hex(":"),
        str(valid),
        str(expire),
        str(row.subnet_id),
        "0",
        "0",
        "" if row.declined else escape(row.name.lower()),
        "1" if row.declined else "0",
        "",
    )

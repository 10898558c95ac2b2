"""dnsmasq.leases: expiry, hardware address, address, name, client identifier; after `duid` those of DHCPv6. No I/O."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from provisioner.dhcp.foreign.found import (
    FOR_EVER,
    Contents,
    FoundLease,
    FoundLease6,
    clean_name,
    duid_in,
    key_of,
    octets,
)

KIND = "dnsmasq.leases"
FIELDS = 5


def read(data: bytes, where: str) -> Contents:
    """Read a lease file."""
    contents = Contents(where, KIND)
    six = False
    temporary = 0
    for line, text in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        fields = text.split()
        if fields[:1] == ["duid"]:
            six = True
        elif six and len(fields) > 1 and fields[1].startswith("T"):
            temporary += 1
        elif fields:
            try:
                _take(contents, line, fields, six=six)
            except ValueError as error:
                contents.fault(line, str(error))
    if temporary:
        contents.note(1, f"{temporary} temporary addresses of DHCPv6 are left out: their clients ask for others soon")
    return contents


def _take(contents: Contents, line: int, fields: list[str], *, six: bool) -> None:
    if len(fields) != FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {FIELDS}")
    if six:
        contents.keep6(_lease6(contents.at(line), fields))
    else:
        lease = _lease(contents.at(line), fields)
        contents.leases[lease.ip] = lease


def _lease(where: str, fields: list[str]) -> FoundLease:
    expiry, mac, ip, name, client_id = fields
    htype, dash, address = mac.rpartition("-")
    return FoundLease(
        ip=int(IPv4Address(ip)),
        key=key_of(int(htype, 16) if dash else 1, octets(address.split(":"))),
        where=where,
        until=_end(expiry),
        name="" if name == "*" else clean_name(name),
        client_id=b"" if client_id == "*" else octets(client_id.split(":")),
    )


def _lease6(where: str, fields: list[str]) -> FoundLease6:
    expiry, iaid, ip, name, duid = fields
    if not iaid.isdecimal() or int(iaid) > 0xFFFFFFFF:
        raise ValueError(f"{iaid[:20]!r} is no number of an association")
    return FoundLease6(
        ip=int(IPv6Address(ip)),
        duid=duid_in(octets(duid.split(":"))),
        iaid=int(iaid),
        where=where,
        until=_end(expiry),
        name="" if name == "*" else clean_name(name),
    )


def _end(expiry: str) -> float:
    if not expiry.isdecimal() or len(expiry) > 12:
        raise ValueError(f"{expiry[:20]!r} is no time")
    return float(expiry) if int(expiry) else FOR_EVER

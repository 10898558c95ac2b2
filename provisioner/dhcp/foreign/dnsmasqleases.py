"""dnsmasq.leases: expiry, hardware address, address, name, client identifier; DHCPv6 after `duid`. No I/O."""

from __future__ import annotations

from ipaddress import IPv4Address

from provisioner.dhcp.foreign.found import FOR_EVER, Contents, FoundLease, clean_name, key_of, octets

KIND = "dnsmasq.leases"
FIELDS = 5


def read(data: bytes, where: str) -> Contents:
    """Read a lease file."""
    contents = Contents(where, KIND)
    v6_from = v6 = 0
    for line, text in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        fields = text.split()
        if fields[:1] == ["duid"]:
            v6_from = line
        elif fields and v6_from:
            v6 += 1
        elif fields:
            try:
                lease = _lease(contents.at(line), fields)
                contents.leases[lease.ip] = lease
            except ValueError as error:
                contents.fault(line, str(error))
    if v6:
        contents.note(v6_from, f"{v6} leases of DHCPv6 are left out")
    return contents


def _lease(where: str, fields: list[str]) -> FoundLease:
    if len(fields) != FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {FIELDS}")
    expiry, mac, ip, name, client_id = fields
    if not expiry.isdecimal() or len(expiry) > 12:
        raise ValueError(f"{expiry[:20]!r} is no time")
    htype, dash, address = mac.rpartition("-")
    return FoundLease(
        ip=int(IPv4Address(ip)),
        key=key_of(int(htype, 16) if dash else 1, octets(address.split(":"))),
        where=where,
        until=float(expiry) if int(expiry) else FOR_EVER,
        name="" if name == "*" else clean_name(name),
        client_id=b"" if client_id == "*" else octets(client_id.split(":")),
    )

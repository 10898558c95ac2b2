"""dhcpd.leases: a log of lease blocks, the last one of an address counts (dhcpd.leases(5)). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from provisioner.dhcp.foreign.found import (
    FOR_EVER,
    Contents,
    FoundLease,
    FoundLease6,
    FoundReservation,
    Was,
    duid_in,
    key_in,
)
from provisioner.dhcp.foreign.isctext import Statement, Word, statements
from provisioner.dhcp.foreign.iscvalues import hardware_of, host, name_of, octets_of, time_of

KIND = "dhcpd.leases"
STATES = {
    "active": Was.ACTIVE,
    "bootp": Was.ACTIVE,
    "reserved": Was.ACTIVE,
    "abandoned": Was.DECLINED,
    **dict.fromkeys(("free", "expired", "released", "reset", "backup"), Was.RELEASED),
}


def read(data: bytes, where: str) -> Contents:
    """Read a lease file; raises `FileFault` where its structure is broken."""
    contents = Contents(where, KIND)
    found, cut = statements(data.decode("latin-1"), where)
    if cut:
        contents.faults.append(cut)
    hosts: dict[str, list[FoundReservation]] = {}
    others, order = 0, _byte_order(found)
    for statement in found:
        try:
            if statement.starts("lease"):
                lease = _lease(contents, statement)
                contents.leases.pop(lease.ip, None)
                contents.leases[lease.ip] = lease
            elif statement.starts("host"):
                _host(contents, statement, hosts)
            elif statement.starts("ia-na"):
                _association(contents, statement, order)
            elif statement.text(0).lower() in ("ia-ta", "ia-pd"):
                others += 1
        except ValueError as error:
            contents.fault(statement.line, str(error))
    for reservations in hosts.values():
        contents.reservations += reservations
    if others:
        contents.note(1, f"{others} temporary addresses and prefixes of DHCPv6 are left out")
    return contents


def _byte_order(found: Sequence[Statement]) -> Literal["little", "big"]:
    """Say in which order the machine that wrote the file has the octets of a number: dhcpd copies them as they are."""
    said = next((statement.text(1) for statement in found if statement.starts("authoring-byte-order")), "little-endian")
    return "big" if said.lower() == "big-endian" else "little"


def _association(contents: Contents, statement: Statement, order: Literal["little", "big"]) -> None:
    """Read an `ia-na` block: four octets of number and a DUID, then addresses."""
    name = octets_of(statement.words[1:2])
    iaid, duid = int.from_bytes(name[:4], order), duid_in(name[4:])
    heard = next((time_of(inner.words[1:]) for inner in statement.block or () if inner.starts("cltt")), 0.0)
    for inner in statement.block or ():
        if inner.starts("iaaddr"):
            ip, until, was = int(IPv6Address(inner.text(1))), FOR_EVER, Was.ACTIVE
            for said in inner.block or ():
                if said.starts("ends"):
                    until = time_of(said.words[1:])
                elif said.starts("binding", "state"):
                    was = _state(said.text(2))
            contents.keep6(FoundLease6(ip, duid, iaid, contents.at(inner.line), until, heard, was))


def _host(contents: Contents, statement: Statement, hosts: dict[str, list[FoundReservation]]) -> None:
    """Read a host that was made or deleted over OMAPI."""
    hosts.pop(statement.text(1), None)
    if not any(inner.starts("deleted") for inner in statement.block or ()):
        hosts[statement.text(1)] = host(contents, statement, by_name=False)


def _lease(contents: Contents, statement: Statement) -> FoundLease:
    lease = FoundLease(int(IPv4Address(statement.text(1))), b"", contents.at(statement.line), FOR_EVER)
    for inner in statement.block or ():
        lease = _with(lease, inner)
    return lease._replace(key=lease.key or key_in(lease.client_id))


def _with(lease: FoundLease, inner: Statement) -> FoundLease:
    """Take in one statement of a lease block; those that say nothing to us are passed over."""
    word, values = inner.text(0).lower(), inner.words[1:]
    if word == "option":
        return _relayed(lease, inner)
    reader = _READERS.get(word)
    return lease if reader is None else reader(lease, inner, values)


def _state(text: str) -> Was:
    found = STATES.get(text.lower())
    if found is None:
        raise ValueError(f"binding state {text[:20]!r} is unknown")
    return found


def _relayed(lease: FoundLease, inner: Statement) -> FoundLease:
    match inner.text(1).lower():
        case "agent.circuit-id":
            return lease._replace(circuit_id=octets_of(inner.words[2:]))
        case "agent.remote-id":
            return lease._replace(remote_id=octets_of(inner.words[2:]))
    return lease


_READERS: dict[str, Callable[[FoundLease, Statement, Sequence[Word]], FoundLease]] = {
    "ends": lambda lease, inner, values: lease._replace(until=time_of(values)),
    "starts": lambda lease, inner, values: lease._replace(since=time_of(values)),
    "hardware": lambda lease, inner, values: lease._replace(key=hardware_of(inner)),
    "uid": lambda lease, inner, values: lease._replace(client_id=octets_of(values)),
    "client-hostname": lambda lease, inner, values: lease._replace(name=name_of(inner, 1)),
    "abandoned": lambda lease, inner, values: lease._replace(was=Was.DECLINED),
    "binding": lambda lease, inner, values: lease._replace(was=_state(inner.text(2))),
}

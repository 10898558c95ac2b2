"""What statements of ISC dhcpd say: hardware addresses, identifiers, times, hosts. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

from provisioner.dhcp.foreign import hostoptions
from provisioner.dhcp.foreign.found import (
    FOR_EVER,
    Contents,
    FoundReservation,
    FoundReservation6,
    Options,
    clean_name,
    duid_in,
    key_in,
    key_of,
    octets,
)
from provisioner.dhcp.foreign.isctext import Statement, Word

BOOT = ("filename", "next-server", "server-name")
READ = (
    ("hardware",),
    ("option", "host-name"),
    ("ddns-hostname",),
    ("option", "dhcp-client-identifier"),
    ("host-identifier", "option", "dhcp6.client-id"),
    ("fixed-address",),
    ("fixed-address6",),
    ("dynamic",),
    ("deleted",),
)
"""Statements of a host that are read, or say how it came to be there; all others tell its client something."""
HARDWARE = {"ethernet": 1, "token-ring": 6, "fddi": 8, "infiniband": 32}


def hardware_of(statement: Statement) -> bytes:
    """Read `hardware ethernet 52:54:00:00:00:01` as a key; raise `ValueError`."""
    name, address = statement.text(1).lower(), statement.text(2)
    htype = HARDWARE.get(name)
    if htype is None and name.startswith("unknown-") and name[8:].isdigit():
        htype = int(name[8:])
    if htype is None or not 0 < htype < 256:
        raise ValueError(f"hardware type {name[:20]!r} is unknown")
    return key_of(htype, octets(address.split(":")))


def octets_of(words: Sequence[Word]) -> bytes:
    """Read an identifier: a string, or hex octets with colons; raise `ValueError`."""
    if len(words) != 1:
        raise ValueError("an identifier is a string or hex octets")
    return words[0].text.encode("latin-1") if words[0].quoted else octets(words[0].text.split(":"))


def time_of(words: Sequence[Word]) -> float:
    """Read `4 2026/11/26 05:00:00`, `epoch 1795669200` or `never`; raise `ValueError`."""
    texts = [word.text for word in words]
    match texts:
        case ["never"]:
            return FOR_EVER
        case ["epoch", seconds]:
            return float(int(seconds))
        case [_, day, clock] | [_, day, clock, "+0000"]:
            at = datetime.strptime(f"{day} {clock}", "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
            return at.timestamp()
    raise ValueError(f"{' '.join(texts)[:40]!r} is no time")


def name_of(statement: Statement, at: int) -> str:
    """Read a host name, which may be UTF-8 in a string of octets."""
    return clean_name(statement.text(at).encode("latin-1", "replace").decode("utf-8", "replace"))


def options_of(contents: Contents, who: str, found: Iterable[Statement]) -> Options:
    """Read the options that hosts are told, of these statements; of all others is said that they are left out."""
    options = []
    for statement in found:
        key = statement.text(1).lower()
        try:
            if not statement.starts("option"):
                raise ValueError(hostoptions.BOOTS if statement.starts_any(BOOT) else "there is nothing like it here")
            options.append(hostoptions.taken(key, _value(key, statement.words[2:])))
        except ValueError as error:
            said = " ".join(word.text for word in statement.words)
            contents.note(statement.line, f"{who}: `{said[:100]}` is left out: {error}")
    return tuple(options)


def _value(key: str, words: Sequence[Word]) -> str:
    """Write an option's value as it is written here."""
    if hostoptions.is_text(key):
        if len(words) != 1 or not words[0].quoted:
            raise ValueError("one string is wanted")
        return words[0].text
    return ",".join(word.text for word in words if word.text != ",")


def host(contents: Contents, statement: Statement, *, by_name: bool, outer: Options = ()) -> list[FoundReservation]:
    """Read a `host` block. `by_name`: its own name is the machine's (use-host-decl-names); `outer`: of its groups."""
    name = name_of(statement, 1) if by_name else ""
    key = client_id = duid = b""
    ips: list[int] = []
    six: list[int] = []
    for inner in statement.block or ():
        if inner.starts("hardware"):
            key = hardware_of(inner)
        elif inner.starts("option", "host-name") or inner.starts("ddns-hostname"):
            name = name_of(inner, 2 if inner.starts("option") else 1)
        elif inner.starts("option", "dhcp-client-identifier"):
            client_id = octets_of(inner.words[2:])
        elif inner.starts("host-identifier", "option", "dhcp6.client-id"):
            duid = duid_in(octets_of(inner.words[3:]))
        elif inner.starts("fixed-address"):
            ips = _addresses(contents, inner)
        elif inner.starts("fixed-address6"):
            six = [int(IPv6Address(word.text)) for word in inner.words[1:] if word.text != ","]
    others = (inner for inner in statement.block or () if not any(inner.starts(*words) for words in READ))
    own = options_of(contents, f"host {statement.text(1)[:63]}", others)
    if six:
        _reserve6(contents, statement, (key, duid, name), six)
    if six and not ips and not own:
        return []
    found = FoundReservation(0, key or key_in(client_id), contents.at(statement.line), name)
    return _reservations(contents, statement, found._replace(options=hostoptions.merged(outer, own)), ips)


def _reserve6(contents: Contents, statement: Statement, who: tuple[bytes, bytes, str], ips: list[int]) -> None:
    key, duid, name = who
    if not key and not duid:
        title = statement.text(1)[:63]
        contents.note(statement.line, f"host {title} names neither a hardware address nor a DUID for its address")
        return
    where = contents.at(statement.line)
    # with both, dhcpd goes by either; a DUID is what it asks for first
    contents.reservations6 += [FoundReservation6(ip, where, b"" if duid else key, duid, name) for ip in ips]


def _addresses(contents: Contents, statement: Statement) -> list[int]:
    found = []
    for word in statement.words[1:]:
        if word.text == ",":
            continue
        try:
            found.append(int(IPv4Address(word.text)))
        except ValueError:
            text = f"fixed-address {word.text[:80]} is a name, whose address this file does not say"
            contents.note(statement.line, text)
    return found


def _reservations(
    contents: Contents, statement: Statement, found: FoundReservation, ips: list[int]
) -> list[FoundReservation]:
    title = statement.text(1)[:63]
    if not found.key:
        contents.note(statement.line, f"host {title} names no hardware address, and machines are known by theirs")
        return []
    if not ips and not found.name and not found.options:
        contents.note(
            statement.line, f"host {title} has neither an address nor a name, nor options that are taken over"
        )
        return []
    return [found._replace(ip=ip) for ip in ips or [0]]

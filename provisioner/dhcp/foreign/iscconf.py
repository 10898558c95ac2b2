"""dhcpd.conf: host blocks wherever they stand, and ranges (dhcpd.conf(5)). No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from provisioner.dhcp.foreign.found import Contents, FoundRange, ends_of
from provisioner.dhcp.foreign.isctext import Statement, statements
from provisioner.dhcp.foreign.iscvalues import host

KIND = "dhcpd.conf"
INNER = ("group", "subnet", "subnet6", "shared-network", "pool", "pool6", "class", "if", "elsif", "else")
"""Blocks that hosts and ranges may stand in."""


def read(data: bytes, where: str) -> Contents:
    """Read a configuration; raises `FileFault` where its structure is broken."""
    contents = Contents(where, KIND)
    found, cut = statements(data.decode("latin-1"), where)
    if cut:
        contents.faults.append(cut)
    _walk(contents, found, by_name=False)
    return contents


def _walk(contents: Contents, found: Sequence[Statement], *, by_name: bool) -> None:
    for statement in found:
        if statement.starts("use-host-decl-names"):
            by_name = statement.text(1).lower() in ("on", "true")
    for statement in found:
        try:
            _take(contents, statement, by_name=by_name)
        except ValueError as error:
            contents.fault(statement.line, str(error))


def _take(contents: Contents, statement: Statement, *, by_name: bool) -> None:
    word = statement.text(0).lower()
    if statement.block is None:
        if word == "range":
            contents.ranges.append(_range(contents, statement))
        elif word == "range6" and statement.text(2).lower() != "temporary":
            low, high = ends_of("-".join(word.text for word in statement.words[1:]))
            contents.ranges.append(FoundRange(low, high, contents.at(statement.line), six=True))
        elif word == "prefix6":
            contents.note(statement.line, "prefix6: prefixes are not given here")
        elif word == "include":
            contents.note(statement.line, f"includes {statement.text(1)[:200]!r}: import that file, too")
    elif word == "host":
        contents.reservations += host(contents, statement, by_name=by_name)
    elif word in INNER:
        _walk(contents, statement.block, by_name=by_name)


def _range(contents: Contents, statement: Statement) -> FoundRange:
    ends = [word.text for word in statement.words[1:] if word.text.lower() != "dynamic-bootp"]
    if not 1 <= len(ends) <= 2:
        raise ValueError("a range has one or two addresses")
    low, high = int(IPv4Address(ends[0])), int(IPv4Address(ends[-1]))
    return FoundRange(min(low, high), max(low, high), contents.at(statement.line))

"""dhcpd.conf: host blocks wherever they stand, and ranges (dhcpd.conf(5)). No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from provisioner.dhcp.foreign.found import Contents, FoundRange, Options, ends_of
from provisioner.dhcp.foreign.hostoptions import merged
from provisioner.dhcp.foreign.isctext import Statement, statements
from provisioner.dhcp.foreign.iscvalues import BOOT, host, options_of

KIND = "dhcpd.conf"
INNER = ("group", "subnet", "subnet6", "shared-network", "pool", "pool6", "class", "if", "elsif", "else")
"""Blocks that hosts and ranges may stand in."""
PERMITS = ("allow", "deny", "ignore")
WHO = ("unknown", "unknown-clients", "known", "known-clients", "members", "all", "dynamic", "authenticated", "after")
"""Whom addresses are given to: what `allow` and `deny` say beside what is served at all (`booting`, `bootp`)."""
NO_CLASSES = "classes and conditions are not taken over: `unknown` of a subnet and profiles are what is here"


class Scope(NamedTuple):
    """What holds for all hosts in a block."""

    by_name: bool = False
    """The name of a host's block is the machine's."""
    options: Options = ()
    """Those of the groups around."""


def read(data: bytes, where: str) -> Contents:
    """Read a configuration; raises `FileFault` where its structure is broken."""
    contents = Contents(where, KIND)
    found, cut = statements(data.decode("latin-1"), where)
    if cut:
        contents.faults.append(cut)
    _walk(contents, found, Scope())
    return contents


def _walk(contents: Contents, found: Sequence[Statement], scope: Scope) -> None:
    for statement in found:
        if statement.starts("use-host-decl-names"):
            scope = scope._replace(by_name=statement.text(1).lower() in ("on", "true"))
    for statement in found:
        try:
            _take(contents, statement, scope)
        except ValueError as error:
            contents.fault(statement.line, str(error))


def _take(contents: Contents, statement: Statement, scope: Scope) -> None:
    word = statement.text(0).lower()
    _say_left_out(contents, statement)
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
        contents.reservations += host(contents, statement, by_name=scope.by_name, outer=scope.options)
    elif word in INNER:
        if word == "group":
            said = [each for each in statement.block if each.starts_any(("option", *BOOT))]
            scope = scope._replace(options=merged(scope.options, options_of(contents, "group", said)))
        _walk(contents, statement.block, scope)


def _say_left_out(contents: Contents, statement: Statement) -> None:
    word, said = statement.text(0).lower(), " ".join(each.text for each in statement.words)[:100]
    if word in PERMITS and statement.text(1).lower() in WHO:
        contents.note(statement.line, f"`{said}`: `unknown` and `mode` of a subnet say who gets addresses here")
    elif word in ("class", "subclass", "if"):
        contents.note(statement.line, f"`{said}`: {NO_CLASSES}")


def _range(contents: Contents, statement: Statement) -> FoundRange:
    ends = [word.text for word in statement.words[1:] if word.text.lower() != "dynamic-bootp"]
    if not 1 <= len(ends) <= 2:
        raise ValueError("a range has one or two addresses")
    low, high = int(IPv4Address(ends[0])), int(IPv4Address(ends[-1]))
    return FoundRange(min(low, high), max(low, high), contents.at(statement.line))

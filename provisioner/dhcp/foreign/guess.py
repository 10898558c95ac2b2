"""Which server's which file this is, by what stands in it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable

from provisioner.dhcp.foreign import dnsmasqconf, dnsmasqleases, iscconf, iscleases, keaconf, keacsv, keacsv6
from provisioner.dhcp.foreign.found import Contents, FileFault

Read = Callable[[bytes, str], Contents]

FORMATS: dict[str, Read] = {
    "isc-conf": iscconf.read,
    "isc-leases": iscleases.read,
    "dnsmasq-conf": dnsmasqconf.read,
    "dnsmasq-hosts": dnsmasqconf.read_hosts,
    "dnsmasq-leases": dnsmasqleases.read,
    "kea-conf": keaconf.read,
    "kea-leases": keacsv.read,
    "kea-leases6": keacsv6.read,
}
HEAD = 1 << 20
"""So much of a file is looked at; a comment longer than this hides everything."""

_MAC = rb"(?:[0-9a-fA-F]{1,2}-)?[0-9a-fA-F]{1,2}(?::[0-9a-fA-F*]{1,2}){5,}"
_SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("kea-leases", re.compile(rb"\Aaddress,hwaddr,")),
    ("kea-leases6", re.compile(rb"\Aaddress,duid,")),
    ("kea-conf", re.compile(rb"\A(?:\s|//[^\n]*+|\#[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+\{\s*(?:\"|//|\#|/\*|\})")),
    ("isc-leases", re.compile(rb"^(?:lease\s+[\d.]+\s*\{|server-duid\s|authoring-byte-order\s|ia-[nt]a\s)", re.M)),
    ("dnsmasq-conf", re.compile(rb"^[ \t]*(?:dhcp-[a-z0-9-]+|interface|domain|conf-dir|listen-address)\s*=", re.M)),
    ("dnsmasq-conf", re.compile(rb"^[ \t]*(?:dhcp-authoritative|bind-interfaces|no-resolv|enable-tftp)\s*$", re.M)),
    ("isc-conf", re.compile(rb"^[ \t]*(?:subnet6?|shared-network|host|group|pool|class)\b[^\n=]*\{", re.M)),
    ("isc-conf", re.compile(rb"^[ \t]*(?:option|default-lease-time|max-lease-time|authoritative)\b[^\n]*;", re.M)),
    ("dnsmasq-leases", re.compile(rb"\A\s*(?:\d+ " + _MAC + rb" [\d.]+ \S+ \S+$|duid )", re.M)),
    ("dnsmasq-hosts", re.compile(rb"^[ \t]*(?:" + _MAC + rb"|id:[^,]+),", re.M)),
)
"""Looked for in this order: what is more special comes first."""


def guess(data: bytes, where: str) -> str:
    """Name the format; raise `FileFault` where nothing speaks for one."""
    head = data[:HEAD]
    for name, sign in _SIGNS:
        if sign.search(head):
            return name
    hint = f"--format says which: {', '.join(FORMATS)}"
    raise FileFault(f"{where}:1: no lease file or configuration that is known", hint=hint)


def read(data: bytes, where: str, format_name: str = "") -> Contents:
    """Read a file of a format, guessed where none is named; raise `FileFault`."""
    if not data.strip():
        contents = Contents(where, "an empty file")
        contents.note(1, "the file is empty")
        return contents
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise FileFault(f"{where}:{line}: a NUL octet: this is no text", hint="was the file written to the end?")
    return FORMATS[format_name or guess(data, where)](data, where)

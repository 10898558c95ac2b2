"""Options that an operator may set: their names, and how their values are written. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from provisioner.dhcp.options import MAX_LENGTH


class Format(NamedTuple):
    """One option: its name and the kind of its value."""

    name: str
    kind: str


FORMATS = {
    1: Format("subnet-mask", "ip"),
    2: Format("time-offset", "u32"),
    3: Format("routers", "ips"),
    4: Format("time-servers", "ips"),
    6: Format("domain-name-servers", "ips"),
    7: Format("log-servers", "ips"),
    12: Format("host-name", "text"),
    15: Format("domain-name", "text"),
    17: Format("root-path", "text"),
    26: Format("interface-mtu", "u16"),
    28: Format("broadcast-address", "ip"),
    42: Format("ntp-servers", "ips"),
    43: Format("vendor-encapsulated-options", "hex"),
    60: Format("vendor-class-identifier", "text"),
    66: Format("tftp-server-name", "text"),
    67: Format("boot-file-name", "text"),
    69: Format("smtp-servers", "ips"),
    72: Format("www-servers", "ips"),
    100: Format("timezone-posix", "text"),
    101: Format("timezone-name", "text"),
    114: Format("captive-portal", "text"),
    119: Format("domain-search", "domains"),
    121: Format("classless-static-routes", "routes"),
    150: Format("tftp-servers", "ips"),
    208: Format("pxelinux-magic", "hex"),
    209: Format("pxelinux-config-file", "text"),
    210: Format("pxelinux-path-prefix", "text"),
    211: Format("pxelinux-reboot-time", "u32"),
}
CODES = {form.name: code for code, form in FORMATS.items()}
OURS = frozenset({0, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 82, 97, 255})
"""Options that the protocol itself sets: never by configuration."""
BOOT = frozenset({43, 60, 66, 67, 150, 208, 209, 210, 211})
"""Options that say what to boot, how, and from which server: what is decided for each machine."""
BOOT_FILE = frozenset({66, 67, 150})
"""Those of them that name the server and the file."""

_ROUTE = re.compile(r"(\S+)\s+via\s+(\S+)")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def parse_options(options: Mapping[str, str]) -> dict[int, bytes]:
    """Read a mapping of names or numbers to values; raise `ValueError` for the first that is wrong."""
    found = {}
    for key, value in options.items():
        code = option_code(str(key))
        found[code] = option_value(code, str(value))
    return found


def twice(options: Mapping[str, str]) -> Iterator[str]:
    """Say which options that can be read are given by name and by number at once."""
    seen: dict[int, str] = {}
    for key in map(str, options):
        other = seen.setdefault(option_code(key), key)
        if other != key:
            yield f"options: {other} and {key} are one option: leave one of them out"


def option_code(key: str) -> int:
    """Read an option's name or number."""
    code = int(key) if key.isdigit() else CODES.get(key, -1)
    if not 0 < code < 255:
        raise ValueError(f"{key!r} is no option: give a number from 1 to 254 or one of {', '.join(sorted(CODES))}")
    if code in OURS:
        raise ValueError(f"option {code} is set by the server itself")
    return code


def option_value(code: int, text: str) -> bytes:
    """Read a value in the format of its option; `hex:` and hex digits for any."""
    if text.startswith("hex:"):
        return bytes.fromhex(text[4:])
    kind = FORMATS[code].kind if code in FORMATS else "text"
    return _READERS[kind](text)


NAME_LIMIT = 253
"""Characters of a domain name: 255 octets as the DNS has it (RFC 1035 section 2.3.4)."""


def route_value(routes: Sequence[str]) -> bytes:
    """Write routes such as `10.9.0.0/16 via 10.0.8.2` as option 121 (RFC 3442)."""
    found = bytearray()
    for route in routes:
        match = _ROUTE.fullmatch(route.strip())
        if match is None:
            raise ValueError(f"{route!r} is no route: write `10.9.0.0/16 via 10.0.8.2`")
        network = IPv4Network(match[1] if match[1] != "default" else "0.0.0.0/0")
        found.append(network.prefixlen)
        found += network.network_address.packed[: (network.prefixlen + 7) // 8]
        found += IPv4Address(match[2]).packed
    return bytes(found)


def domains_value(domains: Sequence[str]) -> bytes:
    """Write names as option 119 (RFC 3397), without compression, which some clients read wrongly."""
    found = bytearray()
    for domain in domains:
        if len(domain.rstrip(".")) > NAME_LIMIT:
            raise ValueError(f"{domain!r} is longer than {NAME_LIMIT} characters")
        for label in domain.rstrip(".").split("."):
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{domain!r} is no domain name")
            found.append(len(label))
            found += label.encode("ascii")
        found.append(0)
    return bytes(found)


def _ips(text: str) -> bytes:
    return b"".join(IPv4Address(part).packed for part in text.replace(",", " ").split())


def _number(size: int, text: str) -> bytes:
    try:
        return int(text).to_bytes(size, "big", signed=int(text) < 0)
    except OverflowError:
        raise ValueError(f"{text} does not fit into {size} bytes") from None


def _text(text: str) -> bytes:
    if not text or len(text) > MAX_LENGTH * 4:
        raise ValueError("a text of 1 to 1020 bytes is wanted")
    return text.encode("utf-8")


_READERS: dict[str, Callable[[str], bytes]] = {
    "ip": lambda text: IPv4Address(text).packed,
    "ips": _ips,
    "text": _text,
    "u16": lambda text: _number(2, text),
    "u32": lambda text: _number(4, text),
    "hex": bytes.fromhex,
    "domains": lambda text: domains_value(text.replace(",", " ").split()),
    "routes": lambda text: route_value(text.split(",")),
}

"""What a setting may hold: each check takes a value and says what is wrong with it, if anything is. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

Check = Callable[[Any], str]
SOCKET_OCTETS = 98
"""sun_path has 107 (unix(7)); a socket is bound as `.NAME.PID` first, and a process id has up to seven digits."""


def between(low: int, high: int) -> Check:
    """A number within bounds."""
    return lambda value: "" if low <= value <= high else f"{value}: from {low} to {high}"


def at_least(low: int) -> Check:
    """A number that is not too small."""
    return lambda value: "" if value >= low else f"{value}: {low} or more"


PORT = between(1, 65535)
PORT_OR_NONE = between(0, 65535)


def address(value: str) -> str:
    """An IP address, no name: what we listen on cannot wait for a name server."""
    try:
        ip_address(value)
    except ValueError:
        return f"{value!r} is no IP address, such as 10.0.8.1"
    return ""


def one_of(words: Collection[str]) -> Check:
    """One of these words."""
    return lambda value: "" if value in words else f"{value!r} is none of {', '.join(words)}"


def matching(pattern: str, says: str) -> Check:
    """Text that matches from end to end; `says` is the pattern in words."""
    compiled = re.compile(pattern)
    return lambda value: "" if compiled.fullmatch(value) else f"{value[:80]!r}: {says}"


def url(*schemes: str, or_empty: bool = False) -> Check:
    """A URL by one of these schemes, with a host that can be looked up: no label is empty, or of over 63 octets."""
    wanted = " or ".join(f"{scheme}://HOST" for scheme in schemes)

    def check(value: str) -> str:
        if or_empty and not value:
            return ""
        try:
            parts = urlsplit(value)
            host = (parts.hostname or "").encode("idna")  # as a look-up of it does; a UnicodeError is a ValueError
            good = parts.scheme in schemes and bool(host) and parts.port != 0
        except ValueError:
            good = False
        return "" if good else f"{value!r} is not {wanted}"

    return check


def absolute(value: str) -> str:
    """A path from the root: any other means another place for each directory that a daemon is started in."""
    if not value:
        return "empty: give a path"
    return "" if value.startswith("/") else f"{value!r} does not begin at the root: write /..., no ~ and no variables"


def absolute_or_none(value: str) -> str:
    """A path from the root, or nothing."""
    return absolute(value) if value else ""


def socket_path(value: str) -> str:
    """A path that a UNIX socket can be bound to."""
    if fault := absolute(value):
        return fault
    octets = len(value.encode(errors="surrogateescape"))
    return "" if octets <= SOCKET_OCTETS else f"{octets} octets: a socket's path has at most {SOCKET_OCTETS}"

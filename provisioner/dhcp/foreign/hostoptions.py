"""What another server tells one host alone: its options in our words, where we have one. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.dhcp import formats

OF_NETWORK = frozenset({1, 28})
"""Options that say what the network is, which is the subnet's."""
ALIASES = {
    "bootfile-name": 67,
    "smtp-server": 69,
    "www-server": 72,
    "pcode": 100,
    "tcode": 101,
    "v4-captive-portal": 114,
    "default-url": 114,
}
"""Names of dhcpd and Kea that are not ours."""
MOST = 1024
"""Characters of a value, as the API takes them."""
BOOTS = "what a machine boots is decided here (`loader` of its reservation names another loader)"


def taken(key: str, value: str) -> tuple[str, str]:
    """Give an option by its name here, with its value; raise `ValueError` with the reason why it is left out."""
    code = ALIASES.get(key) or formats.CODES.get(key) or (int(key) if key.isdecimal() else 0)
    if code in formats.BOOT:
        raise ValueError(BOOTS)
    if code in OF_NETWORK:
        raise ValueError("it follows from the subnet")
    if len(value) > MOST:
        raise ValueError(f"it has more than {MOST} characters")
    raw = value.startswith("hex:")
    if code not in formats.FORMATS and not (raw and code):
        raise ValueError("there is no such option here")
    name = formats.FORMATS[code].name if code in formats.FORMATS else str(code)
    try:
        formats.option_code(name)
        if not formats.option_value(code, value):
            raise ValueError("it is empty")
    except ValueError as error:
        raise ValueError(f"{value[:60]!r} cannot be read: {error}") from error
    return name, value


def is_text(key: str) -> bool:
    """Say whether the value of an option is a text, which may hold commas and blanks."""
    code = ALIASES.get(key) or formats.CODES.get(key, 0)
    return code in formats.FORMATS and formats.FORMATS[code].kind == "text"


def merged(outer: Sequence[tuple[str, str]], inner: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Give the options of a host within others' scope: its own stand over those."""
    return tuple({**dict(outer), **dict(inner)}.items())

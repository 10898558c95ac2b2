"""Kernel arguments: what may stand in them, so that one line stays one line in iPXE, GRUB and pxelinux alike. No I/O.

Two grammars. A *value* (a host name, a parameter, a URL) that goes into a line may hold nothing that any boot loader
gives a meaning to. The *line* that a bootenv's author wrote may also hold `;` and `&` inside a word (`ds=nocloud;s=`):
the boot script writer quotes it where its loader needs that. Neither may hold quotes, `$`, braces, backslashes or
controls.
"""

from __future__ import annotations

import re

from provisioner.errors import RenderError

MAX_LINE = 2047
"""COMMAND_LINE_SIZE of x86 and arm64 is 2048 with its NUL."""

_SAFE = r"A-Za-z0-9_.,:/@%+=~?\[\]\-"
_VALUE = re.compile(rf"[{_SAFE}]*")
_WORD = re.compile(rf"[A-Za-z0-9_.-][{_SAFE};&]*|---?")


def check_value(value: str) -> str:
    """Return `value` if it may stand in a kernel argument; raise `RenderError` naming the first octet that may not."""
    if not _VALUE.fullmatch(value):
        bad = next(char for char in value if not _VALUE.fullmatch(char))
        raise RenderError(
            f"{bad!r} in {value[:80]!r} may not stand in a kernel argument", hint="no spaces, quotes, ;${}"
        )
    return value


def check_words(words: list[str]) -> str:
    """Join whole arguments that an operator gave (`["quiet", "console=ttyS0,115200"]`) after checking each."""
    for word in words:
        if not word or not _WORD.fullmatch(check_value(word)):
            raise RenderError(f"{word[:80]!r} is not a kernel argument", hint="name or name=value, without spaces")
    return " ".join(words)


def check_line(text: str) -> str:
    """Check a rendered line and return it with single spaces; raise `RenderError`.

    Line ends count as faults only inside: a template's folded text may end with one.
    """
    text = text.strip()
    if any(ord(char) < 0x20 or ord(char) > 0x7E for char in text):
        raise RenderError(f"kernel arguments hold a control or non-ASCII character: {text[:120]!r}")
    words = text.split()
    for word in words:
        if not _WORD.fullmatch(word):
            raise RenderError(f"{word[:120]!r} is not a kernel argument", hint="name or name=value; no quotes, $, {, }")
    line = " ".join(words)
    if len(line) > MAX_LINE:
        raise RenderError(f"kernel arguments are {len(line)} octets long", hint=f"the kernel reads {MAX_LINE}")
    return line

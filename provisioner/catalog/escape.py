"""Put a value into a text of another language so that it stays one value: one function for each dialect. No I/O.

Every function returns `Safe` text, or raises `RenderError` where the dialect has no way to say the value.
`catalog/compile.py` applies the dialect of a template to everything it prints that is not `Safe` already.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from typing import Any

from provisioner.catalog.kernelargs import check_value, check_words
from provisioner.errors import RenderError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Safe(str):
    """Text that was escaped for the dialect it stands in. Joined with plain text it is plain text again."""

    __slots__ = ()


def text_of(value: Any) -> str:
    """Spell a scalar as people write it; refuse what has no single spelling."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise RenderError(
        f"{type(value).__name__} printed as text: {str(value)[:60]!r}", hint="print its parts, or use |json"
    )


def shell(value: Any) -> Safe:
    """One word of a POSIX shell."""
    text = text_of(value)
    if "\0" in text:
        raise RenderError("a NUL cannot stand in a shell script")
    return Safe(shlex.quote(text))


def json_(value: Any) -> Safe:
    """A JSON value, ASCII only, on one line."""
    return Safe(json.dumps(value, ensure_ascii=True, allow_nan=False))


_YAML_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
_YAML_PRINTABLE = re.compile(r"[\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def _yaml_text(text: str) -> str:
    out = []
    for char in text:
        if char in _YAML_ESCAPES:
            out.append(_YAML_ESCAPES[char])
        elif _YAML_PRINTABLE.match(char):
            out.append(char)
        else:
            out.append(f"\\U{ord(char):08x}")
    return '"' + "".join(out) + '"'


def yaml(value: Any) -> Safe:
    """A YAML value in flow style on one line: it can stand wherever a value may, at any indentation."""
    match value:
        case dict():
            return Safe("{" + ", ".join(f"{_yaml_text(str(key))}: {yaml(item)}" for key, item in value.items()) + "}")
        case list() | tuple():
            return Safe("[" + ", ".join(yaml(item) for item in value) + "]")
        case str():
            if any(0xD800 <= ord(char) < 0xE000 for char in value):
                raise RenderError(f"half a surrogate pair in {value[:60]!r}")
            return Safe(_yaml_text(value))
        case None:
            return Safe("null")
        case _:
            return Safe(text_of(value))


def toml(value: Any) -> Safe:
    """A TOML 1.0 value: a basic string, or a list of values."""
    if isinstance(value, list):
        return Safe("[" + ", ".join(toml(item) for item in value) + "]")
    if not isinstance(value, str):
        return Safe(text_of(value))
    if any(0xD800 <= ord(char) < 0xE000 for char in value):
        raise RenderError(f"half a surrogate pair in {value[:60]!r}")
    plain = (char if char >= " " and char not in '"\\\x7f' else f"\\U{ord(char):08X}" for char in value)
    return Safe('"' + "".join(plain) + '"')


_XML = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
    "\n": "&#10;",
    "\r": "&#13;",
    "\t": "&#9;",
}
_XML_CHARS = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def xml(value: Any) -> Safe:
    """Text of an XML 1.0 element or attribute (section 2.2 says which characters exist)."""
    text = text_of(value)
    if not _XML_CHARS.fullmatch(text):
        raise RenderError(f"{text[:60]!r} holds a character that XML 1.0 cannot say")
    return Safe("".join(_XML.get(char, char) for char in text))


def preseed(value: Any) -> Safe:
    """The value of a debconf line: the rest of one line, without blanks at its ends."""
    text = text_of(value)
    if _CONTROL.search(text) or text.endswith("\\"):
        raise RenderError(f"{text[:60]!r} cannot stand in a preseed line", hint="no line ends or controls, no final \\")
    if text != text.strip():
        raise RenderError(f"{text[:60]!r}: debconf drops blanks at the ends of a value")
    return Safe(text)


def kickstart(value: Any) -> Safe:
    """One word of a kickstart command: pykickstart splits lines as shlex does, and a line end always ends one.

    Single quotes, so that the same word printed into a %post script is safe there too.
    """
    text = text_of(value)
    if _CONTROL.search(text) or text.splitlines() not in ([], [text]):  # to Python U+2028 and others end lines, too
        raise RenderError(f"{text[:60]!r} cannot stand in a kickstart command", hint="no line ends or controls")
    return Safe(shlex.quote(text))


def kernel_arg(value: Any) -> Safe:
    """Part of a kernel argument."""
    return Safe(check_value(text_of(value)))


def kernel_args(values: Any) -> Safe:
    """Whole kernel arguments from a list, such as `params.kernel.args`."""
    return Safe(check_words(values))


def consoles(values: Any) -> Safe:
    """`console=` arguments from a list, the main console last."""
    return Safe(check_words([f"console={value}" for value in values]))


def ini(value: Any) -> Safe:
    """The value of a systemd or ini line: one line, `%` doubled (systemd.unit(5), specifiers)."""
    text = text_of(value)
    if _CONTROL.search(text) or text != text.strip() or text.endswith("\\"):
        raise RenderError(f"{text[:60]!r} cannot stand in a unit file's line")
    return Safe(text.replace("%", "%%"))


def powershell(value: Any) -> Safe:
    """A PowerShell string between single quotes, in which only the quote itself (in its four spellings) is special."""
    text = text_of(value)
    if "\0" in text:
        raise RenderError("a NUL cannot stand in a PowerShell script")
    return Safe("'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'")


def word(value: Any) -> Safe:
    """A value for formats that know no quoting at all: letters, digits and `._:/@%+=,~$^-` only."""
    text = text_of(value)
    if not re.fullmatch(r"[A-Za-z0-9._:/@%+=,~$^-]*", text):
        raise RenderError(f"{text[:60]!r} cannot stand in this format: it knows no quotes")
    return Safe(text)


DIALECTS: dict[str, Callable[[Any], Safe]] = {
    "sh": shell,
    "json": json_,
    "yaml": yaml,
    "xml": xml,
    "preseed": preseed,
    "ks": kickstart,
    "args": kernel_arg,
    "ini": ini,
    "ps1": powershell,
    "toml": toml,
    "word": word,
}
"""What a template prints is escaped by the ending before `.j2`: `image.sh.j2` is a shell script."""


def line(value: Any) -> Safe:
    """One line of text as it is, for formats that take the rest of a line."""
    text = text_of(value)
    if _CONTROL.search(text):
        raise RenderError(f"{text[:60]!r} is not one line")
    return Safe(text)


def heredoc(value: Any) -> Safe:
    """A shell's here-document with this text, behind a delimiter that no line of it is."""
    text = text_of(value)
    if "\0" in text:
        raise RenderError("a NUL cannot stand in a shell script")
    text = text if text.endswith("\n") or not text else f"{text}\n"
    lines, end = set(text.splitlines()), "END_OF_FILE"
    while end in lines:
        end += "_"
    return Safe(f"<<'{end}'\n{text}{end}")


def b64(value: Any) -> str:
    """Base64 of a text: a value again, for whatever dialect it is printed in."""
    return base64.b64encode(text_of(value).encode()).decode()


FILTERS: dict[str, Callable[[Any], str]] = DIALECTS | {
    "kernel_args": kernel_args,
    "consoles": consoles,
    "b64": b64,
    "heredoc": heredoc,
    "line": line,
}
"""What a template may name after `|`, beside jinja2's own."""

ENDINGS = {
    "sh": "sh",
    "json": "json",
    "ign": "json",
    "yaml": "yaml",
    "yml": "yaml",
    "xml": "xml",
    "preseed": "preseed",
    "ks": "ks",
    "args": "args",
    "service": "ini",
    "ini": "ini",
    "ps1": "ps1",
    "cfg": "word",
    "link": "word",
    "netdev": "word",
    "network": "word",
    "nmconnection": "word",
    "toml": "toml",
    "txt": "word",
}


def dialect_of(template: str) -> str:
    """Name the dialect of a template by its path; raise `RenderError` where its ending says none."""
    stem = template.removesuffix(".j2")
    ending = stem.rsplit(".", 1)[-1]
    if stem == template or ending not in ENDINGS:
        raise RenderError(f"{template}: no dialect", hint=f"name it NAME.ENDING.j2 with one of: {', '.join(ENDINGS)}")
    return ENDINGS[ending]

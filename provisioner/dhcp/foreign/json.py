"""JSON with comments, as Kea reads it, with the line of every object. No I/O."""

from __future__ import annotations

import re
from typing import Any

from provisioner.dhcp.foreign.found import FileFault

MAX_DEPTH = 64
NUMBER_LIMIT = 40

_TOKEN = re.compile(
    r"(?P<blank>[ \t\r\f\v]+)|(?P<line>\n)|(?P<comment>(?://|\#)[^\n]*|/\*.*?\*/)|(?P<include><\?include[^\n]*?\?>)"
    r'|"(?P<string>[^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"|(?P<mark>[{}\[\],:])|(?P<word>[\w.+-]+)|(?P<bad>.)',
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


class Map(dict[str, Any]):
    """An object, and the line that it begins on."""

    line = 0


class Reader:
    """Reads one document without recursion: any text gives a value or a `FileFault` that names the line."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._line = 1
        self._open: list[tuple[Any, str]] = []
        """Containers that are not closed, each with the key (of a map) that it is the value of."""
        self._key: str | None = None
        self._before = ""
        self.value: Any = None
        self.includes: list[tuple[int, str]] = []
        for match in _TOKEN.finditer(text):
            self._take(match)
        if self._open or not self._before:
            raise self._fault("the document ends too early")

    def _fault(self, text: str) -> FileFault:
        return FileFault(f"{self._where}:{self._line}: {text}")

    def _take(self, match: re.Match[str]) -> None:
        match match.lastgroup:
            case "line":
                self._line += 1
            case "comment":
                self._line += match[0].count("\n")
            case "include":
                self.includes.append((self._line, match[0][9:-2].strip(' "')))
            case "string":
                self._scalar(unescape(match["string"]))
            case "word":
                self._scalar(self._word(match[0]))
            case "mark":
                self._mark(match[0])
            case "bad":
                raise self._fault(f"{match[0]!r} has no place here")

    def _word(self, text: str) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        try:
            if len(text) > NUMBER_LIMIT:
                raise ValueError
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            raise self._fault(f"{text[:40]!r} is no value") from None

    def _scalar(self, value: Any) -> None:
        within = self._open[-1][0] if self._open else None
        if isinstance(within, Map) and self._key is None:
            if self._before not in "{," or not isinstance(value, str):
                raise self._fault("a key is wanted")
            self._key, self._before = value, "key"
            return
        self._put(value)

    def _put(self, value: Any) -> None:
        if not self._open:
            if self._before:
                raise self._fault("something follows the document")
            self.value = value
        else:
            within = self._open[-1][0]
            if self._before not in (":" if isinstance(within, Map) else "[,"):
                raise self._fault("a comma is wanted")
            if isinstance(within, Map):
                assert self._key is not None
                within[self._key] = value
                self._key = None
            else:
                within.append(value)
        self._before = "value"

    def _mark(self, mark: str) -> None:
        if mark in "{[":
            self._begin(Map() if mark == "{" else [])
            self._before = mark
        elif mark in "}]":
            self._end(dict if mark == "}" else list)
        elif mark == ":":
            if self._before != "key":
                raise self._fault("a colon stands behind a key")
            self._before = ":"
        else:
            if self._before != "value" or not self._open:
                raise self._fault("a comma stands behind a value")
            self._before = ","

    def _begin(self, container: Any) -> None:
        if isinstance(container, Map):
            container.line = self._line
        self._put(container)
        self._open.append((container, ""))
        if len(self._open) > MAX_DEPTH:
            raise self._fault(f"nests deeper than {MAX_DEPTH}")

    def _end(self, kind: type) -> None:
        if not self._open or not isinstance(self._open[-1][0], kind) or self._before in ("key", ":"):
            raise self._fault("a bracket closes what is not open")
        self._open.pop()
        self._before = "value"


def unescape(text: str) -> str:
    """Resolve the escapes of a string; one that JSON does not have stands for its character."""
    if "\\" not in text:
        return text
    units = _ESCAPE.sub(_resolve, text)  # two escapes may make one character (RFC 8259 section 7)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _resolve(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _LETTERS.get(code, code)

"""ISC dhcpd's language: text <-> statements with their lines (dhcpd.conf(5), dhcpd.leases(5)). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from provisioner.dhcp.foreign.found import FileFault

MAX_DEPTH = 32
"""Blocks in blocks; configurations have six."""

_TOKEN = re.compile(
    r'(?P<blank>[ \t\r\f\v]+)|(?P<line>\n)|(?P<comment>\#[^\n]*)|"(?P<string>[^"\\]*+(?:\\.[^"\\]*+)*+)"'
    r'|(?P<mark>[{};,])|(?P<word>[^\s{};,"\#]+)|(?P<bad>.)',
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b"}


class Word(NamedTuple):
    """One word; a string has its escapes resolved, and each character stands for one octet."""

    text: str
    quoted: bool = False


@dataclass(slots=True)
class Statement:
    """Words up to `;` or a block."""

    line: int
    words: list[Word] = field(default_factory=list)
    block: list[Statement] | None = None

    def text(self, at: int) -> str:
        """Give a word, empty where there is none."""
        return self.words[at].text if at < len(self.words) else ""

    def starts(self, *words: str) -> bool:
        """Say whether the statement begins with these words, which are written in any case."""
        found = [word.text.lower() for word in self.words[: len(words)] if not word.quoted]
        return found == list(words)

    def starts_any(self, words: Sequence[str]) -> bool:
        """Say whether the first word is one of these."""
        return any(self.starts(word) for word in words)


def unescape(text: str) -> str:
    """Resolve the escapes of a string: octal, hexadecimal, letters, any other character for itself."""
    return _ESCAPE.sub(_resolve, text) if "\\" in text else text


def _resolve(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _LETTERS.get(code, code)


def tokens(text: str, where: str) -> Iterator[tuple[int, str, Word]]:
    """Give (line, kind, word), kind one of mark, word; raise `FileFault` for a string that is not closed."""
    line = 1
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup, match[0]
        if kind == "line":
            line += 1
        elif kind == "word":
            yield line, "word", Word(value)
        elif kind == "mark":
            yield line, "mark", Word(value)
        elif kind == "string":
            yield line, "word", Word(unescape(match["string"]), quoted=True)
            line += value.count("\n")
        elif kind == "bad":
            raise FileFault(f"{where}:{line}: a string is not closed")


def statements(text: str, where: str) -> tuple[list[Statement], str]:
    """Read the whole text; what is cut off at its end is said in the second value. Raises `FileFault`."""
    top: list[Statement] = []
    open_blocks: list[list[Statement]] = [top]
    heads: list[Statement] = []
    current: Statement | None = None
    for line, kind, word in tokens(text, where):
        if kind == "word" or word.text == ",":
            current = current or Statement(line)
            current.words.append(word)
        elif word.text == ";":
            if current is not None:
                open_blocks[-1].append(current)
            current = None
        elif word.text == "{":
            current = current or Statement(line)
            current.block = []
            open_blocks[-1].append(current)
            heads.append(current)
            open_blocks.append(current.block)
            if len(heads) > MAX_DEPTH:
                raise FileFault(f"{where}:{line}: blocks nest deeper than {MAX_DEPTH}")
            current = None
        else:
            if not heads:
                raise FileFault(f"{where}:{line}: a block ends that was never begun")
            if current is not None:
                raise FileFault(f"{where}:{current.line}: no semicolon after {current.text(0)[:40]!r}")
            heads.pop()
            open_blocks.pop()
    return top, _cut(where, heads, current, open_blocks)


def _cut(where: str, heads: list[Statement], current: Statement | None, open_blocks: list[list[Statement]]) -> str:
    """Take off what is not complete, and say which it was."""
    if heads:
        open_blocks[0].remove(heads[0])
        return f"{where}:{heads[0].line}: the file ends within {' '.join(w.text for w in heads[0].words)[:60]!r}"
    if current is not None:
        return f"{where}:{current.line}: the file ends within a statement"
    return ""

"""Read YAML that people write: safe types only, no key twice, every fault with its line. Home of yaml. No I/O.

YAML 1.1 reads `no` as false, `012` as ten, `1:30` as ninety and `2024-01-01` as a date. Whoever writes `on` in a
kernel argument means the word, so what only YAML 1.1 would read as something else is a fault that says what to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from provisioner.errors import ConfigError

Path = tuple[str | int, ...]
"""Where a value stands in a document: keys and indexes from the top."""

MAX_BYTES = 4 << 20  # the largest file people wrote by hand for us was 40 KiB
MAX_DEPTH = 32  # C-B20: deeper nesting is an attack, not a configuration
MAX_NODES = 200_000  # aliases multiply: bounds "billion laughs" at some 50 MB
CHARS_A_NODE = 256  # and a long text that is repeated counts as many: it is written out again wherever it goes
MAX_FAULTS = 50

_PLAIN = {"true": True, "false": False, "null": None, "~": None, "": None}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_TRAPS = (
    (re.compile(r"(?i:yes|no|on|off)"), "YAML 1.1 reads {0} as a truth value"),
    (re.compile(r"(?i:true|false|null)"), "only true, false and null in lower case are read as such, not {0}"),
    (re.compile(r"[-+]?0[0-9_]+"), "YAML 1.1 reads {0} as an octal number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "YAML 1.1 reads {0} as a number of base sixty"),
    (re.compile(r"[-+]?0[xb][0-9a-fA-F_]+"), "YAML 1.1 reads {0} as a number"),
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*"), "YAML 1.1 reads {0} as a number"),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), "YAML 1.1 reads {0} as a number"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\s].*)?"), "YAML 1.1 reads {0} as a date"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: plain values, and for each the line that it stands on (from 1)."""

    source: str
    value: Any
    lines: dict[Path, int]

    def where(self, path: Path) -> str:
        """Name a place as an operator finds it: `file:line`; the nearest parent's line where the value has none."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.source}:{self.lines.get(path, 1)}"


def load(text: str | bytes, source: str) -> Document:
    """Read one YAML document; raise `ConfigError` with all faults found. An empty file is an empty mapping."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source}: {len(text)} bytes", hint=f"at most {MAX_BYTES} are read")
    builder = _Builder(source)
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        for event in yaml.parse(decoded, Loader=yaml.CSafeLoader):
            builder.feed(event)
    except _TooMuch as error:
        builder.fault(error.line, error.text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        builder.fault(line, f"not YAML: {error.problem or error.context or error}")
    except (yaml.YAMLError, UnicodeError) as error:
        builder.fault(1, f"not YAML: {str(error).splitlines()[0]}")
    if builder.faults:
        raise ConfigError(f"{source}: not in order", faults=builder.faults)
    return Document(source, {} if builder.root is None else builder.root, builder.lines)


class _TooMuch(Exception):
    """A bound was reached, or the shape is lost: nothing more is read."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass(slots=True)
class _Frame:
    """One mapping or sequence that is open. `key` is the key whose value comes next; `waiting` says a key was read."""

    value: dict[Any, Any] | list[Any]
    path: Path
    anchor: str | None
    key: Any = None
    waiting: bool = False


@dataclass(slots=True)
class _Builder:
    """Makes values from parse events without recursion, so that depth is ours to bound."""

    source: str
    root: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _stack: list[_Frame] = field(default_factory=list)
    _anchors: dict[str, Any] = field(default_factory=dict)
    _nodes: int = 0
    _documents: int = 0

    def fault(self, line: int, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"{self.source}:{line}: {text}")

    def feed(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open({} if isinstance(event, yaml.MappingStartEvent) else [], event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                frame = self._stack.pop()
                if frame.anchor:
                    self._anchors[frame.anchor] = frame.value
            case yaml.AliasEvent():
                self._alias(event.anchor or "", line)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _TooMuch(line, "a second document begins; one file holds one")
            case _:
                pass

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if event.tag is not None and event.tag != "!":
            self.fault(line, f"tag {event.tag} is not read: write a plain value")
        plain = event.implicit[0]
        value = self._resolve(event.value, line) if plain else event.value
        if self._is_key():
            self._take_key(event.value, line)
            return
        if event.anchor:
            self._anchors[event.anchor] = value
        self._put(value, line)

    def _resolve(self, text: str, line: int) -> Any:
        """Read a plain scalar as the JSON types only; name the trap where YAML 1.1 would see more."""
        if text in _PLAIN:
            return _PLAIN[text]
        if _INT.fullmatch(text):
            return int(text) if len(text) < 40 else text
        if _FLOAT.fullmatch(text):
            return float(text)
        if not self._is_key():
            for pattern, says in _TRAPS:
                if pattern.fullmatch(text):
                    self.fault(line, f"{says.format(text)}: write {text.lower()!r} in quotes, or the value you mean")
        return text

    def _open(self, value: Any, event: yaml.NodeEvent, line: int) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.fault(line, f"tag {tag} is not read: write a plain value")
        if self._is_key():
            raise _TooMuch(line, "a mapping or list cannot be a key")
        if len(self._stack) >= MAX_DEPTH:
            raise _TooMuch(line, f"nested deeper than {MAX_DEPTH}")
        path = self._put(value, line)
        self._stack.append(_Frame(value, path, event.anchor))

    def _alias(self, anchor: str, line: int) -> None:
        if self._is_key():
            raise _TooMuch(line, "an alias cannot be a key")
        if anchor not in self._anchors:
            raise _TooMuch(line, f"*{anchor} is not defined above this line")
        value = self._anchors[anchor]
        nodes, depth = _measure(value)
        if len(self._stack) + depth > MAX_DEPTH:
            raise _TooMuch(line, f"*{anchor} makes it nested deeper than {MAX_DEPTH}")
        self._count(nodes, line)
        self._put(_copy(value), line)

    def _is_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and not self._stack[-1].waiting

    def _take_key(self, key: str, line: int) -> None:
        frame = self._stack[-1]
        assert isinstance(frame.value, dict)
        if key == "<<":
            self.fault(line, "merge keys (<<) are not read: repeat the values or use an alias for each")
        if key in frame.value:
            first = self.lines.get((*frame.path, key), 0)
            self.fault(line, f"{key}: given twice, first on line {first}")
        frame.key, frame.waiting = key, True
        self.lines.setdefault((*frame.path, key), line)

    def _put(self, value: Any, line: int) -> Path:
        self._count(1, line)
        if not self._stack:
            self.root = value
            self.lines[()] = line
            return ()
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            path: Path = (*frame.path, len(frame.value))
            frame.value.append(value)
            self.lines[path] = line
            return path
        frame.value[frame.key] = value
        frame.waiting = False
        return (*frame.path, frame.key)

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _TooMuch(line, f"more than {MAX_NODES} values")


def _measure(value: Any) -> tuple[int, int]:
    """Count the nodes of a value that was read, and how deep it is (at most `MAX_DEPTH`)."""
    if not isinstance(value, dict | list):
        return 1 + (len(value) // CHARS_A_NODE if isinstance(value, str) else 0), 0
    parts = [_measure(item) for item in (value.values() if isinstance(value, dict) else value)]
    keys = sum(len(key) for key in value) // CHARS_A_NODE if isinstance(value, dict) else 0
    return 1 + keys + sum(nodes for nodes, _ in parts), 1 + max((depth for _, depth in parts), default=0)


def _copy(value: Any) -> Any:
    """Give an alias a value of its own, so that a change in one place is not one in another."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


class _Dumper(yaml.CSafeDumper):
    """Writes no aliases: what is printed can be cut and pasted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Quote also what only `load` reads as something else, or refuses: YAML 1.1 takes `0E0` and `08` for texts."""
    read = text in _PLAIN or _INT.fullmatch(text) or _FLOAT.fullmatch(text)
    quoted = read or any(pattern.fullmatch(text) for pattern, _ in _TRAPS)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """Write a value of plain types as YAML, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text

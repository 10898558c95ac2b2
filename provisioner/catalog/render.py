"""Templates rendered from plain values, in the sandbox that they were compiled for (`compile.py`). No I/O.

The templates come as a mapping (`catalog/load.py` reads them): no name given from outside can reach a file.
"""

from __future__ import annotations

import marshal
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import jinja2

from provisioner.catalog.compile import MAX_ALL_BYTES, MAX_ALL_CODE_BYTES, MAX_ALL_NODES, NAMES, Part, compiled, sandbox
from provisioner.errors import RenderError

MAX_OUTPUT_CHARS = 1 << 20  # the largest real answer file is some 40 kB; initrd and RAM hold this many times over
MAX_DEPTH = 24


class _Loader(jinja2.BaseLoader):
    """Hands out code that was compiled before."""

    def __init__(self, codes: Mapping[str, bytes]) -> None:
        self._codes = codes

    def load(
        self, environment: jinja2.Environment, name: str, globals: MutableMapping[str, Any] | None = None
    ) -> jinja2.Template:
        """Make a template of compiled code."""
        if name not in self._codes:
            raise jinja2.TemplateNotFound(name)
        code = marshal.loads(self._codes[name])  # noqa: S302 - `compile.py` made it, here or in the daemon
        return jinja2.Template.from_code(environment, code, globals or {})


class Compiled:
    """Templates that were compiled before: what the renderer's own process has of them."""

    def __init__(self, codes: Mapping[str, bytes]) -> None:
        self.codes = codes
        self._environment = sandbox()
        self._environment.loader = _Loader(codes)

    def render(self, name: str, context: Mapping[str, Any], *, checked: bool = False) -> str:
        """Render one template; raise `RenderError` with the template's line.

        `context` holds plain values only; `checked` says that it cannot hold others (it came over a pipe).
        """
        if name not in self.codes:
            raise RenderError(f"templates/{name}: there is no such template")
        if not checked:
            plain(context)
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._environment.get_template(name).generate(context):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_OUTPUT_CHARS:
                    raise RenderError(f"more than {MAX_OUTPUT_CHARS} characters come out")
        except RenderError as error:
            raise type(error)(f"{_where(error, name)}: {error.message}", hint=error.hint) from error
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise RenderError(f"{_where(error, name)}: {_say(error)}") from error
        return "".join(pieces)


class Reads(NamedTuple):
    """What a rendering of one template follows from: its text and those that it includes, and the values they name."""

    texts: tuple[str, ...]
    names: frozenset[str]


class Renderer(Compiled):
    """A set of templates, every one of them compiled here, or `known`: compiled before of the same text."""

    def __init__(self, templates: Mapping[str, str], known: Mapping[str, Part] | None = None) -> None:
        known = known or {}
        self._parts: dict[str, Part] = {
            name: part if (part := known.get(name)) is not None and part.source == source else compiled(name, source)
            for name, source in templates.items()
        }
        super().__init__({name: part.code for name, part in self._parts.items() if part.code})
        self._includers: defaultdict[str | None, list[str]] = defaultdict(list)
        for name, part in self._parts.items():
            for inner in part.includes:
                self._includers[inner].append(name)
        self._reads: dict[str, Reads] = {}

    def check(self) -> list[str]:
        """List what is wrong with the templates, one line each."""
        nodes = sum(part.nodes for part in self._parts.values())
        size = sum(len(part.source.encode()) for part in self._parts.values())
        found = [fault for name in sorted(self._parts) for fault in self._faults(name)]
        if nodes > MAX_ALL_NODES:
            found.append(f"templates: {nodes} names, values and operations in all, at most {MAX_ALL_NODES}")
        if size > MAX_ALL_BYTES:
            found.append(f"templates: {size} octets in all, at most {MAX_ALL_BYTES}")
        made = sum(map(len, self.codes.values()))
        if made > MAX_ALL_CODE_BYTES:
            found.append(f"templates: {made} octets in all when compiled, at most {MAX_ALL_CODE_BYTES}")
        return found

    @property
    def parts(self) -> Mapping[str, Part]:
        """Every template, as it was compiled."""
        return self._parts

    def paths(self) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """List what the templates read of the values that they are given: template, line, dotted name."""
        for name in sorted(self._parts):
            yield from ((name, line, path) for line, path in sorted(self._parts[name].paths))

    def reads(self, name: str) -> Reads:
        """Say what a rendering of this template follows from; nothing where there is no such template."""
        known = self._reads.get(name)
        if known is None:
            inside, todo = dict[str, Part](), [name]
            while todo:
                at = todo.pop()
                if at in self._parts and at not in inside:
                    inside[at] = self._parts[at]
                    todo += [other for other in inside[at].includes if other is not None]
            texts = tuple(text for at in sorted(inside) for text in (at, inside[at].source))
            names = frozenset(NAMES) & {asked for part in inside.values() for asked in part.asked}
            known = self._reads[name] = Reads(texts, names)
        return known

    def _faults(self, name: str) -> Iterator[str]:
        part = self._parts[name]
        yield from (f"templates/{fault}" for fault in part.faults)
        for other in sorted(part.includes, key=str):
            if other is None:
                yield f"templates/{name}: an include has to name its template plainly"
            elif other not in self._parts:
                yield f"templates/{name}: includes {other}, which does not exist"
        asked = part.asked - set(NAMES) - set(self._environment.globals)
        for unknown in sorted(asked - self._given(name) if asked else ()):
            yield f"templates/{name}: {unknown}: no such name; a template may use {', '.join(NAMES)}"

    def _given(self, name: str) -> set[str]:
        """List the names that a template, and whoever includes it, sets or loops with."""
        around, todo = set[str](), [name]
        while todo:
            inner = todo.pop()
            around.add(inner)
            todo += [outer for outer in self._includers[inner] if outer not in around]
        return {given for outer in around for given in self._parts[outer].given}


def plain(value: Any, depth: int = 0) -> None:
    """Raise `RenderError` unless `value` is made of text, numbers, truth values, lists and mappings with text keys.

    The sandbox lets a template call public methods of what it is given; plain values have none that do anything.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None or kind is float:
        return
    if depth >= MAX_DEPTH:
        raise RenderError(f"values nested deeper than {MAX_DEPTH}")
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise RenderError(f"a key of type {type(key).__name__} cannot be given to a template")
            plain(item, depth + 1)
    elif kind is list:
        for item in value:
            plain(item, depth + 1)
    else:
        raise RenderError(f"a value of type {kind.__name__} cannot be given to a template")


def _where(error: BaseException, name: str) -> str:
    """Name the template and line that an error came from (jinja2 rewrites tracebacks to say so)."""
    places = [
        f"templates/{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith(".j2")
    ]
    return places[-1] if places else f"templates/{name}"


def _say(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return str(error.message)
    return str(error) or type(error).__name__

"""Templates: compiled once, rendered in a sandbox from plain values. Home of jinja2. No I/O.

What a template prints is escaped for the dialect that its name tells (`escape.py`): `{{ machine.name }}` in
`late.sh.j2` is one shell word whatever it holds, and `| sh`, `| yaml` ... say another dialect where one is inside
another. Macros, imports and inheritance are refused, since what they return would have been escaped already: a part
that is used twice is an `{% include %}`, which prints by its own dialect.

The templates come as a mapping (`catalog/load.py` reads them): no name given from outside can reach a file.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox
from jinja2.runtime import Context

from provisioner.catalog import escape
from provisioner.errors import RefusedError, RenderError

MAX_TEMPLATE_BYTES = 256 << 10
MAX_OUTPUT_CHARS = 1 << 20  # the largest real answer file is some 40 kB; initrd and RAM hold this many times over
MAX_REPEAT = 1 << 16
MAX_RANGE = 4096
MAX_DEPTH = 24

NAMES = ("machine", "facts", "profile", "params", "bootenv", "boot", "urls", "artifacts", "agent", "system", "secrets")
"""What a template may use (docs/templates.md); any other name is a fault when the catalogue is loaded."""

_FILTERS = (
    "abs batch count d default dictsort first float groupby indent int items join last length list lower map max min "
    "reject rejectattr replace reverse round select selectattr slice sort string sum title trim truncate unique upper "
    "wordcount"
)
_TESTS = (
    "boolean defined divisibleby eq equalto even false float ge gt greaterthan in integer iterable le lessthan lt "
    "mapping ne none number odd sequence string true undefined"
)
_STR_METHODS = "endswith lower lstrip partition rpartition rstrip split splitlines startswith strip upper"
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_STR_METHODS.split()),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"index"}),
}
_REFUSED: Mapping[type[jinja2.nodes.Node], str] = {
    jinja2.nodes.Macro: "macro",
    jinja2.nodes.CallBlock: "call",
    jinja2.nodes.Import: "import",
    jinja2.nodes.FromImport: "import",
    jinja2.nodes.Extends: "extends",
    jinja2.nodes.Block: "block",
    jinja2.nodes.ScopedEvalContextModifier: "autoescape",
}


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Strings, numbers, lists and mappings, and a handful of their methods; nothing that grows without bound."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow the methods that are listed for the plain types, and a loop's own attributes."""
        for kind, allowed in _METHODS.items():
            if isinstance(obj, kind):
                return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look a name up. A mapping's own keys come before the methods of mappings: `x.values` is what was given."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look a key up, the same way."""
        if type(obj) is dict and type(argument) is str and argument in obj:
            return obj[argument]
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse what makes much out of little."""
        if operator == "**":
            raise RenderError("** is not for templates")
        if operator == "%" and isinstance(left, str):
            raise RenderError("% on text is not for templates", hint="join with ~")
        if operator == "*":
            text, times = (left, right) if isinstance(left, str | list) else (right, left)
            if isinstance(text, str | list) and isinstance(times, int) and len(text) * times > MAX_REPEAT:
                raise RenderError(f"{times} times {len(text)} is more than {MAX_REPEAT}")
        return super().call_binop(context, operator, left, right)


def _range(*bounds: int) -> range:
    """A range of at most `MAX_RANGE` numbers."""
    made = range(*bounds)
    if len(made) > MAX_RANGE:
        raise RenderError(f"range of {len(made)} numbers", hint=f"at most {MAX_RANGE}")
    return made


def _fail(text: str) -> None:
    """End the rendering with the template's own words: what it was asked for cannot be said in its dialect."""
    raise RefusedError(text)


@jinja2.pass_context
def _finalize(context: Context, value: Any) -> Any:
    """Escape what is printed, by the dialect of the template that prints it."""
    if type(value) is escape.Safe:
        return value
    if isinstance(value, jinja2.Undefined):
        return str(value)  # StrictUndefined raises here and names itself
    return _writer(context.name or "")(value)


@lru_cache(maxsize=4096)
def _writer(template: str) -> Callable[[Any], escape.Safe]:
    """Find what writes values into a template of this name."""
    return escape.DIALECTS[escape.dialect_of(template)]


class _Loader(jinja2.BaseLoader):
    """Hands out code that was compiled before."""

    def __init__(self, parts: Mapping[str, _Part]) -> None:
        self._parts = parts

    def load(
        self, environment: jinja2.Environment, name: str, globals: MutableMapping[str, Any] | None = None
    ) -> jinja2.Template:
        """Make a template of compiled code."""
        part = self._parts.get(name)
        if part is None or part.code is None:
            raise jinja2.TemplateNotFound(name)
        return jinja2.Template.from_code(environment, part.code, globals or {})


def _environment() -> _Sandbox:
    environment = _Sandbox(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.globals = {"range": _range, "fail": _fail, "namespace": environment.globals["namespace"]}
    environment.filters = {name: environment.filters[name] for name in _FILTERS.split()} | escape.FILTERS
    environment.tests = {name: environment.tests[name] for name in _TESTS.split()}
    return environment


@dataclass(frozen=True, slots=True)
class _Part:
    """One template, compiled, and what was found in it. `given` are the names that it sets or loops with."""

    source: str = ""
    code: CodeType | None = None
    faults: tuple[str, ...] = ()
    includes: frozenset[str | None] = frozenset()
    given: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    paths: frozenset[tuple[int, tuple[str, ...]]] = frozenset()
    """What it reads of the values that it is given, with the line: `(12, ("system", "disk", "layout"))`."""


@lru_cache(maxsize=8192)  # two catalogues of the largest size: the one that is read, and the one before
def _compile(name: str, source: str) -> _Part:
    """Compile a template, unless that was done before: it takes five milliseconds, and a catalogue has hundreds."""
    if len(source) > MAX_TEMPLATE_BYTES:
        return _Part(faults=(f"{name}: {len(source)} characters, at most {MAX_TEMPLATE_BYTES}",))
    environment = _environment()
    try:
        escape.dialect_of(name)
        tree = environment.parse(source, name)
        names = [node for node in tree.find_all(jinja2.nodes.Name) if node.ctx == "store"]
        refused = [node for node in tree.find_all(tuple(_REFUSED)) if type(node) in _REFUSED]
        return _Part(
            source=source,
            code=environment.compile(tree, name, name),
            faults=tuple(
                f"{name}:{node.lineno}: {{% {_REFUSED[type(node)]} %}} is not read: use {{% include %}}"
                for node in refused
            ),
            includes=frozenset(jinja2.meta.find_referenced_templates(tree)),
            given=frozenset(node.name for node in names),
            asked=frozenset(jinja2.meta.find_undeclared_variables(tree)),
            paths=frozenset(_paths(tree, {node.name for node in names})),
        )
    except RenderError as error:
        return _Part(faults=(str(error),))
    except jinja2.TemplateSyntaxError as error:
        return _Part(faults=(f"{name}:{error.lineno}: {error.message}",))


def _paths(tree: jinja2.nodes.Template, given: set[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """List the dotted names that begin with a value which every template is given."""
    for node in tree.find_all(jinja2.nodes.Getattr):
        path, at = [node.attr], node.node
        while isinstance(at, jinja2.nodes.Getattr):
            path.append(at.attr)
            at = at.node
        if isinstance(at, jinja2.nodes.Name) and at.name in NAMES and at.name not in given:
            yield node.lineno, (at.name, *reversed(path))


class Reads(NamedTuple):
    """What a rendering of one template follows from: its text and those that it includes, and the values they name."""

    texts: tuple[str, ...]
    names: frozenset[str]


class Renderer:
    """A set of templates, every one of them compiled."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self._environment = _environment()
        self._parts: dict[str, _Part] = {name: _compile(name, source) for name, source in templates.items()}
        self._environment.loader = _Loader(self._parts)
        self._reads: dict[str, Reads] = {}

    def check(self) -> list[str]:
        """List what is wrong with the templates, one line each."""
        return [fault for name in sorted(self._parts) for fault in self._faults(name)]

    def paths(self) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """List what the templates read of the values that they are given: template, line, dotted name."""
        for name in sorted(self._parts):
            yield from ((name, line, path) for line, path in sorted(self._parts[name].paths))

    def reads(self, name: str) -> Reads:
        """Say what a rendering of this template follows from; nothing where there is no such template."""
        known = self._reads.get(name)
        if known is None:
            inside, todo = dict[str, _Part](), [name]
            while todo:
                at = todo.pop()
                if at in self._parts and at not in inside:
                    inside[at] = self._parts[at]
                    todo += [other for other in inside[at].includes if other is not None]
            texts = tuple(text for at in sorted(inside) for text in (at, inside[at].source))
            names = frozenset(NAMES) & {asked for part in inside.values() for asked in part.asked}
            known = self._reads[name] = Reads(texts, names)
        return known

    def render(self, name: str, context: Mapping[str, Any], *, checked: bool = False) -> str:
        """Render one template; raise `RenderError` with the template's line.

        `context` holds plain values only; `checked` says that it cannot hold others (it came over a pipe).
        """
        if name not in self._parts:
            raise RenderError(f"{name}: there is no such template")
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

    def _faults(self, name: str) -> Iterator[str]:
        part = self._parts[name]
        yield from (f"templates/{fault}" for fault in part.faults)
        for other in sorted(part.includes, key=str):
            if other is None:
                yield f"templates/{name}: an include has to name its template plainly"
            elif other not in self._parts:
                yield f"templates/{name}: includes {other}, which does not exist"
        known = self._given(name) | set(NAMES) | set(self._environment.globals)
        for unknown in sorted(part.asked - known):
            yield f"templates/{name}: {unknown}: no such name; a template may use {', '.join(NAMES)}"

    def _given(self, name: str) -> set[str]:
        """List the names that a template, and whoever includes it, sets or loops with."""
        around, todo = set[str](), [name]
        while todo:
            inner = todo.pop()
            around.add(inner)
            todo += [outer for outer, part in self._parts.items() if inner in part.includes and outer not in around]
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

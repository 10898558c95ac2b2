"""Templates compiled: what they may say, and what they may call. Home of jinja2, with `render.py`. No I/O.

What a template prints is escaped for the dialect that its name tells (`escape.py`): `{{ machine.name }}` in
`late.sh.j2` is one shell word whatever it holds, and `| sh`, `| yaml` ... say another dialect where one is inside
another. Macros, imports and inheritance are refused, since what they return would have been escaped already: a part
that is used twice is an `{% include %}`, which prints by its own dialect.

Compiling evaluates nothing, and has bounds: it happens in the daemon, too, where nothing can be killed. What a template
computes is bounded where it is rendered (`renderchild.py`).
"""

from __future__ import annotations

import io
import marshal
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.compiler
import jinja2.idtracking
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from jinja2.runtime import Context

from provisioner.catalog import escape
from provisioner.catalog.paths import paths
from provisioner.errors import RefusedError, RenderError

MAX_TEMPLATE_BYTES = 256 << 10
MAX_REPEAT = 1 << 16
MAX_RANGE = 4096
MAX_NODES = 5000
"""Names, values and operations of one template: the largest of ours has 663. Some constructs are as slow to compile as
the square of them: 0.7 s at this number (two cores, 2026-11)."""
MAX_ALL_NODES = 100_000
"""Of all templates; ours have 8,900. That many are compiled in four seconds, and take 60 MiB (two cores, 2026-11)."""
MAX_ALL_BYTES = 8 << 20
"""Of all templates; ours have 120 KiB."""
MAX_ALL_CODE_BYTES = 15 << 20
"""Of all templates once they are compiled; ours take 850 KiB. The renderer takes a little more in one message."""
MAX_NESTING, MAX_BLOCKS = 48, 16
"""Of expressions and of blocks; ours have 15 and 6. Python takes 200 parentheses and 20 loops in each other."""
MAX_CODE_CHARS = 512 << 10
"""What a template becomes in Python; ours 27 Ki at most. While the interpreter compiles that, nobody else runs."""
MAX_BITS = 256
"""Of a number that is written in a template."""

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
_BLOCKS = (
    jinja2.nodes.For,
    jinja2.nodes.If,
    jinja2.nodes.With,
    jinja2.nodes.AssignBlock,
    jinja2.nodes.FilterBlock,
)


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
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


def sandbox() -> Sandbox:
    """Make the environment that templates are compiled for and rendered in."""
    environment = Sandbox(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
        optimized=False,  # the optimizer evaluates what is constant: as much as anybody cares to write there
    )
    environment.globals = {"range": _range, "fail": _fail, "namespace": environment.globals["namespace"]}
    environment.filters = {name: environment.filters[name] for name in _FILTERS.split()} | escape.FILTERS
    environment.tests = {name: environment.tests[name] for name in _TESTS.split()}
    return environment


class _Writer(jinja2.compiler.CodeGenerator):
    """Writes a template's Python and notes which names it asks for, at once: jinja2 has a generator for each."""

    def __init__(self, environment: Sandbox, name: str) -> None:
        self.code = io.StringIO()
        self.asked = set[str]()
        super().__init__(environment, name, name, self.code, optimized=environment.optimized)

    def enter_frame(self, frame: jinja2.compiler.Frame) -> None:
        """Begin a scope."""
        super().enter_frame(frame)
        loads = frame.symbols.loads.values()
        self.asked.update(name for how, name in loads if how == jinja2.idtracking.VAR_LOAD_RESOLVE and name)


@dataclass(frozen=True, slots=True)
class Part:
    """One template, compiled, and what was found in it. `given` are the names that it sets or loops with."""

    source: str = ""
    code: bytes = b""
    """As Python marshals it: the renderer's process has it from here, and compiles nothing."""
    nodes: int = 0
    faults: tuple[str, ...] = ()
    includes: frozenset[str | None] = frozenset()
    given: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    paths: frozenset[tuple[int, tuple[str, ...]]] = frozenset()
    """What it reads of the values that it is given, with the line: `(12, ("system", "disk", "layout"))`."""


@lru_cache(maxsize=8192)  # two catalogues of the largest size: the one that is read, and the one before
def compiled(name: str, source: str) -> Part:
    """Compile a template, unless that was done before: it takes five milliseconds, and a catalogue has hundreds."""
    if len(source) > MAX_TEMPLATE_BYTES:
        return Part(faults=(f"{name}: {len(source)} characters, at most {MAX_TEMPLATE_BYTES}",))
    environment = sandbox()
    try:
        escape.dialect_of(name)
        nodes = _bounded(name, _parsed(environment, name, source))
        refused = sorted((node.lineno, _REFUSED[type(node)]) for node in nodes if type(node) in _REFUSED)
        if refused:
            told = (f"{name}:{line}: {{% {what} %}} is not read: use {{% include %}}" for line, what in refused)
            return Part(faults=tuple(told))
        return _made(environment, name, source, nodes)
    except RenderError as error:
        return Part(faults=(str(error),))
    except jinja2.TemplateSyntaxError as error:
        return Part(faults=(f"{name}:{error.lineno}: {error.message}",))


def _parsed(environment: Sandbox, name: str, source: str) -> jinja2.nodes.Template:
    """Parse a template; raise `TemplateSyntaxError`."""
    parser = jinja2.parser.Parser(environment, source, name)
    try:
        return parser.parse()
    except RecursionError:
        what = f"nested deeper than {MAX_NESTING}"
    except ValueError:  # Python reads no decimal number of more than 4,300 digits
        what = f"a number of more than {MAX_BITS} bits"
    raise jinja2.TemplateSyntaxError(what, parser.stream.current.lineno, name)


def _bounded(name: str, tree: jinja2.nodes.Template) -> Sequence[jinja2.nodes.Node]:
    """List a template's nodes, the tree first; raise `TemplateSyntaxError` where there is more than we compile."""
    nodes: list[jinja2.nodes.Node] = []
    todo: list[tuple[jinja2.nodes.Node, int, int]] = [(tree, 0, 0)]
    while todo:
        node, depth, blocks = todo.pop()
        nodes.append(node)
        blocks += isinstance(node, _BLOCKS)
        what = ""
        if len(nodes) > MAX_NODES:
            what = f"more than {MAX_NODES} names, values and operations: make two templates of it"
        elif depth > MAX_NESTING or blocks > MAX_BLOCKS:
            what = f"nested deeper than {MAX_NESTING}, or {MAX_BLOCKS} blocks: make a part of it a template of its own"
        elif isinstance(node, jinja2.nodes.Const) and _is_huge(node.value):
            what = f"a number of more than {MAX_BITS} bits"
        if what:
            raise jinja2.TemplateSyntaxError(what, node.lineno, name)
        todo += [(inner, depth + 1, blocks) for inner in node.iter_child_nodes()]
    return nodes


def _is_huge(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and value.bit_length() > MAX_BITS


def _made(environment: Sandbox, name: str, source: str, nodes: Sequence[jinja2.nodes.Node]) -> Part:
    """Compile what was parsed; raise `TemplateSyntaxError`."""
    tree = nodes[0]
    assert isinstance(tree, jinja2.nodes.Template)
    given = {node.name for node in nodes if isinstance(node, jinja2.nodes.Name) and node.ctx == "store"}
    writer = _Writer(environment, name)
    writer.visit(tree)
    return Part(
        source=source,
        code=_code(name, writer.code.getvalue()),
        nodes=len(nodes),
        includes=frozenset(jinja2.meta.find_referenced_templates(tree)),
        given=frozenset(given),
        asked=frozenset(writer.asked),
        paths=frozenset(paths(nodes, frozenset(NAMES))),
    )


def _code(name: str, source: str) -> bytes:
    """Compile the Python that was made of a template."""
    if len(source) > MAX_CODE_CHARS:
        raise jinja2.TemplateSyntaxError("too many includes among too many names: make two templates of it", 1, name)
    try:
        return marshal.dumps(compile(source, name, "exec"))
    except SyntaxError as error:  # as where an argument is given twice
        lines = re.findall(r"(\d+)=(\d+)", source.rpartition("debug_info = ")[2])
        line = max((int(ours) for ours, made in lines if int(made) <= (error.lineno or 0)), default=1)
        raise jinja2.TemplateSyntaxError(error.msg, line, name) from error

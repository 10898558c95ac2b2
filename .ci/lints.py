"""Rules of the house that no other tool checks: each is a function from the project's files to what is wrong with them.

    python .ci/lints.py [ROOT]

A fault is `path:line: what; what to do`. tests/ci/test_lints.py breaks each rule once.
"""

from __future__ import annotations

import ast
import gc
import posixpath
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from layers import layer_of
from packaging.requirements import Requirement


class Text(ast.Constant):
    """A constant that is a string."""

    value: str


Files = Mapping[str, str]
"""What each file of the project holds, by its path from the root."""
Lint = Callable[[Files], Iterator[str]]


@lru_cache(None)
def nodes_of(text: str) -> tuple[ast.AST, ...]:
    """Every node of a module, at which several rules look."""
    return tuple(ast.walk(ast.parse(text)))


MAX_LINES = 400


def file_size(files: Files) -> Iterator[str]:
    """A file over 400 lines holds more than one thing."""
    for path, text in files.items():
        lines = text.count("\n")
        if path.endswith(".py") and lines > MAX_LINES:
            yield f"{path}:{MAX_LINES}: {lines} lines, at most {MAX_LINES}; split it where it holds two things"


VENDORS = (
    "aliyun|amazon|amd|american megatrends|ami|asrock|aws|azure|broadcom|cisco|dell|digitalocean|fujitsu|gce|gcp"
    "|gigabyte|google|hetzner|hp|hpe|huawei|idrac|ilo|inspur|intel|ironic|lenovo|libvirt|mellanox|microsoft|nvidia"
    "|openstack|oracle|ovh|qemu|quanta|supermicro|tyan|vmware|vsphere|wiwynn|xclarity"
)
VENDOR = re.compile(rf"(?i)(?<![\w.-])({VENDORS})(?![\w-])")
WHO = frozenset({"vendor", "manufacturer", "provider", "board_vendor", "sys_vendor", "oem", "cloud"})
"""Names of values that say who made or runs a machine."""
TEMPLATE_TEST = re.compile(r"\{%-?\s*(?:if|elif|set|for)\b(.*?)%\}", re.DOTALL)


def _tested(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, list[ast.expr]]]:
    """Every comparison, pattern and look-up in a table: (line, what is compared)."""
    for node in nodes:
        if isinstance(node, ast.Compare):
            yield node.lineno, [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            values = [
                part.value for case in node.cases for part in ast.walk(case.pattern) if isinstance(part, ast.MatchValue)
            ]
            yield node.lineno, [node.subject, *values]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"startswith", "endswith"}
        ):
            yield node.lineno, [node.func.value, *node.args]


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_string(node: ast.AST) -> TypeGuard[Text]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _strings(node: ast.expr) -> list[str]:
    return [part.value for part in ast.walk(node) if _is_string(part)]


def _names_a_vendor(parts: list[ast.expr]) -> bool:
    strings = [value for part in parts for value in _strings(part)]
    asks_who = any(_name(part) in WHO for part in parts)
    return any(VENDOR.search(value) for value in strings) or (asks_who and bool(strings))


def _vendor_lines(path: str, text: str) -> Iterator[int]:
    """The lines of a rule or a template that test who made or runs a machine."""
    name = module_name(path)
    if name and (layer_of(name) == "rules" or name.startswith(("workload.", "model."))):
        yield from (line for line, parts in _tested(nodes_of(text)) if _names_a_vendor(parts))
    elif path.startswith(("templates/", "bootenvs/")):
        for found in TEMPLATE_TEST.finditer(text):
            asks_who = set(re.findall(r"\w+", found[1])) & WHO and re.search(r"['\"]", found[1])
            if VENDOR.search(found[1]) or asks_who:
                yield text.count("\n", 0, found.start()) + 1


def vendor_names(files: Files) -> Iterator[str]:
    """No rule, workload or template asks who made or runs a machine: facts and capabilities say what it can do."""
    for path, text in files.items():
        for line in _vendor_lines(path, text):
            yield f"{path}:{line}: tests a vendor's or provider's name; test a fact or a capability instead"


def module_name(path: str) -> str:
    """The dotted name of a module of ours without the package's, empty for any other file."""
    if not (path.startswith("provisioner/") and path.endswith(".py")):
        return ""
    return path.removeprefix("provisioner/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


ACROSS = re.compile(r"pytest\.mark\.(lab|netns|peer|slow)\b")
"""Tests of these kinds go across modules and are named after what they show."""
NOT_MIRRORED = ("tests/ci/", "tests/bench/")


def _folders_tested(text: str) -> Iterator[str]:
    """The folder of each module of ours that a test imports, once for each module."""
    found = {node.module for node in nodes_of(text) if isinstance(node, ast.ImportFrom) and node.module}
    yield from (module.split(".")[1] for module in found if module.startswith("provisioner."))


def mirrored_tests(files: Files) -> Iterator[str]:
    """tests/dhcp/test_options*.py tests dhcp/options.py; a test of several, or of a program, has its own name."""
    modules = {module_name(path) for path in files}
    for path, text in files.items():
        if not re.fullmatch(r"tests/.*test_\w+\.py", path) or path.startswith(NOT_MIRRORED) or ACROSS.search(text):
            continue
        name = path.removeprefix("tests/").removesuffix(".py").replace("/", ".").replace("test_", "", 1)
        folders = list(_folders_tested(text))
        across = not folders or folders.count(name.split(".")[0]) > 1
        if not across and not any(module and (name == module or name.startswith(f"{module}_")) for module in modules):
            yield f"{path}:1: mirrors no module of provisioner/; name it test_MODULE.py or test_MODULE_ASPECT.py"


EVENT_ID = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*(?:\.[a-z0-9]+(?:[-_][a-z0-9]+)*)+")
LOG_CALLS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
EXPLAINED = re.compile(r"^(?:\| *|#+ *|- *)`([a-z0-9_.-]+)`", re.MULTILINE)


def _is_log_call(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_CALLS
        and _name(node.func.value).lower() in {"log", "logger", "_log"}
    )


def _said(node: ast.Call) -> ast.expr | None:
    """What holds the event id of a call that logs or traces, None for any other call."""
    if _is_log_call(node):
        return next(iter(node.args), None)
    if _name(node.func) == "TraceLine":
        named = [keyword.value for keyword in node.keywords if keyword.arg == "event"]
        return next(iter([*named, *node.args[2:3]]), None)
    return None


def _events(nodes: Sequence[ast.AST], areas: Set[str]) -> Iterator[tuple[int, str]]:
    """The text that each call logs or traces; where that is elsewhere, all that looks like an id."""
    saids = [said for node in nodes if isinstance(node, ast.Call) and (said := _said(node)) is not None]
    direct = [said for said in saids if _is_string(said) and not said.value.startswith("%s")]
    yield from ((said.lineno, said.value) for said in direct)
    if len(direct) < len(saids):
        ids = [node for node in nodes if _is_string(node) and EVENT_ID.fullmatch(node.value)]
        yield from ((node.lineno, node.value) for node in ids if node.value.split(".")[0] in areas)


def _known(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Every id that the code could say: its strings, and those joined to a prefix such as f"life.{kind}"."""
    words = {node.value.split(" ")[0] for node in nodes if _is_string(node)}
    joined = (node.values[0] for node in nodes if isinstance(node, ast.JoinedStr))
    prefixes = {start.value for start in joined if _is_string(start) and re.fullmatch(r"[a-z0-9]+\.", start.value)}
    yield from words
    yield from (f"{prefix}{word}" for prefix in prefixes for word in words)


def message_ids(files: Files) -> Iterator[str]:
    """Whatever is logged or traced starts with an id, and docs/messages.md explains exactly these ids."""
    explained = set(EXPLAINED.findall(files.get("docs/messages.md", "")))
    ours = {path: nodes_of(text) for path, text in files.items() if module_name(path)}
    areas = {module_name(path).split(".")[0] for path in ours} | {event.split(".")[0] for event in explained}
    for path, nodes in ours.items():
        for line, said in _events(nodes, areas):
            event = said.split(" ")[0]
            if not EVENT_ID.fullmatch(event):
                yield f"{path}:{line}: {said!r} does not start with an event id; begin with one, like dhcp.offer"
            elif event not in explained:
                yield f"{path}:{line}: {event} is not explained; add it to docs/messages.md (id, meaning, remedy)"
    for event in sorted(explained - set(_known([node for nodes in ours.values() for node in nodes]))):
        yield f"docs/messages.md:1: {event} is nowhere in provisioner/; take it out"


PLACES = re.compile(r"/" + r"work/(?:main|shared|\.library)|/" + r"root/\.pyenv|/" + r"opt/(?:pypi|wheels)")
REGISTRIES = re.compile("|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(?:org|com)")))


def machine_paths(files: Files) -> Iterator[str]:
    """No path of one machine and no host of a package registry stands in a file."""
    here = f"{Path.cwd().parent}/" if len(Path.cwd().parent.parts) > 2 else "\0"
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if PLACES.search(line) or here in line:
                yield f"{path}:{number}: a path of one machine; name it from the root of the project or of the system"
            if REGISTRIES.search(line):
                yield f"{path}:{number}: the host of a package registry; leave it to the user's settings"


CLOCKS = frozenset({"now", "utcnow", "today"})
CHANCE = frozenset({"uuid1", "uuid4", "getnode"})
TOUCHES_FILES = frozenset(
    {"exists", "is_dir", "is_file", "iterdir", "mkdir", "read_bytes", "read_text", "rglob", "unlink", "write_bytes"}
    | {"write_text"}
)


def _is_promise(node: ast.AsyncFunctionDef) -> bool:
    """Say whether a coroutine has no body of its own: a Protocol's."""
    return all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in node.body)


def _impurity(node: ast.AST) -> str:
    """What in a node of a rule is I/O, empty where nothing is."""
    what = ""
    match node:
        case ast.AsyncFunctionDef():
            what = "" if _is_promise(node) else "waits"
        case ast.Call(func=ast.Name(id="open" | "input" | "print" as name)):
            what = f"calls {name}()"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attr)) if attr in CLOCKS:
            what = "reads a clock"
        case ast.Call(func=ast.Attribute(attr=attr) | ast.Name(id=attr)) if attr in CHANCE:
            what = "throws dice"
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in TOUCHES_FILES:
            what = f"touches files with {attr}()"
        case ast.Global(names=names):
            what = f"changes the module's {', '.join(names)}"
    return what


def pure_rules(files: Files) -> Iterator[str]:
    """Rules, codecs and values compute: they do not wait, open, print, read a clock or keep state in a module."""
    for path, text in files.items():
        name = module_name(path)
        if name and layer_of(name) in ("rules", "ground"):
            for node in nodes_of(text):
                if what := _impurity(node):
                    line = getattr(node, "lineno", 1)
                    yield f"{path}:{line}: a {layer_of(name)} module that {what}; pass it in, or do it in the shell"


def lock_covers(files: Files) -> Iterator[str]:
    """Every dependency in pyproject.toml is locked, at a version that it allows."""
    project = tomllib.loads(files["pyproject.toml"])
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    wanted += [line for lines in project["project"].get("optional-dependencies", {}).values() for line in lines]
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", files.get("scripts/requirements.lock", ""), re.MULTILINE))
    for line in wanted:
        need = Requirement(line)
        version = locked.get(re.sub(r"[-_.]+", "-", need.name).lower())
        if version is None or not need.specifier.contains(version, prereleases=True):
            yield f"pyproject.toml:1: {line} is locked at {version}; run scripts/lock"


def _sleeps(nodes: Sequence[ast.AST]) -> Iterator[int]:
    """The lines that sleep, but for those that wait in a loop for something to hold, and for `sleep(0)`."""
    polls = {id(inner) for loop in nodes if isinstance(loop, ast.While) for inner in ast.walk(loop)}
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr="sleep"), args=[ast.Constant(value=0)]):
                pass
            case ast.Call(func=ast.Attribute(attr="sleep")) if id(node) not in polls:
                yield node.lineno


def sleeping_tests(files: Files) -> Iterator[str]:
    """A test that sleeps does so in virtual time, or says on that line why not. (A fake may lag: that is its job.)"""
    for path, text in files.items():
        if fnmatchcase(path, "tests/*test_*.py") and ".sleep(" in text and "mark.looptime" not in text:
            lines = text.splitlines()
            for line in _sleeps(nodes_of(text)):
                if "#" not in lines[line - 1]:
                    yield f"{path}:{line}: sleeps in real time; wait for the event, mark it looptime, or say why here"


def _imported(function: ast.AST) -> Iterator[tuple[int, str]]:
    """What each import names: (line, module), for `from a import b` both `a` and `a.b`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{each.name}") for each in node.names)


def _asked_for(nodes: Sequence[ast.AST]) -> Iterator[tuple[ast.AST, int, str]]:
    """Every call of `at_hand`: (the coroutine around it, line, module)."""
    for function in nodes:
        if isinstance(function, ast.AsyncFunctionDef):
            calls = [
                node for node in ast.walk(function) if isinstance(node, ast.Call) and _name(node.func) == "at_hand"
            ]
            yield from ((function, call.lineno, ast.unparse(call.args[0]).strip("'")) for call in calls)


def first_use(files: Files) -> Iterator[str]:
    """What is waited for by `at_hand` is imported below it: layers and types see statements, not strings."""
    for path, text in files.items():
        if module_name(path):
            for function, line, module in _asked_for(nodes_of(text)):
                if not any(name == module and at > line for at, name in _imported(function)):
                    yield f"{path}:{line}: {module} is not imported below at_hand; import it there, in this function"


LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`[^`\n]*`")


def dead_links(files: Files) -> Iterator[str]:
    """A link from one document to a file of the project leads there."""
    folders = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents}
    for path, text in files.items():
        if path.endswith(".md"):
            for found in LINK.finditer(CODE.sub(lambda code: "." * len(code[0]), text)):
                target = posixpath.normpath(PurePosixPath(path).parent / found[1])
                if target not in files and target not in folders:
                    yield f"{path}:{text.count(chr(10), 0, found.start()) + 1}: {found[1]} is not there; mend the link"


LINTS: tuple[Lint, ...] = (
    dead_links,
    file_size,
    vendor_names,
    mirrored_tests,
    message_ids,
    machine_paths,
    pure_rules,
    lock_covers,
    sleeping_tests,
    first_use,
)


def read_files(root: Path) -> dict[str, str]:
    """Every text file that is, or could be, committed."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for path in sorted(set(listed.stdout.split("\0"))):
        if path and (root / path).is_file():
            data = (root / path).read_bytes()
            if b"\0" not in data:
                found[path] = data.decode("utf-8", "replace")
    return found


def main(root: str = ".") -> int:
    """Check all files of the project in `root`; 0 where all is well."""
    files = read_files(Path(root))
    faults = [f"{fault}  [{lint.__name__}]" for lint in LINTS for fault in lint(files)]
    print("\n".join(faults) or f"{len(LINTS)} rules hold in {len(files)} files")
    return 1 if faults else 0


if __name__ == "__main__":
    gc.disable()  # nothing that is parsed is given up before the end
    sys.exit(main(*sys.argv[1:]))

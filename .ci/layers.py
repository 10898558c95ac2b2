"""Who may import whom: sorts every module into a layer and has import-linter check what follows.

    python .ci/layers.py [ROOT]

A new module of a package takes the package's layer; where it is another one, it gets a line in TABLE. A module that no
line sorts is a fault, so nothing is outside the contracts. The rules stand in docs/architecture.md, "Layers".
"""

from __future__ import annotations

import graphlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import grimp
from importlinter.cli import lint_imports

PACKAGE = "provisioner"
ORDER = ("ground", "rules", "shells", "root")
"""From the bottom up; a module imports from its own layer and those below."""

TABLE = (
    # (module names without the package's, layer); the first line that fits says it
    ("entry", "root"),
    ("daemon", "root"),
    ("addressing", "root"),
    ("naming", "root"),
    ("holders", "root"),
    ("reach", "root"),
    ("tls", "root"),
    ("wiring", "root"),
    ("declaring", "root"),
    ("machinehttp", "root"),
    ("measures", "root"),
    ("cli", "root"),
    ("cli.*", "root"),
    ("errors", "ground"),
    ("wire", "ground"),
    ("fields", "ground"),
    ("yamlfile", "ground"),
    ("settings", "ground"),
    ("checks", "ground"),
    ("listening", "ground"),
    ("premises", "root"),
    ("shelves", "root"),
    ("backups", "root"),
    ("model.*", "ground"),
    # what does I/O within packages of rules
    ("*.server", "shells"),
    ("*.link", "shells"),
    ("*.worker", "shells"),
    ("tftp.pump", "shells"),
    ("tftp.sockets", "shells"),
    ("tftp.places", "shells"),
    ("tftp.content", "shells"),
    ("tftp.session", "shells"),
    ("tftp.trace", "shells"),
    ("discovery.build.*", "shells"),
    ("lifecycle.runner", "shells"),
    ("lifecycle.ports", "shells"),
    ("lifecycle.actions", "shells"),
    ("lifecycle.agents", "shells"),
    ("lifecycle.booter", "shells"),
    ("lifecycle.rollouts", "shells"),
    ("lifecycle.preview", "shells"),
    ("lifecycle.readiness", "shells"),
    ("lifecycle.rendering", "shells"),
    ("lifecycle.silence", "shells"),
    ("lifecycle.leftover", "shells"),
    ("lifecycle.turns", "shells"),
    ("lifecycle.once", "shells"),
    ("lifecycle.media", "shells"),
    ("lifecycle.discs", "shells"),
    ("lifecycle.answers", "shells"),
    ("lifecycle.boots", "shells"),
    ("lifecycle.doors", "shells"),
    ("*.conductor", "shells"),
    *((f"workflow.{name}", "shells") for name in ("engine", "load", "machines", "perform", "planning", "site")),
    ("boot.loaders", "shells"),
    ("boot.packages", "shells"),
    ("catalog.artifacts", "shells"),
    ("catalog.blobs", "shells"),
    ("catalog.arriving", "shells"),
    ("catalog.bounded", "shells"),
    ("catalog.bundle", "shells"),
    ("catalog.bytecode", "shells"),
    ("catalog.convert", "shells"),
    ("catalog.download", "shells"),
    ("catalog.fetch", "shells"),
    ("catalog.lint", "shells"),
    ("catalog.generations", "shells"),
    ("catalog.load", "shells"),
    ("catalog.indexsums", "shells"),
    ("catalog.mirror", "shells"),
    ("catalog.packageindex", "shells"),
    ("catalog.proving", "shells"),
    ("catalog.renderchild", "shells"),
    ("catalog.renderer", "shells"),
    ("catalog.room", "shells"),
    ("catalog.secretsource", "shells"),
    ("catalog.signature", "shells"),
    ("catalog.site", "shells"),
    ("catalog.unpack", "shells"),
    ("catalog.upstream", "shells"),
    ("dhcp.addresses", "shells"),
    ("dhcp.book", "shells"),
    ("dhcp.imports", "shells"),
    ("dhcp.subnetbook", "shells"),
    ("dhcp.v6.book", "shells"),
    ("dhcp.held", "shells"),
    ("dhcp.links", "shells"),
    ("dhcp.mmsg", "shells"),
    ("dhcp.neighbours", "shells"),
    ("dhcp.overflow", "shells"),
    ("dhcp.teller", "shells"),
    ("dhcp.trace", "shells"),
    ("dhcp.v6.advertising", "shells"),
    ("dhcp.v6.ra", "shells"),
    ("dhcp.v6.trace", "shells"),
    ("ddns.update", "shells"),
    ("ddns.keeper", "shells"),
    ("discovery.profiles", "shells"),
    # what decides within packages of shells
    ("bmc.verbs", "rules"),
    ("bmc.resolve", "rules"),
    ("bmc.biosplan", "rules"),
    ("bmc.capabilities", "rules"),
    ("bmc.ledger", "rules"),
    ("bmc.join", "rules"),
    ("bmc.libvirt.domain", "rules"),
    ("bmc.pace", "rules"),
    ("bmc.ssdp", "rules"),
    ("bmc.table", "rules"),
    ("bmc.ipmi.sol", "rules"),
    ("bmc.ipmi.users", "rules"),
    ("bmc.quirks", "rules"),
    ("bmc.ipmi.chassis", "rules"),
    ("bmc.redfish.answers", "rules"),
    ("bmc.redfish.serial", "rules"),
    ("bmc.hostkeys", "rules"),
    ("netwatch.filter", "rules"),
    ("netwatch.looking", "rules"),
    ("netwatch.rogues", "rules"),
    ("web.client", "shells"),
    *((f"lab.{name}", "rules") for name in ("faults", "ipmi.crypto", "ipmi.guest", "ipmi.message")),
    *((f"lab.{name}", "rules") for name in ("ipmi.packet", "ipmi.sol", "redfish.answer", "redfish.request")),
    # the rest of each package
    ("clock", "shells"),
    ("children", "shells"),
    ("collector", "shells"),
    ("firstuse", "shells"),
    ("hosts", "shells"),
    ("config", "shells"),
    ("durable", "shells"),
    ("fairloop", "shells"),
    ("uncut", "shells"),
    ("services", "shells"),
    ("netwatch*", "shells"),
    ("bmc.*", "shells"),
    ("store.*", "shells"),
    ("inventory.*", "shells"),
    ("web.standing", "rules"),
    ("web.*", "shells"),
    ("lab.*", "shells"),
    ("boot.*", "rules"),
    ("catalog.*", "rules"),
    ("ddns.*", "rules"),
    ("dhcp.*", "rules"),
    ("discovery.*", "rules"),
    ("interop.*", "rules"),
    ("lifecycle.*", "rules"),
    ("tftp.*", "rules"),
    ("workflow.*", "rules"),
    ("workload.*", "rules"),
)

IMPURE = (
    *("asyncio", "concurrent", "multiprocessing", "queue", "select", "selectors", "threading"),  # the loop, tasks
    *("http", "socket", "socketserver", "ssl"),  # the network
    *(
        "fcntl",
        "glob",
        "os",
        "platform",
        "resource",
        "shutil",
        "signal",
        "sqlite3",
        "subprocess",
        "tempfile",
    ),  # the system
    *("logging", "random", "secrets", "time"),  # the world around
    *("aiohttp", "msgspec", "multidict"),  # the libraries of shells
)
"""What rules and ground do not import."""

HOMES = {
    "scapy": ("netwatch.frames",),
    "tftpy": ("cli.doctor*", "doctor*"),
    "pyghmi": ("bmc.ipmi.*", "bmc.worker"),
    "redfish": ("bmc.redfish.*",),
    "asyncssh": ("bmc.redfish.ssh", "lab.ssh"),
    "jinja2": ("catalog.compile", "catalog.paths", "catalog.render"),
    "yaml": ("yamlfile",),
    "netaddr": ("model.net",),
    "sqlite3": ("store.*",),
    "cryptography": ("store.secrets", "store.authority", "lab.*"),
    "jsonschema": ("catalog.*",),
    "re2": ("catalog.shapes",),
    "dns": ("ddns.update",),
    "click": ("cli", "cli.*"),
    "rich": ("cli", "cli.*"),
    "virt": (),  # GPL-2.0-only: started as a program, never imported
}
"""The only modules of ours that may import a library."""

OF_SHELLS = ("aiohttp", "msgspec", "multidict")
"""Libraries that every shell may import."""

PLUGINS = (("bmc.ipmi", "bmc.redfish", "bmc.libvirt"), ("inventory.*",))
"""Modules (or packages) of one group do not know each other."""


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Say whether a module's name (without the package's) fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def layer_of(name: str) -> str | None:
    """The layer of a module, None where no line of the table sorts it."""
    return next((layer for pattern, layer in TABLE if fnmatchcase(name, pattern)), None)


def short(module: str) -> str:
    """A module's name without the package's."""
    return module.removeprefix(f"{PACKAGE}.")


def is_empty_package(graph: grimp.ImportGraph, module: str) -> bool:
    """Say whether a package's own file imports nothing: then it needs no layer."""
    return bool(graph.find_children(module)) and not graph.find_modules_directly_imported_by(module)


def sort_modules(graph: grimp.ImportGraph) -> tuple[dict[str, list[str]], list[str]]:
    """All modules of ours by layer, and those that no line of the table sorts."""
    layers: dict[str, list[str]] = {layer: [] for layer in ORDER}
    unsorted = []
    for module in sorted(m for m in graph.modules if m == PACKAGE or m.startswith(f"{PACKAGE}.")):
        if (layer := layer_of(short(module))) is not None:
            layers[layer].append(module)
        elif module != PACKAGE and not is_empty_package(graph, module):
            unsorted.append(module)
    return layers, unsorted


def contracts(
    graph: grimp.ImportGraph, layers: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """What must not import what: (what the contract says, importers, imported)."""
    for at, layer in enumerate(ORDER):
        above = [module for upper in ORDER[at + 1 :] for module in layers[upper]]
        yield f"{layer} import nothing from above", list(layers[layer]), above
    yield "rules and ground do no I/O", [*layers["ground"], *layers["rules"]], list(IMPURE)
    ours = [module for modules in layers.values() for module in modules]
    for library, home in HOMES.items():
        yield f"{library} stays in its home", [m for m in ours if not matches(short(m), home)], [library]
    for group in PLUGINS:
        roots = sorted(m for m in graph.modules if matches(short(m), group) and m.startswith(f"{PACKAGE}."))
        for root in roots:
            inside = [m for m in ours if m == root or m.startswith(f"{root}.")]
            others = [m for m in ours for other in roots if other != root and (m == other or m.startswith(f"{other}."))]
            yield f"{short(root)} knows no other of its kind", inside, others


def as_config(graph: grimp.ImportGraph, layers: Mapping[str, Sequence[str]]) -> str:
    """The contracts as import-linter's configuration."""
    lines = ["[importlinter]", f"root_package = {PACKAGE}", "include_external_packages = True"]
    for number, (name, sources, targets) in enumerate(contracts(graph, layers)):
        if sources and targets:
            lines += [f"[importlinter:contract:{number}]", f"name = {name}", "type = forbidden", "as_packages = False"]
            lines += ["allow_indirect_imports = True", "source_modules =", *(f"    {m}" for m in sources)]
            lines += ["forbidden_modules =", *(f"    {m}" for m in targets)]
    return "\n".join(lines) + "\n"


def find_homeless(graph: grimp.ImportGraph) -> list[str]:
    """Libraries that we import and that the tables above do not know."""
    known = {PACKAGE, *sys.stdlib_module_names, *HOMES, *OF_SHELLS}
    return sorted(m for m in graph.modules if graph.is_module_squashed(m) and m not in known)


def find_cycle(graph: grimp.ImportGraph) -> list[str]:
    """One circle of imports among our modules, empty where there is none."""
    ours = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules if m.startswith(f"{PACKAGE}.")}
    try:
        graphlib.TopologicalSorter({m: imported & ours.keys() for m, imported in ours.items()}).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def main(root: str = ".") -> int:
    """Check the package in `root`; 0 where all holds."""
    os.chdir(root)
    sys.path.insert(0, str(Path.cwd()))
    graph = grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)
    layers, unsorted = sort_modules(graph)
    for module in unsorted:
        print(f"{module}: no line of TABLE in .ci/layers.py gives it a layer")
    cycle = find_cycle(graph)
    if cycle:
        print(f"a circle of imports: {' <- '.join(cycle)}")
    homeless = find_homeless(graph)
    for library in homeless:
        print(f"{library}: no line of HOMES in .ci/layers.py says who may import this library")
    with tempfile.NamedTemporaryFile("w", suffix=".importlinter") as config:
        config.write(as_config(graph, layers))
        config.flush()
        broken = lint_imports(config_filename=config.name, no_cache=True, no_logo=True)
    return 1 if unsorted or cycle or homeless or broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""A site in a directory, as it is brought to the daemon. What is there and would not be read is a fault, never silence.

A machine whose file goes unread is one that is no longer declared, and `--prune` forgets those.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provisioner import yamlfile
from provisioner.errors import ConfigError

ENDINGS = {"machines": ".yaml", "bootenvs": ".yaml", "templates": ".j2"}
"""The directories of a site, and how the names of their files end."""
FOR_PEOPLE = ".md"
BESIDE = ("name", "source")
"""What the API is told beside what a file says of a machine."""
DEPTH = 3
"""How deep lines are told: machine, key, and what is in it."""


def body_of(folder: Path, revision: str, *, prune: bool) -> dict[str, Any]:
    """Read a site as the API takes it; raise `ConfigError` with every fault."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such directory")
    if not any((folder / top).is_dir() for top in ENDINGS):
        looked_for = ", ".join(f"{top}/" for top in ENDINGS)
        hint = "name the directory of the site; an empty machines/ in it says that it has nothing"
        raise ConfigError(f"{folder}: none of {looked_for} in it", hint=hint)
    if prune and not (folder / "machines").is_dir():
        hint = "an empty machines/ says that there are none; Git keeps one with a file .gitkeep in it"
        raise ConfigError(f"{folder}: no machines/ in it, and --prune would forget all machines", hint=hint)
    faults: list[str] = []
    found = {top: list(_files(folder, top, faults)) for top in ENDINGS}
    files = {name: text for top in ("bootenvs", "templates") for name, text in found[top]}
    lines: dict[str, dict[str, int]] = {}
    machines = [said for name, text in found["machines"] for said in _machines(name, text, lines, faults)]
    if faults:
        raise ConfigError("the declarations are not in order", faults=faults)
    return {"revision": revision, "machines": machines, "lines": lines, "files": files, "prune": prune}


def _files(folder: Path, top: str, faults: list[str]) -> Iterator[tuple[str, str]]:
    """List name and text of the files below one directory of a site; what is not one of them is a fault."""
    for path in sorted((folder / top).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.suffix == FOR_PEOPLE:
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        fault = _fault(path, folder / top, ENDINGS[top])
        if fault:
            faults.append(f"{name}: {fault}")
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            faults.append(f"{name}: cannot be read: {error}")


def _fault(path: Path, top: Path, ending: str) -> str:
    """Say why a file is not read; empty where it is."""
    try:
        mode = path.stat().st_mode
    except OSError:  # links in a circle, too
        return "a link that leads nowhere"
    if not path.resolve().is_relative_to(top.resolve()):
        return f"a link that leads out of {top.name}/; put the file itself here"
    if not stat.S_ISREG(mode):
        return "not a file" if not path.is_symlink() else "a link to a directory is not followed"
    if path.suffix != ending:
        wanted = f"{path.stem}{ending}" if path.suffix == ".yml" else f"NAME{ending}"
        return f"not read: files here are called {wanted}"
    return ""


def _machines(source: str, text: str, lines: dict[str, dict[str, int]], faults: list[str]) -> Iterator[dict[str, Any]]:
    """Read one file of machines: it maps their names to what is said of them."""
    try:
        document = yamlfile.load(text, source)
    except ConfigError as error:
        faults += error.faults or [str(error)]
        return
    if not isinstance(document.value, dict):
        faults.append(f"{source}: a mapping of machines' names is wanted")
        return
    lines[source] = {".".join(map(str, path)): line for path, line in document.lines.items() if 0 < len(path) <= DEPTH}
    for name, said in document.value.items():
        if not isinstance(said, dict | None):
            faults.append(f"{document.where((name,))}: {name}: a mapping is wanted")
            continue
        faults += [
            f"{document.where((name, key))}: {name}: {key}: unknown key" for key in BESIDE if key in (said or {})
        ]
        yield {**(said or {}), "name": str(name), "source": source}

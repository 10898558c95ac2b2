"""What every bootenv gives to every kind of machine, as text; `python -m tests.catalog.golden` writes the golden files.

golden/BOOTENV/KIND.txt holds it in full; where several bootenvs use the same templates, the others' files say what is
different (KIND.diff). A refusal is golden too: what an installer cannot do is said, in these words.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from provisioner.catalog import proving
from provisioner.catalog.fleet import FLEET, Sample, layers, machine
from provisioner.errors import RenderError
from provisioner.model.catalog import Bootenv
from tests.shipped import catalogue

FOLDER = Path(__file__).resolve().parent / "golden"


def files(name: str, kind: str) -> Iterator[tuple[str, str, str]]:
    """Render everything that one machine gets: (name, validator, text). Raises `RenderError` where it is refused."""
    made = _render(name, kind)
    if isinstance(made, RenderError):
        raise made
    yield from made


@cache
def _render(name: str, kind: str) -> tuple[tuple[str, str, str], ...] | RenderError:
    try:
        sample = Sample(kind, machine(kind), tuple(layers(kind)))
        made = proving.files(catalogue(), catalogue().bootenv(name), sample)
        return tuple((file.name, file.validator, file.text) for file in made)
    except RenderError as error:
        return error


def text_of(name: str, kind: str) -> str:
    """Everything of one bootenv for one kind of machine, as one text."""
    try:
        return "\n".join(f"=== {file} ===\n{text}" for file, _, text in files(name, kind))
    except RenderError as error:
        return f"=== refused ===\n{error}\n"


def groups() -> dict[str, str]:
    """For each bootenv the first one that uses the same templates: itself, mostly."""
    firsts: dict[object, str] = {}
    return {name: firsts.setdefault(_templates(catalogue().bootenv(name)), name) for name in catalogue().names()}


def _templates(bootenv: Bootenv) -> object:
    used = tuple(sorted((answer.id, answer.template) for answer in bootenv.answers))
    return used or bootenv.name


def expected() -> Iterator[tuple[Path, str]]:
    """Every golden file with what it should hold."""
    for name, first in groups().items():
        for kind in FLEET:
            text = text_of(name, kind)
            if name == first:
                yield FOLDER / name / f"{kind}.txt", text
            else:
                lines = difflib.unified_diff(
                    text_of(first, kind).splitlines(True), text.splitlines(True), first, name, n=0
                )
                yield FOLDER / name / f"{kind}.diff", "".join(lines)


def on_disk() -> list[Path]:
    """Every golden file that is there."""
    return [path for path in FOLDER.rglob("*") if path.is_file()]


def main() -> int:
    wanted = dict(expected())
    for stale in set(on_disk()) - set(wanted):
        stale.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(FOLDER))
    return 0


if __name__ == "__main__":
    sys.exit(main())

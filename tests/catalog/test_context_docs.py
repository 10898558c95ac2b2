"""docs/templates.md has every name that templates are given, and none that they are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog import compile as compiling
from provisioner.catalog import escape
from provisioner.catalog.fleet import FLEET, Sample, layers, machine
from provisioner.catalog.proving import contexts
from provisioner.errors import RefusedError
from tests.shipped import catalogue

TEXT = (Path(__file__).parents[2] / "docs/templates.md").read_text()

OF_THE_SITE = {
    r"params\..+": "params.GROUP.NAME",
    r"secrets\..+": "secrets.GROUP.NAME",
    r"urls\.answers\..+": "urls.answers.ID",
    r"urls\.sources\..+": "urls.sources.NAME",
    r"artifacts\..+\.(url|sha256|size_bytes)": r"artifacts.NAME.\1",
    r"system\.net\.primary\..+": "system.net.primary",
}
"""Keys that are somebody's own names, and how the document writes them; the last one is one of `system.net.links`."""


def names(heading: str) -> list[str]:
    """The names in the first column of the tables of a section."""
    section = re.split(r"(?m)^## ", TEXT.partition(f"\n## {heading}\n")[2])[0]
    found, at = [], ""
    for row in re.findall(r"(?m)^\| (`.*?`) \| ", section):
        for word in re.findall(r"`([^`]+)`", row):
            at = at.rpartition(".")[0] + word if word.startswith(".") else word
            found.append(at)
    return found


def paths(value: Any, at: str) -> Iterator[str]:
    """Every leaf of what templates are given, as the document writes it."""
    if isinstance(value, dict) and value:
        for key, inside in value.items():
            yield from paths(inside, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for item in value:
            yield from paths(item, f"{at}[]")
    else:
        for pattern, written in OF_THE_SITE.items():
            at = re.sub(f"^{pattern}$", written, at)
        yield at


def given() -> set[str]:
    """All that the sample machines are given together."""
    found: set[str] = set()
    for name in ("rocky-9", "ubuntu-24.04"):
        for kind in FLEET:
            sample = Sample(kind, machine(kind), tuple(layers(kind)))
            try:
                found.update(
                    *(paths(seen, "") for seen in contexts(catalogue(), catalogue().bootenv(name), sample, "amd64"))
                )
            except RefusedError:
                continue
    # of a machine that has none of them, a list or mapping is empty: the document tells what is in it
    return {path for path in found if not any(other.startswith((f"{path}[]", f"{path}.")) for other in found)}


def test_every_value_that_templates_are_given_is_in_the_table_and_no_other() -> None:
    written = names("Values")
    assert len(written) == len(set(written))
    assert set(written) == given()


def test_every_filter_test_and_function_is_in_the_table_and_no_other() -> None:
    environment = compiling.sandbox()
    known = set(environment.filters) | set(environment.tests) | set(environment.globals)
    known |= {name for methods in compiling._METHODS.values() for name in methods}
    assert set(names("Filters, tests and functions")) == known


def test_every_ending_has_its_dialect_in_the_table() -> None:
    assert set(names("Escaping")) == set(escape.ENDINGS)


@pytest.mark.parametrize("name", ["system.disk.zfs", "urls.sources.NAME", "secrets.GROUP.NAME", "fail", "heredoc"])
def test_the_tables_are_found(name: str) -> None:
    assert name in {*names("Values"), *names("Filters, tests and functions")}

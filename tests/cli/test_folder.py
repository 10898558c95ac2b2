"""A site's directory: what is in it is read, or told as a fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.cli.folder import body_of
from provisioner.errors import ConfigError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    for name, text in {
        "machines/rack1/a.yaml": "node17: {tags: [a]}\nnode18:\n",
        "machines/.gitkeep": "",
        "machines/README.md": "Racks.\n",
        "bootenvs/x.yaml": "name: x\n",
        "templates/site/x.sh.j2": "echo\n",
        "elsewhere/b.yaml": "node19:\n",
        "README": "not in a directory that is read\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_all_of_it_is_read(site: Path) -> None:
    source = "machines/rack1/a.yaml"
    assert body_of(site, "abc", prune=True) == {
        "revision": "abc",
        "machines": [{"tags": ["a"], "name": "node17", "source": source}, {"name": "node18", "source": source}],
        "lines": {source: {"node17": 1, "node17.tags": 1, "node17.tags.0": 1, "node18": 2}},
        "files": {"bootenvs/x.yaml": "name: x\n", "templates/site/x.sh.j2": "echo\n"},
        "prune": True,
    }


def test_links_inside_are_followed(site: Path) -> None:
    (site / "templates/y.sh.j2").symlink_to("site/x.sh.j2")
    assert body_of(site, "", prune=False)["files"]["templates/y.sh.j2"] == "echo\n"


UNREAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link out": (
        lambda site: (site / "machines/b.yaml").symlink_to("../elsewhere/b.yaml"),
        "machines/b.yaml: a link that leads out of machines/; put the file itself here"),
    "a template's link out": (
        lambda site: (site / "templates/b.sh.j2").symlink_to("/etc/hostname"),
        "templates/b.sh.j2: a link that leads out of templates/; put the file itself here"),
    "a link to nowhere": (
        lambda site: (site / "machines/b.yaml").symlink_to("c.yaml"), "machines/b.yaml: a link that leads nowhere"),
    "a link to itself": (
        lambda site: (site / "machines/b.yaml").symlink_to("b.yaml"), "machines/b.yaml: a link that leads nowhere"),
    "a link to a directory": (
        lambda site: (site / "machines/b").symlink_to("rack1"), "machines/b: a link to a directory is not followed"),
    "the other ending of YAML": (
        lambda site: (site / "machines/b.yml").write_text("node19:\n"),
        "machines/b.yml: not read: files here are called b.yaml"),
    "a bootenv's, too": (
        lambda site: (site / "bootenvs/b.yml").write_text(""),
        "bootenvs/b.yml: not read: files here are called b.yaml"),
    "a template without its ending": (
        lambda site: (site / "templates/b.sh").write_text(""),
        "templates/b.sh: not read: files here are called NAME.j2"),
    "any other file": (
        lambda site: (site / "machines/b.json").write_text("{}"),
        "machines/b.json: not read: files here are called NAME.yaml"),
    "a pipe": (lambda site: os.mkfifo(site / "machines/b.yaml"), "machines/b.yaml: not a file"),
    "a list": (
        lambda site: (site / "machines/b.yaml").write_text("[node19]\n"),
        "machines/b.yaml: a mapping of machines' names is wanted"),
    "a machine that is text": (
        lambda site: (site / "machines/b.yaml").write_text("node19: x\n"),
        "machines/b.yaml:1: node19: a mapping is wanted"),
    "a name in a machine": (
        lambda site: (site / "machines/b.yaml").write_text("node19:\n  name: x\n"),
        "machines/b.yaml:2: node19: name: unknown key"),
    "what is not YAML": (
        lambda site: (site / "machines/b.yaml").write_text("node19: [\n"), "machines/b.yaml:2: not YAML: "),
}  # fmt: skip


@pytest.mark.parametrize(("add", "fault"), UNREAD.values(), ids=UNREAD.keys())
def test_what_would_not_be_read_is_a_fault(site: Path, add: Callable[[Path], object], fault: str) -> None:
    add(site)
    with pytest.raises(ConfigError) as caught:
        body_of(site, "", prune=True)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(fault)


def test_text_that_is_none_is_a_fault(site: Path) -> None:
    (site / "templates/b.sh.j2").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        body_of(site, "", prune=False)
    assert caught.value.faults[0].startswith("templates/b.sh.j2: cannot be read: ")


def test_nothing_is_pruned_by_a_directory_that_has_no_machines_in_it(site: Path) -> None:
    (site / "machines").rename(site / "machine")
    assert body_of(site, "", prune=False)["machines"] == []
    with pytest.raises(ConfigError, match="no machines/ in it"):
        body_of(site, "", prune=True)


def test_a_directory_that_is_no_site_is_refused(tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "templates").write_text("a file, not a directory")
    with pytest.raises(ConfigError, match="none of machines/, bootenvs/, templates/ in it"):
        body_of(tmp_path, "", prune=False)


@pytest.mark.parametrize("top", ["machines", "bootenvs", "templates"])
def test_any_of_its_directories_makes_it_a_site(tmp_path: Path, top: str) -> None:
    (tmp_path / top).mkdir()
    assert body_of(tmp_path, "", prune=False) == {
        "revision": "",
        "machines": [],
        "lines": {},
        "files": {},
        "prune": False,
    }

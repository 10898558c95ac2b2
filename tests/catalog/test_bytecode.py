"""What is kept of compiled templates is what compiling makes of them, and nothing else is ever taken for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.catalog import bytecode
from provisioner.catalog.load import Catalog, read, shipped
from provisioner.catalog.render import Renderer

TEMPLATES = {"a.sh.j2": "echo {{ machine.name }}\n{% include 'b.sh.j2' %}", "b.sh.j2": "{% set x = 1 %}{{ x }}"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep it where nobody else does, as with PYTHONPYCACHEPREFIX."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def test_what_is_kept_is_what_was_compiled() -> None:
    made = Renderer(TEMPLATES)
    assert bytecode.kept() == {}
    bytecode.keep(made.parts)
    assert bytecode.kept() == made.parts
    assert Renderer(TEMPLATES, bytecode.kept()).render("a.sh.j2", {"machine": {"name": "x y"}}) == "echo 'x y'\n1"
    assert [path.name for path in bytecode.where().parent.iterdir()] == [bytecode.where().name]


def test_another_text_is_compiled_anew() -> None:
    bytecode.keep(Renderer(TEMPLATES).parts)
    renderer = Renderer(TEMPLATES | {"b.sh.j2": "{{ y }}"}, bytecode.kept())
    assert renderer.check() == [
        "templates/b.sh.j2: y: no such name; a template may use machine, facts, profile, params, bootenv, boot, urls, "
        "artifacts, agent, system, secrets"
    ]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-1],
    "empty": lambda _content: b"",
    "with a bit that fell over": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "of another version": lambda content: bytes(bytecode.DIGEST_BYTES) + content[bytecode.DIGEST_BYTES :],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_not_whole_or_not_of_this_version_is_not_read(spoil: Callable[[bytes], bytes]) -> None:
    bytecode.keep(Renderer(TEMPLATES).parts)
    file = bytecode.where()
    file.write_bytes(spoil(file.read_bytes()))
    assert bytecode.kept() == {}


def test_nothing_is_kept_where_python_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for name, value in (("dont_write_bytecode", True), ("pycache_prefix", str(tmp_path / "file"))):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value)
            bytecode.keep(Renderer(TEMPLATES).parts)
            assert bytecode.kept() == {}


def test_the_catalogue_that_we_ship_is_kept_and_no_site_s(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "own.sh.j2").write_text("echo own\n")
    read((shipped(), tmp_path))
    assert bytecode.kept() == {}
    first = Catalog.load().content.renderer
    assert bytecode.kept() == first.parts
    again = read((shipped(), tmp_path)).renderer
    assert again.parts.keys() - first.parts.keys() == {"own.sh.j2"}
    assert bytecode.kept() == first.parts

"""Catalogues that were handed over: kept by content, swept by name."""

from __future__ import annotations

from pathlib import Path

from provisioner.catalog.generations import Generations

FILES = {"bootenvs/mine.yaml": "label: mine\n"}


def test_only_generations_are_swept(tmp_path: Path) -> None:
    kept = Generations(tmp_path)
    old, new = kept.write(FILES), kept.write({**FILES, "templates/a.j2": "x"})
    (tmp_path / ".new-cut-short").mkdir()
    (tmp_path / "bootenvs").mkdir()
    (tmp_path / "bootenvs" / "own.yaml").write_text("an operator's")
    kept.sweep(new)
    assert old != new
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new, "bootenvs"])
    assert (tmp_path / "bootenvs" / "own.yaml").exists()

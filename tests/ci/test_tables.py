"""Tables in the documents follow the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tables(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / ".ci/tables.py", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def test_every_parameter_is_in_the_document() -> None:
    files = {path.stem for path in (ROOT / "bootenvs/params").glob("*.yaml")}
    text = (ROOT / "docs/parameters.md").read_text()
    assert set(re.findall(r"<!-- table parameters-(\w+) -->", text)) == files
    assert "| `net.interfaces[].match.min_speed` |" in text


def test_an_old_table_is_told_and_written_anew(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/tables.py", tmp_path / ".ci")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    lifecycle = tmp_path / "docs/lifecycle.md"
    lifecycle.write_text(lifecycle.read_text().replace("| 10 min |", "| 11 min |"))
    told = tables(tmp_path)
    assert told.returncode == 1
    assert "docs/lifecycle.md: a table is older than the code" in told.stdout
    assert "written: docs/lifecycle.md" in tables(tmp_path, "--write").stdout
    assert tables(tmp_path).returncode == 0
    assert "| 10 min |" in lifecycle.read_text()

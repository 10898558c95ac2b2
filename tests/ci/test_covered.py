"""A rule that tests do not reach fails; a shell does not."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest

from tests.ci.load import load

COVERED = load("covered")

CASES = {
    "rule below the floor": ("provisioner/boot/plan.py", 89.9, 1, "provisioner/boot/plan.py: 90 % covered"),
    "rule on the floor": ("provisioner/boot/plan.py", 90.0, 0, "every rule"),
    "value below the floor": ("provisioner/model/net.py", 10.0, 1, "no test runs lines 7, 8 ..."),
    "shell": ("provisioner/dhcp/server.py", 0.0, 0, "every rule"),
}


@pytest.mark.parametrize(("path", "percent", "status", "said"), CASES.values(), ids=CASES.keys())
def test_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, percent: float, status: int, said: str
) -> None:
    report = {"files": {path: {"summary": {"percent_covered": percent}, "missing_lines": [7, 8]}}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert COVERED.main(str(tmp_path / "report.json")) == status
    assert said in capsys.readouterr().out


def test_what_has_no_floor_is_not_measured(tmp_path: Path) -> None:
    assert COVERED.main("--settings", str(tmp_path / "settings")) == 0
    said = configparser.ConfigParser()
    said.read(tmp_path / "settings")
    assert (said["run"]["branch"], said["run"]["source"]) == ("true", "provisioner")
    left_out = said["run"]["omit"].split()
    assert "provisioner/dhcp/server.py" in left_out
    assert "provisioner/boot/plan.py" not in left_out
    assert not [path for path in left_out if COVERED.is_measured(path)]

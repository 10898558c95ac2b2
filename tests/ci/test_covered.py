"""A rule that tests do not reach fails; a shell does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.load import load

COVERED = load("covered")
ROOT = Path(__file__).parents[2]

PLAN, NET, SERVER = "provisioner/boot/plan.py", "provisioner/model/net.py", "provisioner/dhcp/server.py"
CASES = {
    "rule below the floor": (PLAN, 89.9, [f"{PLAN}: 90 % covered, at least 90 %; no test runs lines 7, 8 ..."]),
    "rule on the floor": (PLAN, 90.0, []),
    "value below the floor": (NET, 10.0, [f"{NET}: 10 % covered, at least 90 %; no test runs lines 7, 8 ..."]),
    "shell": (SERVER, 0.0, []),
}


def report(path: str, percent: float) -> dict[str, object]:
    return {"files": {path: {"summary": {"percent_covered": percent}, "missing_lines": [7, 8]}}}


@pytest.mark.parametrize(("path", "percent", "said"), CASES.values(), ids=CASES.keys())
def test_floor(path: str, percent: float, said: list[str]) -> None:
    assert list(COVERED.thin(report(path, percent), [path])) == said


@pytest.mark.parametrize(("percent", "status"), [(89.0, 1), (91.0, 0)])
def test_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, percent: float, status: int) -> None:
    monkeypatch.chdir(tmp_path)
    Path(PLAN).parent.mkdir(parents=True)
    Path(PLAN).touch()
    Path("report.json").write_text(json.dumps(report(PLAN, percent)))
    assert COVERED.main("report.json") == status


def test_a_rule_that_no_test_imports() -> None:
    assert list(COVERED.thin({"files": {}}, (PLAN, SERVER))) == [f"{PLAN}: no test imports it"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_what_is_measured(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """Rules are, with what runs and what does not; shells are not."""
    found = tmp_path / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.measuring", *workers, "tests/tftp/test_netascii.py"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environment["MEASURED"] = str(found)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    files = json.loads(found.read_text())["files"]
    assert all(COVERED.is_measured(path) for path in files)
    assert files["provisioner/tftp/netascii.py"]["summary"]["percent_covered"] == 100
    assert files["provisioner/errors.py"]["missing_lines"], "what these tests do not run"


@pytest.mark.slow
def test_a_report_that_goes_nowhere_is_refused() -> None:
    environment = {name: text for name, text in os.environ.items() if name != "MEASURED"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.measuring", "tests/tftp/test_netascii.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no MEASURED=FILE says where the report goes" in done.stderr

"""The Vagrantfile: vagrant accepts it, and the settings that it writes are settings of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # vagrant needs seconds to start

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.mark.peer
def test_vagrant_accepts_it(tmp_path: Path) -> None:
    """Where the distribution has no vagrant (scripts/apt-packages), ruby at least reads it."""
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    if shutil.which("vagrant") is None:
        assert "Syntax OK" in run("ruby", "-c", "Vagrantfile", cwd=tmp_path)
        return
    said = run("vagrant", "validate", cwd=tmp_path, VAGRANT_HOME=str(tmp_path / "home"), VAGRANT_CHECKPOINT_DISABLE="1")
    assert said == "Vagrantfile validated successfully.\n"


def test_what_is_built_and_downloaded_here_stays_here() -> None:
    (excluded,) = re.findall(r"rsync__exclude: \[(.*?)\]", (ROOT / "Vagrantfile").read_text())
    large = {
        line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if line.strip("/") in {".venv", ".lab"}
    }
    assert {word.strip('" /') for word in excluded.split(",")} == {".git"} | large
    assert len(large) == 2


def test_its_settings_are_in_order(tmp_path: Path) -> None:
    text = (ROOT / "Vagrantfile").read_text()
    settings = re.search(r"SETTINGS = <<~YAML\n(.*?)^YAML$", text, re.DOTALL | re.MULTILINE)
    subnet = re.search(r'^SUBNET = "(.*)"$', text, re.MULTILINE)
    assert settings is not None
    assert subnet is not None
    (tmp_path / "provisioner.yaml").write_text(settings[1].replace("#{SUBNET}", subnet[1]))
    command = (sys.executable, "-m", "provisioner.entry", "--check", "--config", tmp_path / "provisioner.yaml")
    assert "in order" in run(*command, cwd=ROOT)

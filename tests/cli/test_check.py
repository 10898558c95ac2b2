"""`check` tells every fault of what the daemon would read."""

from __future__ import annotations

from pathlib import Path

from provisioner import settings
from provisioner.config import Config
from tests.cli.conftest import Ctl


def test_the_example_is_in_order(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "provisioner.yaml"
    path.write_text(settings.example(Config))
    ran = ctl("check", "--config", str(path))
    assert (ran.status, ran.out, ran.err) == (0, "", f"{path} and what can be booted are in order\n")


def test_every_fault_is_told_with_its_line(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "provisioner.yaml"
    path.write_text("htpp:\n  port: 80\nlog:\n  level: loud\n")
    ran = ctl("check", "--config", str(path))
    assert (ran.status, ran.out) == (1, "")
    assert f"{path}:1: htpp" in ran.err
    assert f"{path}:4: log.level" in ran.err


def test_what_may_not_be_meant_is_a_warning(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "provisioner.yaml"
    state = f"store:\n  state_dir: {tmp_path / 'state'}\n"
    path.write_text(f"{state}mirror:\n  upstreams: {{debian: http://deb.debian.org/debian}}\n  max_gib: 1000000000\n")
    ran = ctl("check", "--config", str(path))
    assert (ran.status, ran.out) == (0, "")
    assert f"warning: {path}:5: mirror.max_gib: 1000000000 GiB, and the disk of " in ran.err


def test_faults_of_one_s_own_bootenvs_are_told(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "own" / "bootenvs").mkdir(parents=True)
    (tmp_path / "own" / "bootenvs" / "mine.yaml").write_text("title: 7\nkinnd: image\n")
    path = tmp_path / "provisioner.yaml"
    path.write_text(f"catalogue:\n  paths: [{tmp_path / 'own'}]\n")
    ran = ctl("check", "--config", str(path))
    assert ran.status == 1
    assert "mine.yaml:2" in ran.err


def test_a_file_that_is_not_there(ctl: Ctl, tmp_path: Path) -> None:
    ran = ctl("check", "--config", str(tmp_path / "none.yaml"))
    assert ran.status == 1
    assert ran.err.startswith(f"provisionctl: {tmp_path / 'none.yaml'}: cannot be read: No such file or directory")

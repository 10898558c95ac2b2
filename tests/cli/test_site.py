"""`bootenvs`, `info`, `completion`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import Ctl, Daemon


def test_bootenvs(ctl: Ctl) -> None:
    lines = ctl("bootenvs").out.splitlines()
    assert lines[0].split() == ["NAME", "TITLE", "KIND", "ARCH", "ARTEFACTS", "TESTED"]
    assert lines[3].startswith("ubuntu-22.04  Ubuntu 22.04  installer")
    assert "1 missing  never" in lines[3]
    assert "provisionctl artifacts fetch ubuntu-22.04" in ctl("bootenvs", "-o", "wide").out


def test_info(ctl: Ctl, daemon: Daemon) -> None:
    lines = ctl("info").out.splitlines()
    assert lines[0].startswith("daemon  provisioner ")
    assert lines[0].endswith(str(daemon.path))
    assert lines[1] == "boot    http://192.0.2.1:8080"
    assert json.loads(ctl("info", "-o", "json").out)["api"] == "v1"


def completed(daemon: Daemon, words: str, at: int, socket: str = "") -> list[str]:
    env = {
        **os.environ,
        "_PROVISIONCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(at),
        "PROVISIONER_SOCKET": socket or str(daemon.path),
    }
    program = [sys.executable, "-c", "from provisioner.cli import main; main()"]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_the_shell_completes_commands_machines_and_bootenvs(daemon: Daemon) -> None:
    assert "machines" in completed(daemon, "provisionctl ma", 1)
    assert completed(daemon, "provisionctl boot no", 2) == ["node17", "node18"]
    assert completed(daemon, "provisionctl boot node17,no", 2) == ["node17,node17", "node17,node18"]
    assert completed(daemon, "provisionctl boot node17 deb", 3) == ["debian-12"]


def test_completion_without_a_daemon_is_quiet(daemon: Daemon) -> None:
    assert completed(daemon, "provisionctl boot no", 2, "http://no:99999") == []
    assert completed(daemon, "provisionctl workflow run no", 3, "http://no:99999") == []
    daemon.stop()
    assert completed(daemon, "provisionctl boot no", 2) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_a_shell_reads(ctl: Ctl, shell: str) -> None:
    ran = ctl("completion", shell)
    assert (ran.status, "_PROVISIONCTL_COMPLETE" in ran.out) == (0, True)


def test_completion_of_an_unknown_shell(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    ran = ctl("completion")
    assert ran.status == 2
    assert "'tcsh' is not one of" in ran.err

"""The daemon as a process: what it refuses to start with, and how it stops. It serves its API and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from provisioner.daemon import main
from tests.catalog.test_compile import BOMBS

pytestmark = [pytest.mark.slow]

DAEMON = (sys.executable, "-m", "provisioner.entry")
BOUNDED = ("prlimit", "--cpu=60", f"--as={2 << 30}")


def config(folder: Path, name: str = "api.sock", *catalogues: Path) -> Path:
    """Write a configuration that needs no port."""
    settings = {
        "catalogue": {"paths": [str(each) for each in catalogues]},
        "store": {"state_dir": str(folder / "state")},
        "api": {"socket": str(folder / name)},
        "tftp": {"enabled": False},
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(settings))
    return path


@contextlib.contextmanager
def daemon(folder: Path, *catalogues: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a daemon in a process group of its own, with catalogues of the site; it is ready."""
    command = (*BOUNDED, *DAEMON, "--config", str(config(folder, "api.sock", *catalogues)))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if "daemon.ready" in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield process
        finally:
            process.kill()


def refused(folder: Path, name: str) -> str:
    """Start another one, which ends; what it said."""
    command = (*DAEMON, "--config", str(config(folder, name)))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


WRONG_PATHS = {
    "one that begins where it is started": (
        ("--state-dir", "state"),
        "--state-dir: 'state' does not begin at the root",
    ),
    "a home that no shell wrote out": (("--state-dir=~/state",), "--state-dir: '~/state' does not begin at the root"),
    "no path": (("--state-dir", ""), "--state-dir: empty: give a path"),
    "a socket that begins where it is started": (("--api-socket", "./api.sock"), "--api-socket: './api.sock' does not"),
    "a socket that cannot be bound": (
        ("--api-socket", f"/{'x' * 108}"),
        "--api-socket: 109 octets: a socket's path has",
    ),
}


@pytest.mark.parametrize(("given", "said"), WRONG_PATHS.values(), ids=WRONG_PATHS.keys())
def test_paths_of_the_command_line_are_held_to_the_rules_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: Sequence[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--check", "--config", str(config(tmp_path)), *given])
    assert ended.value.code == 2
    assert f"provisionerd: error: argument {said}" in capsys.readouterr().err


def test_a_check_warns_of_what_may_not_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path)
    mirror = {"upstreams": {"debian": "http://deb.debian.org/debian"}, "max_gib": 10**9}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mirror": mirror}))
    assert main(["--check", "--config", str(path)]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"provisionerd: warning: {path}:1: mirror.max_gib: 1000000000 GiB, and the disk of ")
    assert said.out == "configuration and catalogue are in order\n"


def test_a_state_directory_is_for_one_daemon_until_that_is_killed(tmp_path: Path) -> None:
    with daemon(tmp_path) as first:
        said = refused(tmp_path, "other.sock")
        who = f"{tmp_path}/state: provisionerd (pid {first.pid}) works on this state directory"
        assert said == f"provisionerd: {who} (end it, or give another --state-dir)\n"
        assert not (tmp_path / "other.sock").exists()
        first.kill()
        first.wait()
        with daemon(tmp_path) as second:
            assert second.pid != first.pid


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


SIGNALS = {"Ctrl-C": signal.SIGINT, "a stop": signal.SIGTERM}


@pytest.mark.parametrize("number", SIGNALS.values(), ids=SIGNALS.keys())
def test_a_signal_to_all_of_its_processes_is_a_clean_stop(tmp_path: Path, number: signal.Signals) -> None:
    with daemon(tmp_path) as process:
        assert process.stderr is not None
        assert any(" netwatch.up " in line for line in process.stderr)
        started = children(process.pid)
        assert len(started) >= 3, "the renderer, the worker for IPMI and netwatch"
        for pid in started:
            os.kill(pid, number)
        os.killpg(process.pid, number)
        said = [re.sub(r"^\S+ \S+ ", "", line.strip()) for line in process.stderr]
        assert said == ["INFO provisioner: daemon.stopping", "INFO provisioner: daemon.stopped"]
        assert process.wait() == 0
        assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def test_a_terminal_that_closes_ends_nothing(tmp_path: Path) -> None:
    with daemon(tmp_path) as process:
        assert process.stderr is not None
        started = set(children(process.pid))
        os.killpg(process.pid, signal.SIGHUP)
        assert any(" daemon.hangup it goes on" in line for line in process.stderr)
        assert started <= set(children(process.pid)), "they are in sessions of their own"
        process.terminate()
        assert process.wait() == 0


def test_what_templates_would_compute_holds_nothing_up(tmp_path: Path) -> None:
    """Constants that take minutes and gigabytes: a check, a start and a plan have nothing to do with their values."""
    site = tmp_path / "site"
    (site / "templates").mkdir(parents=True)
    for number, source in enumerate(BOMBS.values()):
        (site / "templates" / f"bomb{number}.sh.j2").write_text(source)
    command = (*BOUNDED, *DAEMON, "--check", "--config", str(config(tmp_path, "api.sock", site)))
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stdout) == (0, "configuration and catalogue are in order\n"), checked.stderr
    with daemon(tmp_path, site):
        ctl = (sys.executable, "-m", "provisioner.cli", "--server", str(tmp_path / "api.sock"))
        planned = subprocess.run((*ctl, "plan", str(site)), capture_output=True, text=True, timeout=60, check=False)
        assert planned.returncode == 0, planned.stderr

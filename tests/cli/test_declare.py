"""`plan` and `apply` against the daemon's own parts: what differs is shown, all of it is done or nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from provisioner.cli.declare import revision_of
from provisioner.cli.root import run
from provisioner.web.app import operator_app
from provisioner.web.server import Server
from provisioner.web.site import SiteApi
from tests.cli.conftest import cut_once
from tests.cli.test_boot import Terminal
from tests.declarations import Declared, declared
from tests.test_declaring import BOOTENV

pytestmark = pytest.mark.slow

RACK = """\
node17:
  macs: ["52:54:00:00:00:0a"]
  bmc: {driver: ipmi, host: 10.0.0.9, username: admin, password: "env:NODE17"}
  roles: [web]
  profile: storage
  address: 10.77.0.17
  params: {disk.layout: lvm}
node18:
"""
Ctl = Callable[..., tuple[int, str, str]]


class Served:
    """A site behind its API, on a loop in another thread."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "api.sock"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.rig: Declared = self.do(self._start(folder))

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _start(self, folder: Path) -> Declared:
        rig = await self._stack.enter_async_context(declared(folder))
        server = Server(operator_app(SiteApi(rig.site).routes()), drain_s=0.05)
        self._stack.push_async_callback(server.close)
        await server.listen_unix(self.socket)
        return rig

    def close(self) -> None:
        self.do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "daemon").mkdir()
    served = Served(tmp_path / "daemon")
    yield served
    served.close()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with two machines and a bootenv."""
    folder = tmp_path / "site"
    (folder / "machines").mkdir(parents=True)
    (folder / "bootenvs").mkdir()
    (folder / "machines/rack.yaml").write_text(RACK)
    (folder / "bootenvs/site-os.yaml").write_text(BOOTENV)
    return folder


@pytest.fixture
def ctl(served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ctl:
    monkeypatch.setenv("PROVISIONER_SOCKET", str(served.socket))

    def call(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run(args)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_plan_shows_and_apply_makes_the_difference(ctl: Ctl, served: Served, site: Path) -> None:
    status, out, _ = ctl("plan", str(site))
    assert status == 0
    assert out.splitlines() == [
        "~ bootenv site-os: added",
        "~ template bootenvs/site-os.amd64.args.j2: added",
        "+ machine node17: create",
        "    macs: + 52:54:00:00:00:0a",
        "    bmc: none -> ipmi://admin@10.0.0.9:623",
        "    tags: + role:web (there is no bootenvs/values/roles/web.yaml)",
        "    tags: + profile:storage",
        "    profile: none -> storage",
        '    params.disk.layout: not set -> "lvm"',
        "    bmc.password: from env:NODE17",
        "    address: none -> 10.77.0.17",
        "+ machine node18: create",
    ]
    assert not served.rig.conductor.machines.all()
    status, _, err = ctl("apply", str(site), "-y")
    assert (status, err.splitlines()[-1]) == (0, "applied; it is number 1")
    assert [machine.name for machine in served.rig.conductor.machines.all()] == ["node17", "node18"]
    status, out, err = ctl("plan", str(site))
    assert (status, out) == (0, "")
    assert "nothing differs" in err


def test_what_is_wrong_is_told_with_its_file_and_nothing_is_done(ctl: Ctl, served: Served, site: Path) -> None:
    (site / "bootenvs/site-os.yaml").write_text(BOOTENV.replace("kind: live", "kind: lvie"))
    (site / "machines/rack.yaml").write_text(RACK.replace("lvm", "cubic"))
    for command in ("plan", "apply"):
        status, _, err = ctl(command, str(site))
        assert status == 1
        assert "bootenvs/site-os.yaml:3: kind" in err
    assert not served.rig.conductor.machines.all()
    (site / "machines/rack.yaml").write_text("node17: {macs: [nonsense], colour: red, bmc: {password: hunter2}}\n")
    status, _, err = ctl("plan", str(site))
    assert status == 1
    assert "machines/rack.yaml:1: node17" in err
    assert "hunter2" not in err


WRONG = {
    "a key, with the nearest": ("  addres: 10.0.0.1\n", "2: node50: addres: unknown key, did you mean 'address'?"),
    "a key like none": (
        "  colour: red\n",
        "2: node50: colour: unknown key; known: address, bmc, boot_via, macs, params, profile, roles, tags"),
    "a key of the BMC": (
        "  tags: []\n  bmc:\n    driver: ipmi\n    host: h\n    user: x\n    username: y\n",
        "6: node50: bmc.user: unknown key, did you mean 'username'?"),
    "a key that lacks": ("  bmc:\n    driver: ipmi\n", "2: node50: bmc: missing key host"),
    "another kind of value": ("  tags: []\n  macs: x\n", "3: node50: macs: expected array, got str"),
    "one of several": (
        "  macs:\n    - 52:54:00:00:00:0a\n    - nonsense\n", "4: node50: macs[1]: not a MAC address: 'nonsense'"),
    "a BMC's host": (
        "  bmc:\n    driver: ipmi\n    username: x\n    host: a b\n",
        "5: node50: bmc.host: 'a b': a name or an address"),
    "an address of no port": (
        "  tags: []\n  address: 10.0.0.1\n", "3: node50: address: is kept for a hardware address, and macs has none"),
    "a name that is none": ("  {}\n", "1: Node_50: name: 'Node_50': lower-case letters"),
    "a profile that is not there": ("  tags: []\n  profile: storag\n", "1: node50: profile: no such hardware profile"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "fault"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_a_machine_is_told_with_its_line(ctl: Ctl, site: Path, said: str, fault: str) -> None:
    name = "Node_50" if "Node_50" in fault else "node50"
    (site / "machines/rack.yaml").write_text(f"{name}:\n{said}")
    status, _, err = ctl("plan", str(site))
    assert status == 1
    assert f"machines/rack.yaml:{fault}" in err


def test_all_that_is_wrong_with_machines_is_told_at_once(ctl: Ctl, site: Path) -> None:
    (site / "machines/rack.yaml").write_text("node50:\n  addres: x\n  macs: [nonsense]\nnode51:\n  tag: [a]\n")
    err = ctl("plan", str(site))[2]
    assert [line.split(": ")[0].strip() for line in err.splitlines()[1:]] == [
        f"machines/rack.yaml:{line}" for line in (2, 3, 5)
    ]


def test_a_password_is_never_written_into_a_file(ctl: Ctl, site: Path) -> None:
    (site / "machines/rack.yaml").write_text(RACK.replace("env:NODE17", "hunter2"))
    status, _, err = ctl("plan", str(site))
    assert status == 1
    assert "refer to a secret, never write one" in err
    assert "hunter2" not in err


def committed(folder: Path) -> str:
    """Make a revision of a folder, and name it."""
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a rack"]):
        subprocess.run([*git, *args], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_what_git_does_not_tell_is_not_taken_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    assert revision_of(tmp_path, said.append) == ""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert (revision_of(tmp_path, said.append), said.pop()) == (
        "",
        f"{tmp_path}: no revision is recorded: fatal: Needed a single revision",
    )
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines/rack.yaml").write_text(RACK)
    head = committed(tmp_path)
    assert (revision_of(tmp_path / "machines", said.append), said) == (head, [])
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path / "machines")
    assert (revision_of(link, said.append), said) == (head, [])
    index = tmp_path / ".git/index"
    index.write_bytes(b"damaged" + index.read_bytes())
    assert revision_of(tmp_path, said.append) == f"{head}+unknown"
    assert said.pop().startswith(
        f"{tmp_path}: whether files differ from the revision is not known: error: bad signature"
    )
    monkeypatch.setenv("PATH", "")
    assert (revision_of(tmp_path, said.append), said) == (
        "",
        [f"{tmp_path}: no revision is recorded: git: No such file or directory"],
    )


def test_the_revision_is_shown_and_recorded(ctl: Ctl, served: Served, site: Path) -> None:
    head = committed(site)
    assert f"this is revision {head}\n" in ctl("plan", str(site))[2]
    _, out, _ = ctl("apply", str(site), "-y", "-o", "json")
    assert json.loads(out)["applied"]["revision"] == head
    (site / "machines/rack.yaml").write_text(RACK + "  tags: [rack=r1, rack=r1]\n")
    status, out, err = ctl("plan", str(site))
    assert status == 0
    assert f"applied before: revision {head}" in err
    assert f"this is revision {head}+changes" in err
    assert out.splitlines() == ["~ machine node18: change", "    tags: + rack=r1"]


def test_who_is_no_longer_declared_is_forgotten_with_prune(ctl: Ctl, served: Served, site: Path) -> None:
    ctl("apply", str(site), "-y", "--no-verify")
    (site / "machines/rack.yaml").unlink()
    assert "no longer declared; it stays on record (--prune forgets it)" in ctl("apply", str(site), "-y")[1]
    assert len(served.rig.conductor.machines.all()) == 2
    ctl("apply", str(site), "-y")
    (site / "machines/rack.yaml").write_text(RACK)
    ctl("apply", str(site), "-y")
    (site / "machines/rack.yaml").unlink()
    assert "- machine node17: forget" in ctl("apply", str(site), "-y", "--prune")[1]
    assert not served.rig.conductor.machines.all()


def test_a_terminal_is_asked_before_anything_is_done(
    ctl: Ctl, served: Served, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert ctl("apply", str(site))[0] == 1
    assert not served.rig.conductor.machines.all()


def test_an_apply_whose_answer_is_lost_may_have_been_done(
    ctl: Ctl, served: Served, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.rig.site, "apply", cut_once(served.rig.site.apply))
    status, _, said = ctl("apply", str(site), "-y")
    assert status == 1
    assert "the daemon hung up" in said
    assert "(it may have been applied: `provisionctl plan` shows what is left)" in said
    assert "nothing differs" in "".join(map(str, ctl("plan", str(site))))


def test_a_directory_that_is_not_there(ctl: Ctl, tmp_path: Path) -> None:
    assert "there is no such directory" in ctl("plan", str(tmp_path / "nowhere"))[2]

"""`provisionctl bmc`: through the daemon, and straight to boards on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.bmc.consoles import Consoles
from provisioner.bmc.pool import Bmcs
from provisioner.bmc.ways import Ways
from provisioner.cli.bmc import parse_arguments, show
from provisioner.cli.bmc_console import Escape
from provisioner.cli.root import run
from provisioner.cli.session import Session
from provisioner.errors import BmcUnreachable, ConfigError
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.facts import BmcSeen, Facts
from provisioner.model.machine import Machine
from provisioner.web.app import operator_app
from provisioner.web.bmc import BmcApi, Boards
from provisioner.web.server import Server
from provisioner.web.spool import Spool
from provisioner.web.underway import UnderWay
from tests.bmc.fake import FakeBmc
from tests.bmc.simulated import IPMI_PORT, PASSWORD, REDFISH_PORT, USER, host
from tests.bmc.test_consoles import Bay, FakeLine
from tests.cli.conftest import Ctl, Daemon

IPMI, REDFISH = f"ipmi://{USER}@{host(0)}:{IPMI_PORT}", f"redfish://{USER}@{host(0)}:{REDFISH_PORT}"


class BmcDaemon(Daemon):
    """A daemon with the API of BMCs, and one board behind it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.board = FakeBmc()
        self.rotated: list[str] = []
        self.done: list[str] = []
        self.added: list[tuple[BmcAddress, str]] = []
        self._serving: Server | None = None

    def start(self) -> None:
        self.do(self._start())

    async def _start(self) -> None:
        self.line = FakeLine(b"login: ")
        self._consoles = await Consoles(Bay(self.line, *[BmcUnreachable("it restarts")] * 3).open).__aenter__()
        bmcs = Bmcs(quirks=(), make=lambda address, password: self.board)
        self._underway = await UnderWay().__aenter__()
        boards = Boards(bmcs, Ways(bmcs, self, lambda _: ()), self, self._rotate, self._did)
        spool = Spool(self.path.with_name("firmware"))
        api = BmcApi(self.conductor.machines, boards, self._consoles, self._underway, spool)
        self._serving = Server(operator_app(api.routes()), drain_s=0.05)
        await self._serving.listen_unix(self.path)

    async def get(self, name: str) -> str:
        return "canary"

    async def change(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        raise NotImplementedError

    async def add(self, ref: str, address: BmcAddress, password: str) -> Machine:
        self.added.append((address, password))
        machine = self.conductor.machines.get("node17")
        return replace(machine, more_bmcs=(address,))

    async def remove(self, ref: str, driver: Driver) -> Machine:
        self.added.clear()
        return self.conductor.machines.get("node17")

    async def _did(self, machine: Machine, verb: str, outcome: object) -> None:
        self.done.append(verb)

    async def _rotate(self, machine: Machine) -> None:
        self.rotated.append(machine.name)

    def stop(self) -> None:
        if self._serving is not None:
            self.do(self._serving.close())
            self.do(self._underway.__aexit__(None, None, None))
            self.do(self._consoles.__aexit__(None, None, None))
            self._serving = None


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[BmcDaemon]:
    made = BmcDaemon(tmp_path / "api.sock")
    made.start()
    yield made
    made.close()


@pytest.mark.slow
def test_do_a_verb_by_a_machines_name(ctl: Ctl, daemon: BmcDaemon) -> None:
    assert ctl("bmc", "do", "node17", "power.on").err == "done\n"
    assert ctl("bmc", "do", "node17", "power.status").out == "on\n"
    assert "vendor    Fake" in ctl("bmc", "do", "node17", "identify").out
    assert json.loads(ctl("bmc", "do", "node17", "identify", "-o", "json").out)["model"] == "F1"
    assert ctl("bmc", "do", "node17", "boot.once.pxe", "uefi=true").status == 0
    assert "target  pxe" in ctl("bmc", "do", "node17", "boot.read").out


RESULTS = {
    "nothing": (None, "null\n"),
    "an empty list": ([], "[]\n"),
    "a word": ("on", '"on"\n'),
    "several": ([{"id": 1}], '[\n  {\n    "id": 1\n  }\n]\n'),
}


@pytest.mark.parametrize(("result", "printed"), RESULTS.values(), ids=RESULTS.keys())
def test_a_result_for_scripts_is_what_the_api_says(
    result: object, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(Session(output="json"), result)
    assert capsys.readouterr() == (printed, "")


def test_bmcs_that_were_seen(ctl: Ctl, daemon: BmcDaemon) -> None:
    inside = Facts(bmc=BmcSeen("10.0.0.17", "d0:94:66:00:00:17"))
    machines = daemon.conductor.machines.by_name
    machines["node17"] = replace(machines["node17"], facts=inside)
    assert "10.0.0.17" in ctl("bmc", "found").out
    assert ctl("bmc", "found", "-o", "name").out == "d0:94:66:00:00:17\n"


def test_what_cannot_be_done_is_said(ctl: Ctl, daemon: BmcDaemon) -> None:
    ran = ctl("bmc", "do", "node17", "bios.read")
    assert ran.status == 1
    assert "the redfish driver cannot do this" in ran.err
    assert ctl("bmc", "do", "node17", "power.explode").status == 2
    assert ctl("bmc", "do", "nobody", "power.on").status == 3
    assert "others can read it" in ctl("bmc", "do", "node17", "accounts.password", "password=x").err


def test_why(ctl: Ctl, daemon: BmcDaemon) -> None:
    assert ctl("bmc", "why", "node17", "power.cycle").out.splitlines() == [
        "power.cycle: ipmi is asked",
        "1. ipmi: unproven, never tried on this model",
    ]
    assert json.loads(ctl("bmc", "why", "node17", "power.cycle", "-o", "json").out)["order"][0]["driver"] == "ipmi"


def test_another_way_is_added_and_removed(ctl: Ctl, daemon: BmcDaemon, tmp_path: Path) -> None:
    word = tmp_path / "pw"
    word.write_text("its password\n")
    said = ctl("bmc", "add", "node17", "redfish://root@192.0.2.9", "--password-file", str(word))
    assert "redfish://root@192.0.2.9:443" in said.out
    assert daemon.added == [(BmcAddress(Driver.REDFISH, "192.0.2.9", 443, "root"), "its password")]
    assert "no longer by redfish" in ctl("bmc", "remove", "node17", "redfish").err
    assert daemon.added == []


def test_a_failure_is_waived(ctl: Ctl, daemon: BmcDaemon) -> None:
    ctl("bmc", "waive", "node17", "power.cycle", "--driver", "ipmi", "--reason", "we need it", "--days", "2")
    assert ctl("bmc", "why", "node17", "power.cycle").out.splitlines()[1] == "1. ipmi: waived, we need it"
    refused = ctl("bmc", "waive", "node17", "power.cycle", "--driver", "redfish", "--reason", "x")
    assert (refused.status, "there is no way by redfish" in refused.err) == (1, True)
    refused = ctl("bmc", "waive", "node17", "power.cycle", "--driver", "ipmi", "--reason", "x", "--days", "999")
    assert "at most 366 days" in refused.err


def test_rotate(ctl: Ctl, daemon: BmcDaemon) -> None:
    assert ctl("bmc", "rotate", "node17").status == 0
    assert daemon.rotated == ["node17"]


def test_verbs_and_what_they_take(ctl: Ctl) -> None:
    lines = {line.split()[0]: line for line in ctl("bmc", "verbs").out.splitlines()}
    assert lines["vmedia.insert"].split()[1:3] == ["redfish", "uri"]
    assert "[uri] [uefi]" in lines["boot.once.http"]


READ = {
    "text": (["uri=https://x/y.iso"], {"uri": "https://x/y.iso"}),
    "JSON": (['wanted={"a": 1}', "enabled=true"], {"wanted": {"a": 1}, "enabled": True}),
    "an equals sign in the value": (["uri=http://x/?a=b"], {"uri": "http://x/?a=b"}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize(("arguments", "found"), READ.values(), ids=READ.keys())
def test_parse_arguments(arguments: list[str], found: dict[str, object]) -> None:
    assert parse_arguments(arguments) == found


def test_a_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    assert parse_arguments([f"password=@{tmp_path}/pw"]) == {"password": "secret"}
    for wrong in ("password=x", "uri", "=x"):
        with pytest.raises(ConfigError):
            parse_arguments([wrong])


KEYS = {
    "plain": (b"ls\r", b"ls\r", False),
    "the way out": (b"ls\r~.", b"ls\r", True),
    "at once": (b"~.", b"", True),
    "a tilde that is meant": (b"~~x", b"~x", False),
    "a tilde within a line": (b"cd ~.", b"cd ~.", False),
    "a tilde and something else": (b"\r~x", b"\r~x", False),
}


@pytest.mark.parametrize(("typed", "sent", "leaving"), KEYS.values(), ids=KEYS.keys())
def test_escape(typed: bytes, sent: bytes, leaving: bool) -> None:
    whole, pieces = Escape(), Escape()
    assert whole.feed(typed) == sent
    assert b"".join(pieces.feed(bytes((key,))) for key in typed) == sent
    assert whole.leaving is pieces.leaving is leaving


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One simulated board in a process of its own."""
    root = str(tmp_path_factory.mktemp("boards"))
    command = sys.executable, "-m", "tests.bmc.simulated", "1", root
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


@pytest.mark.peer
@pytest.mark.usefixtures("boards")
class TestDirect:
    """Without a daemon, by address."""

    @pytest.fixture(autouse=True)
    def password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROVISIONER_BMC_PASSWORD", PASSWORD)

    @pytest.mark.slow
    def test_by_ipmi(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert run(["bmc", "do", IPMI, "power.on"]) == 0
        assert run(["bmc", "do", IPMI, "power.status"]) == 0
        assert capfd.readouterr().out.splitlines()[-1] == "on"
        assert run(["bmc", "do", IPMI, "sensors.read"]) == 0
        out = capfd.readouterr().out
        assert out.splitlines()[0].split()[:3] == ["NAME", "VALUE", "UNIT"]
        assert "CPU Temp" in out

    @pytest.mark.slow
    def test_by_redfish_its_certificate_is_pinned_or_trusted(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert run(["bmc", "do", REDFISH, "power.status"]) != 0
        assert "cannot be trusted" in capfd.readouterr().err
        assert run(["bmc", "pin", REDFISH]) == 0
        pin = capfd.readouterr().out.strip()
        assert run(["bmc", "do", REDFISH, "power.status", "--pin", pin]) == 0
        assert run(["bmc", "do", REDFISH, "power.status", "--trust"]) == 0
        assert pin in capfd.readouterr().err
        assert run(["bmc", "do", REDFISH, "power.status", "--pin", "ab" * 32]) != 0
        assert run(["bmc", "do", REDFISH, "power.status", "--pin", "xx"]) != 0

    @pytest.mark.slow
    def test_firmware_is_pushed(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        image = tmp_path / "NIC-19.3.bin"
        image.write_bytes(b"x" * 100_000)
        assert run(["bmc", "push", REDFISH, str(image), "--trust"]) == 0
        assert "NIC-19.3.bin is installed" in capfd.readouterr().err
        assert run(["bmc", "do", REDFISH, "inventory.read", "--trust", "-o", "json"]) == 0
        assert '"19.3"' in capfd.readouterr().out
        assert run(["bmc", "push", IPMI, str(image)]) != 0
        assert "the ipmi driver cannot do this" in capfd.readouterr().err

    def test_a_wrong_password(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("PROVISIONER_BMC_PASSWORD", "canary-wrong")
        assert run(["bmc", "do", IPMI, "power.on"]) != 0
        assert "canary" not in capfd.readouterr().err


@contextlib.contextmanager
def at_a_terminal(*args: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command at a terminal of its own; give the other end, once the machine's prompt is there."""
    ours, its = pty.openpty()
    # who runs in the background of a script has Ctrl-C ignored, and hands that on
    command = ["env", "--default-signal=INT", sys.executable, "-m", "provisioner.cli", *args]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True) as ran:
        os.close(its)
        try:
            seen = b""
            while b"login: " not in seen:
                seen += os.read(ours, 4096)
            yield ran, ours
        finally:
            ran.kill()
            os.close(ours)


WAYS_OUT: dict[str, tuple[tuple[str, ...], Callable[[subprocess.Popen[bytes], int], object], int]] = {
    "its keys": ((), lambda _, terminal: os.write(terminal, b"~."), 0),
    "Ctrl-C, where nothing is typed": (("--read-only",), lambda ran, _: ran.send_signal(signal.SIGINT), 130),
}


@pytest.mark.slow
@pytest.mark.parametrize(("given", "leave", "status"), WAYS_OUT.values(), ids=WAYS_OUT.keys())
def test_the_console_of_a_silent_machine_can_be_left(
    daemon: BmcDaemon, given: tuple[str, ...], leave: Callable[[subprocess.Popen[bytes], int], object], status: int
) -> None:
    with at_a_terminal("bmc", "console", "node17", "--socket", str(daemon.path), *given) as (ran, terminal):
        leave(ran, terminal)
        assert ran.wait(timeout=10) == status


@pytest.mark.slow
def test_keys_for_a_console_that_is_away_end_nothing(daemon: BmcDaemon) -> None:
    async def lose() -> None:
        daemon.line.say(BmcUnreachable("it restarts"))

    with at_a_terminal("bmc", "console", "node17", "--socket", str(daemon.path)) as (ran, terminal):
        daemon.do(lose())
        os.write(terminal, b"x")
        seen = b""
        while b"not typed: node17: the console is not open: it restarts" not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\r~.")
        assert ran.wait(timeout=10) == 0


@pytest.mark.slow
def test_a_console_ends_with_the_daemon(daemon: BmcDaemon) -> None:
    with at_a_terminal("bmc", "console", "node17", "--socket", str(daemon.path)) as (ran, _):
        daemon.stop()
        assert ran.wait(timeout=10) == 1

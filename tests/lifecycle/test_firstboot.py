"""Scripts of the first start that fail: the run fails at once and says which, how, and with which last words."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import StoreError, TicketError
from provisioner.lifecycle.answers import derived
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.firstboot import FailedHook, name_of, without
from provisioner.model.machine import Machine, State
from provisioner.store.tokens import Purpose
from provisioner.web.app import machine_app
from provisioner.web.machines import MachineSide
from provisioner.web.server import Server
from tests.catalog.golden import files
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_answers import installing, step
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_faults import at, until

NAMES = {
    "1001": "hooks.first_boot, number 1,",
    "1010": "hooks.first_boot, number 10,",
    "1002-late": "hooks.late, number 2,",
    "2001-first-boot": "hooks.first_boot, number 1,",
    "0-tpm": "the script 0-tpm",
    "\x1b[2J": "the script __2J",
}


@pytest.mark.parametrize(("hook", "name"), NAMES.items(), ids=NAMES.keys())
def test_a_script_is_called_as_its_site_knows_it(hook: str, name: str) -> None:
    assert name_of(hook) == name


REASONS = {
    "the last words": ("one\ntwo\n\n", "hooks.first_boot, number 2, ended with status 3: two"),
    "none": ("", "hooks.first_boot, number 2, ended with status 3"),
    "long ones": ("x" * 500, f"hooks.first_boot, number 2, ended with status 3: {'x' * 200}"),
}


@pytest.mark.parametrize(("output", "reason"), REASONS.values(), ids=REASONS.keys())
def test_the_reason(output: str, reason: str) -> None:
    assert FailedHook("1002", 3, output).reason == reason


BLANKED = {
    "a secret": (["horse battery"], "with horse battery it is", "with (hidden) it is"),
    "each line of one": (["-- KEY --\nabcdef\n"], "got abcdef only", "got (hidden) only"),
    "the longest first": (["pass", "password"], "a password", "a (hidden)"),
    "none that is in every other word": (["is", ""], "this is", "this is"),
}


@pytest.mark.parametrize(("secrets", "output", "said"), BLANKED.values(), ids=BLANKED.keys())
def test_secrets_are_blanked(secrets: list[str], output: str, said: str) -> None:
    assert without(FailedHook("1001", 1, output), secrets).output == said


TICKET = "http://10.0.0.1/answers/Zx81"


async def installed(rack: Rack, conductor: Conductor) -> tuple[Metal, str]:
    """Bring node17 to where its new system starts; return the token that this reports with."""
    metal, ticket = await installing(rack, conductor)
    body, _ = await conductor.booter.answer(ticket, "preseed", metal.ip)
    await until(conductor, at("wait.installed"))
    return metal, json.loads(body)["home"]


async def test_a_run_fails_at_once_and_why_says_so(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, token = await installed(rack, conductor)
        said = f"looks\nwith {token}\nE: no such disk\n"
        await conductor.booter.hook_failed(token, metal.ip, "1002", 3, said)
        machine = await settled(conductor)
        assert machine.failure is not None
        reason = "hooks.first_boot, number 2, ended with status 3: E: no such disk"
        assert (machine.failure.reason, machine.failure.kind) == (reason, "HookFailed")
        verdict = await conductor.why("node17")
        assert (verdict.id, reason in verdict.text) == ("first-boot-hook", True)
        assert [line.text for line in verdict.evidence][-4:] == ["looks", "with (hidden)", "E: no such disk", reason]
        for _ in range(2):  # its run has ended: nothing changes
            with pytest.raises(TicketError):
                await conductor.booter.hook_failed(token, metal.ip, "1003", 1, "")
        assert unchanged(conductor, machine)


@pytest.mark.parametrize("can_be_read", [True, False])
async def test_secrets_of_the_run_are_not_told(tmp_path: Path, can_be_read: bool) -> None:
    """Where nobody can say now what they are, nothing of what the script printed is."""
    rack = Rack(tmp_path)

    async def read(references: Sequence[str]) -> dict[str, str]:
        if not can_be_read:
            raise StoreError("the secrets cannot be read")
        return {"store:disk": "horse battery"}

    async with rack.daemon() as conductor:
        metal, token = await installed(rack, conductor)
        rack.secrets = read
        await conductor.booter.hook_failed(token, metal.ip, "1001", 1, f"opened with horse battery, {TICKET}/user-data")
        machine = await settled(conductor)
        assert machine.failure is not None
        words = ": opened with (hidden), http://10.0.0.1/answers/***/user-data" if can_be_read else ""
        assert machine.failure.reason == f"hooks.first_boot, number 1, ended with status 1{words}"
        told = [line.text for _, line in await conductor.trace("node17")]
        assert not [text for text in told if "horse" in text or "Zx81" in text]


async def test_what_an_agent_says_is_told_without_tickets(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        body, _ = await conductor.booter.answer(ticket, "preseed", metal.ip)
        said = f"Kernel command line: inst.ks={TICKET}/kickstart provisioner.token=Qf3x quiet"
        await conductor.booter.agent_log(json.loads(body)["token"], metal.ip, said, None)
        told = [line.text for _, line in await conductor.trace("node17") if line.event == "agent.log"]
        shown = "inst.ks=http://10.0.0.1/answers/***/kickstart provisioner.token=*** quiet"
        assert told == [f"Kernel command line: {shown}"]


async def test_a_run_that_is_cancelled_meanwhile_stays_cancelled(tmp_path: Path) -> None:
    rack = Rack(tmp_path)

    async def read(references: Sequence[str]) -> dict[str, str]:
        await conductor.cancel("node17")
        return {}

    async with rack.daemon() as conductor:
        metal, token = await installed(rack, conductor)
        rack.secrets = read
        with pytest.raises(TicketError):
            await conductor.booter.hook_failed(token, metal.ip, "1001", 1, "")
        machine = await settled(conductor)
        assert (machine.run and machine.run.outcome, machine.failure and machine.failure.kind) == ("cancelled", "")


def unchanged(conductor: Conductor, machine: Machine) -> bool:
    now = conductor.machines.get("node17")
    return replace(now, seen=0.0, changed=0.0) == replace(machine, seen=0.0, changed=0.0)


async def test_a_system_that_has_reported_cannot_fail_its_run(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, token = await installed(rack, conductor)
        await conductor.booter.phone_home(token, metal.ip, "node17", "Debian 12", 20.0, [])
        machine = await settled(conductor)
        with pytest.raises(TicketError):
            await conductor.booter.hook_failed(token, metal.ip, "1001", 1, "")
        assert (machine.state, unchanged(conductor, machine)) == (State.ACTIVE, True)


async def test_a_system_that_no_run_waits_for_yet_is_told_to_report_again(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        token = home_of(conductor, ticket)
        with pytest.raises(TicketError, match="not the last"):
            await conductor.booter.hook_failed(token, metal.ip, "1001", 1, "")
        assert step(conductor) == "wait.answer"


def home_of(conductor: Conductor, ticket: str) -> str:
    return derived(ticket, Purpose.HOME)


WORLDS = {
    "by curl": ("", "127.0.0.1", "127.0.0.1"),
    "by bash alone": ("curl", "127.0.0.1", "127.0.0.1"),
    "by bash alone, over IPv6": ("curl", "::1", "[::1]"),
}


@pytest.mark.parametrize(("lacks", "address", "host"), WORLDS.values(), ids=WORLDS.keys())
async def test_the_script_itself_reports(tmp_path: Path, lacks: str, address: str, host: str) -> None:
    """The script that systems get, against the door that they knock at; the journal is what journalctl says."""
    rack = Rack(tmp_path / "daemon")
    async with rack.daemon() as conductor:
        _, token = await installed(rack, conductor)
        server = Server(machine_app(MachineSide(conductor.booter).routes()))
        port = await server.listen_tcp(address, 0)
        try:
            status, said = await first_start(tmp_path, f"http://{host}:{port}/agent/v1/phone-home", token, lacks)
        finally:
            await server.close()
        assert (status, "1002 failed with status 7" in said) == (1, True), said
        machine = await settled(conductor)
        assert machine.failure is not None
        assert machine.failure.reason == 'hooks.first_boot, number 2, ended with status 7: it\'s "over" \\n'
        assert [line.text for line in (await conductor.why("node17")).evidence][:2] == [
            "first line",
            'it\'s "over" \\n',
        ]


async def first_start(place: Path, url: str, token: str, lacks: str) -> tuple[int | None, str]:
    """Run the rendered script in a place of its own; return its status, and what it printed."""
    etc = place / "etc"
    hooks = etc / "first-boot.d"
    hooks.mkdir(parents=True)
    (etc / "url").write_text(f"{url}\n")
    (etc / "authorization").write_text(f"Authorization: Bearer {token}\n")
    for name, text in {
        "1001": f"#!{sys.executable}\nopen({str(place / 'named')!r}, 'w')\n",
        "1002": f"touch {place}/before\n(exit 7)\ntouch {place}/after\n",
        "1003": f"touch {place}/never",
    }.items():
        (hooks / name).write_text(text)
        (hooks / name).chmod(0o700)
    late = next(text for name, _, text in files("debian-13-installer", "uefi-small") if name == "late.sh")
    text = late.partition("put /etc/provisioner/phone-home 755 <<'END_OF_FILE'\n")[2].partition("END_OF_FILE\n")[0]
    programs = place / "bin"
    programs.mkdir()
    for name in ("awk", "bash", "cat", "curl", "head", "rm", "sed", "sh", "tail", "touch", "tr", "wc"):
        if name != lacks:
            (programs / name).symlink_to(next(p for p in map(Path, ("/usr/bin", "/bin")) if (p / name).exists()) / name)
    (programs / "journalctl").write_text(
        "#!/bin/sh\n[ $# = 1 ] || printf 'first line\\nit'\"'\"'s \"over\" \\\\n\\n'\n"
    )
    (programs / "journalctl").chmod(0o700)
    script = text.replace("etc=/etc/provisioner", f"etc={etc}")
    running = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, stdout=-1, stderr=-2, env={"PATH": str(programs), "INVOCATION_ID": "x"}
    )
    said, _ = await asyncio.wait_for(running.communicate(), 30)
    assert sorted(path.name for path in hooks.iterdir()) == ["1002", "1003"]
    assert {"named", "before"} == {"named", "before", "after", "never"} & {path.name for path in place.iterdir()}
    return running.returncode, said.decode()

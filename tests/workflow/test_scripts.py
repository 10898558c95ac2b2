"""The shell code that carries out steps on installed systems, by curl and by bash alone, and the agent's output."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.catalog.load import shipped
from provisioner.discovery.build.ramdisk import RAMDISK
from provisioner.model.workflow import FlowStatus
from provisioner.web.app import machine_app
from provisioner.web.machines import MachineSide
from provisioner.web.server import Server
from tests.lifecycle.rack import Metal
from tests.shipped import catalogue
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import over, ready, reasons

pytestmark = pytest.mark.peer
SCRIPT = shipped() / "templates/snippets/steps-script.sh.j2"
REAL_S = 60.0
"""A run may take so long: its scripts sleep for seconds between questions, and by bash alone each is ten processes."""
TOOLS = ("bash", "cat", "dash", "head", "mktemp", "rm", "sh", "sleep", "tail", "tr", "wc")
FLOW = """
name: setup
title: steps on a new system
goal: [all.done]
params: {words: {default: "it's \\"quoted\\" $HOME"}}
steps:
  image: {where: daemon, action: boot, with: {bootenv: debian-12}, destructive: true, provides: [system.running]}
  first:
    where: system
    provides: [first.done]
    script: |
      printf '%s on %s\\n' "$PARAM_words" "$MACHINE"
      head -c 100000 /dev/zero | tr '\\0' 'x'
      echo
      echo "the end (1/2)"
  second: {where: system, requires: [first.done], provides: [all.done], script: "echo no luck >&2; exit 3"}
"""

LATE = FLOW.replace('script: "echo no luck >&2; exit 3"', 'limit_s: 1, script: "sleep 600"')

INSIDE = """
name: inside
title: a step in a system that is being made
goal: [all.done]
steps:
  image:
    where: daemon
    action: boot
    with: {bootenv: debian-12, until: installer}
    destructive: true
    provides: [installer.running]
  greet:
    where: installer
    provides: [all.done]
    script: |
      read -r name </etc/hostname
      echo "inside $name, for $MACHINE"
"""


class RealRack(FlowRack):
    """A rack whose new systems run the real script against the real HTTP server."""

    def __init__(self, folder: Path, path: str, flow: str = FLOW, root: str = "") -> None:
        super().__init__(folder, ("node17",), flow)
        self.port = 0
        self.path = path
        self.root = root
        self.host = "127.0.0.1"
        self.status: int | None = None

    async def steps(self, metal: Metal, token: str) -> None:
        (self.folder / "authorization").write_text(f"Authorization: Bearer {token}\n")
        environment = {"PATH": self.path, "HOME": "/root"}
        command = ["sh", str(SCRIPT), f"http://{self.host}:{self.port}", str(self.folder / "authorization"), self.root]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            self.status = await process.wait()
        finally:
            if process.returncode is None:  # the machine is gone, and what ran on it with it
                process.kill()
                await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("client", "host"), [("curl", "127.0.0.1"), ("bash", "127.0.0.1"), ("bash", "[::1]")])
async def test_a_new_system_does_its_steps(tmp_path: Path, client: str, host: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (*TOOLS, client):
        if not (tools / name).exists():
            (tools / name).symlink_to(shutil.which(name) or "")
    rack = RealRack(tmp_path, str(tools))
    rack.host = host
    async with rack.alive(), rack.daemon() as conductor:
        server = Server(machine_app(MachineSide(conductor.booter).routes()))
        rack.port = await server.listen_tcp(host.strip("[]"), 0)
        await ready(rack)
        run = await over(rack, await rack.begin("setup"), limit_s=REAL_S)
        assert (run.status, reasons(run)) == (FlowStatus.FAILED, {"node17": "second: status 3: no luck"})
        member = run.members[0]
        assert member.journal[1].note == "the end (1/2)"
        text, _ = await rack.engine.store.output(run.id, member.machine, 2, 0, 1 << 20)
        assert text == b'it\'s "quoted" $HOME on node17\n' + b"x" * 100_000 + b"\nthe end (1/2)\n"
        await server.close()


class StandIn:
    """A daemon that says one thing after the other, the last one for ever; None: it is away."""

    def __init__(self, folder: Path, *said: str | int | None) -> None:
        self.folder = folder
        self.said = list(said)
        self.output: dict[str, int] = {}
        (folder / "sleep").write_text("#!/bin/sh\n")
        (folder / "sleep").chmod(0o755)

    async def answer(self, request: web.Request) -> web.Response:
        match request.path.split("/")[3:]:
            case ["step"]:
                said = self.said[0]
                del self.said[: len(self.said) > 1]
                status = 503 if said is None else said if isinstance(said, int) else 200
                return web.Response(status=status, text=f"{said}\n")
            case ["job", _]:
                return web.Response(text=f"head -c {LONG} /dev/zero\n")
            case ["output", name]:
                self.output[name] = int(request.query["at"]) + len(await request.read())
        return web.Response(status=204)

    async def run(self, script: str) -> tuple[int | None, bytes]:
        """Run what is rendered for a system, its folders in one of ours."""
        app = web.Application()
        app.router.add_route("*", "/agent/v1/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        script = script.replace("BASE", f"http://127.0.0.1:{runner.addresses[0][1]}")
        for place in ("/etc/provisioner/", "/root/"):
            script = script.replace(place, f"{self.folder}/")
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        out = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("sh", "-euc", script, env=environment, stdout=out)
        printed, _ = await process.communicate()
        await runner.cleanup()
        return process.returncode, printed


LONG = 62 * 60_000
"""Octets: more than half as many pieces as are told of the end of one step."""
AWAY = (None,) * 125
"""Longer than ten minutes, at one question in five seconds."""
ENDS = (
    pytest.param(("continue",), id="nothing is wanted any more"),
    pytest.param((403,), id="nobody is to ask with it"),
    pytest.param((None, None, "continue"), id="a daemon that is restarted"),
    pytest.param((*AWAY, "continue"), id="a daemon that is away for long", marks=pytest.mark.slow),
)


def unit(folder: Path) -> str:
    """Make a system where the unit is; its command."""
    (folder / "steps").write_text(SCRIPT.read_text())
    (folder / "steps.authorization").write_text("Authorization: Bearer x\n")
    text = SCRIPT.with_name("steps.service.j2").read_text()
    command = re.search("(?m)^ExecStart=(.*)$", text)
    assert command is not None
    assert "\nRestart=on-failure\n" in text
    return command[1].replace("{{ urls.base }}", "BASE")


def installer(folder: Path) -> str:
    """What late.sh of all families has."""
    context = {"agent": {"steps": ["installer"], "token": "x"}, "urls": {"base": "BASE"}}
    text = catalogue().content.renderer.render("snippets/steps.sh.j2", context)
    return f'put() {{ cat >"$1"; chmod "$2" "$1"; }}\n{text}\necho goes on\n'


HALVES = {"on the new system": (unit, b""), "from its installer": (installer, b"goes on\n")}


@pytest.mark.parametrize(("half", "printed"), HALVES.values(), ids=HALVES.keys())
@pytest.mark.parametrize("said", ENDS)
async def test_what_asks_does_so_until_nothing_is_wanted(
    tmp_path: Path, said: tuple[str | int | None, ...], half: Callable[[Path], str], printed: bytes
) -> None:
    script = half(tmp_path)
    assert await StandIn(tmp_path, *said).run(script) == (0, printed)
    assert list(tmp_path.glob("*authorization")) == []


@pytest.mark.slow
async def test_each_step_with_a_long_output_is_heard_to_its_end(tmp_path: Path) -> None:
    daemon = StandIn(tmp_path, "run j1", "run j2", "continue")
    assert (await daemon.run(unit(tmp_path)))[0] == 0
    assert daemon.output == {"j1": LONG, "j2": LONG}


def test_what_may_ask_stays_where_the_unit_is_stopped() -> None:
    assert "ExecStop" not in SCRIPT.with_name("steps.service.j2").read_text(), "it is stopped at each restart"


@pytest.mark.slow
async def test_a_step_over_its_limit_is_ended_on_its_system(tmp_path: Path) -> None:
    rack = RealRack(tmp_path, os.environ["PATH"], LATE)
    async with rack.alive(), rack.daemon() as conductor:
        server = Server(machine_app(MachineSide(conductor.booter).routes()))
        rack.port = await server.listen_tcp("127.0.0.1", 0)
        await ready(rack)
        run = await over(rack, await rack.begin("setup"), limit_s=REAL_S)
        assert reasons(run) == {"node17": "second: not done within 1 s"}
        while rack.status is None:  # it ends once its step does
            await asyncio.sleep(0.05)
        await server.close()


@pytest.mark.slow
@pytest.mark.netns
async def test_a_step_in_a_system_that_is_being_made_sees_that_system(tmp_path: Path) -> None:
    """The one that runs has the HTTP client, the other no more than a shell."""
    root = tmp_path / "root"
    for name in ("bin", "etc", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    (root / "etc/hostname").write_text("new17\n")
    rack = RealRack(tmp_path, os.environ["PATH"], INSIDE, str(root))
    rack.one().ip = "127.0.0.1"  # an agent's token is good from its own address only
    async with rack.alive(), rack.daemon() as conductor:
        server = Server(machine_app(MachineSide(conductor.booter).routes()))
        rack.port = await server.listen_tcp("127.0.0.1", 0)
        await ready(rack)
        run = await over(rack, await rack.begin("inside"), limit_s=REAL_S)
        assert run.status is FlowStatus.DONE, reasons(run)
        text, _ = await rack.engine.store.output(run.id, run.members[0].machine, 2, 0, 1 << 20)
        assert text == b"inside new17, for node17\n"
        await server.close()


async def test_the_agent_sends_what_a_step_prints_piece_by_piece(tmp_path: Path) -> None:
    got: list[tuple[str, int, bytes]] = []

    async def output(request: web.Request) -> web.Response:
        got.append((request.match_info["job"], int(request.query["at"]), await request.read()))
        return web.Response(status=503 if len(got) == 2 else 204)

    app = web.Application()
    app.router.add_post("/agent/v1/output/{job}", output)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (tmp_path / "work").mkdir()
    (tmp_path / "work/printed").write_text("0\n")
    (tmp_path / "authorization").write_text("Authorization: Bearer x\n")
    (tmp_path / "url").write_text(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    job = "20260101-000000-abcdef.w3"
    script = f"""
        . {RAMDISK}/lib.sh
        . {RAMDISK}/work.sh
        printf one >$work/log; post_output {job}
        printf two >>$work/log; post_output {job} || true
        printf three >>$work/log; post_output {job}; post_output {job}
        post_output 20260101-000000-abcdef.7.1
    """
    environment = os.environ | {"PROVISIONER_STATE": str(tmp_path), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec("busybox", "sh", "-eu", "-c", script, env=environment)
    assert await process.wait() == 0
    await runner.cleanup()
    assert got == [(job, 0, b"one"), (job, 3, b"two"), (job, 3, b"twothree")]


FINISH = f"""
    . {RAMDISK}/lib.sh
    . {RAMDISK}/work.sh
    eval "$(sed -n '/^longest_pause/,/^# report/p' {RAMDISK}/agent)"
    log() {{ printf '%s\\n' "$*" >>$state/said; }}
    pause=0
    echo 0 >$work/status; echo 0 >$work/printed
    printf 'first\\n%070000d\\nlast\\n' 0 | tee $work/timed >$work/log
    finish_job $JOB
"""
PRINTED = b"first\n" + b"0" * 70_000 + b"\nlast\n"
ENDS: dict[str, tuple[list[int], bytes]] = {
    "a daemon that is away for the whole step": ([0, 503, 0], PRINTED),
    "one that goes away between two pieces": ([204, 0, 503], PRINTED),
    "a run that is over": ([410], b""),
}
"""What becomes of the first pieces of output (0: nobody answers), and what the daemon has when it has the result."""


@pytest.mark.parametrize(("statuses", "whole"), ENDS.values(), ids=ENDS.keys())
async def test_a_step_is_over_once_the_daemon_has_all_that_it_printed(
    tmp_path: Path, statuses: list[int], whole: bytes
) -> None:
    left, has = list(statuses), bytearray()
    ended: list[bytes] = []

    async def output(request: web.Request) -> web.Response:
        status = left.pop(0) if left else 204
        if not status and request.transport is not None:
            request.transport.abort()
        elif status == 204:
            has[int(request.query["at"]) :] = await request.read()
        return web.Response(status=status or 500)

    async def done(_: web.Request) -> web.Response:
        ended.append(bytes(has))
        return web.Response(text="wait 1\n")

    async def log(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/agent/v1/output/{job}", output)
    app.router.add_post("/agent/v1/done", done)
    app.router.add_post("/agent/v1/log", log)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "work").mkdir()
    (tmp_path / "authorization").write_text("Authorization: Bearer x\n")
    (tmp_path / "url").write_text(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    job = "20260101-000000-abcdef.w3"
    environment = os.environ | {"PROVISIONER_STATE": str(tmp_path), "PATH": os.environ["PATH"], "JOB": job}
    process = await asyncio.create_subprocess_exec("busybox", "sh", "-u", "-c", FINISH, env=environment)
    assert await process.wait() == 0
    await runner.cleanup()
    assert ended == [whole]
    assert left == []

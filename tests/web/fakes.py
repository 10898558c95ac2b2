"""A conductor that keeps its machines in memory and behaves: what the web and command line tests talk to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner.errors import (
    BmcAuthError,
    ConflictError,
    CursorError,
    NotFoundError,
    PreflightError,
    RunOverError,
    TicketError,
    TicketUsedError,
)
from provisioner.lifecycle import rest
from provisioner.lifecycle.story import Verdict
from provisioner.lifecycle.why import why
from provisioner.model.bmc import BmcAddress, Driver, Power
from provisioner.model.catalog import Bootenv, Kind
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.intent import Check, EnrolRequest, Event
from provisioner.model.machine import Failure, Machine, Phase, Run, State, Step
from provisioner.model.net import Mac
from provisioner.model.trace import ALL_LINES, Channel, TraceFilter, TraceLine
from provisioner.services import Standing
from provisioner.web.ports import BootenvStatus, Dialect, Listener, PowerVerb, Site

NOW = 1_800_000_000.0
PLAN = (
    Step("power.off", Phase.POWER, 60),
    Step("wait.dhcp", Phase.DHCP, 300),
    Step("wait.job", Phase.INSTALL, 3600),
    Step("wait.phone-home", Phase.PHONE_HOME, 300),
)
FACTS = Facts(
    vendor="QEMU",
    product="Standard PC",
    serial="SN-17",
    uuid="00000000-0000-0000-0000-000000000017",
    firmware="bios",
    cpu=Cpu("EPYC", "x86_64", 1, 2, 2),
    memory_bytes=2 << 30,
    disks=(Disk("vda", 8 << 30, path="/dev/disk/by-id/virtio-0", transport="virtio"),),
    nics=(Nic("eth0", Mac("52:54:00:00:00:17"), driver="virtio_net", link=True, speed_mbps=1000),),
    observed_at=NOW - 60,
)
NODE17 = Machine(
    "m-17",
    "node17",
    State.READY,
    generation=3,
    macs=(Mac("52:54:00:00:00:17"),),
    serial="SN-17",
    profile="small",
    profile_reason="memory below 4 GiB",
    facts=FACTS,
    bmc=BmcAddress(Driver.IPMI, "192.0.2.17", 623, "admin"),
    power=Power.OFF,
    params={"hostname": "node17", "root_password": "canary-param"},
    tags=("rack=r1",),
    created=NOW - 3600,
    changed=NOW - 60,
    seen=NOW - 5,
)
NODE18 = replace(NODE17, id="m-18", name="node18", macs=(Mac("52:54:00:00:00:18"),), facts=None, tags=(), generation=1)

BOOTENVS = (
    BootenvStatus(Bootenv("debian-12", "Debian 12", Kind.IMAGE, "debian", {})),
    BootenvStatus(Bootenv("discovery", "Discovery", Kind.DISCOVERY, "debian", {})),
    BootenvStatus(
        Bootenv("ubuntu-22.04", "Ubuntu 22.04", Kind.INSTALLER, "ubuntu", {}),
        missing=("iso is missing: provisionctl artifacts fetch ubuntu-22.04",),
    ),
)
TOKEN = "good-token"
OTHER_ADDRESS = "192.0.2.99"


class FakeMachines:
    def __init__(self) -> None:
        self.by_name = {machine.name: machine for machine in (NODE17, NODE18)}

    def all(self) -> Sequence[Machine]:
        return list(self.by_name.values())

    def get(self, ref: str) -> Machine:
        if (machine := self.find(ref)) is None:
            raise NotFoundError(f"no machine is called {ref!r}", hint="did you mean node17?")
        return machine

    def find(self, ref: str) -> Machine | None:
        return next((machine for machine in self.by_name.values() if ref in {machine.name, machine.id}), None)


class FakeConductor:
    """Both sides of `web.ports`. A boot runs until `finish` or `fail` is called for its machine."""

    def __init__(self) -> None:
        self.machines = FakeMachines()
        self.log: list[Event] = []
        self.lines: list[tuple[int, TraceLine]] = []
        self.keys: dict[str, str] = {}
        self.via = ""
        self.params: Mapping[str, Any] | None = None
        self.writing: set[str] = set()
        """Machines that may be writing to their disks."""
        self.over = False
        """The run that agents speak of is over."""
        self.heard: list[tuple[Any, ...]] = []
        self.passwords: dict[str, str] = {}
        self._news = asyncio.Condition()
        self._ids = itertools.count(1)

    # the operator's side

    async def enrol(self, request: EnrolRequest, *, key: str = "") -> Machine:
        if request.name in self.machines.by_name:
            raise ConflictError(f"{request.name}: this name is taken")
        if request.password == "wrong":
            raise BmcAuthError(f"{request.bmc}: user or password refused", hint="check --password-file")
        machine = Machine(
            f"m-{request.name}",
            request.name,
            State.ENROLLED,
            macs=request.macs,
            bmc=request.bmc,
            boot_via=request.boot_via,
            params=dict(request.params),
            tags=request.tags,
            created=NOW,
            changed=NOW,
        )
        self.passwords[request.name] = request.password
        return await self.put(machine, "machine.created")

    async def boot(
        self,
        ref: str,
        bootenv: str,
        *,
        key: str = "",
        generation: int | None = None,
        params: Mapping[str, Any] | None = None,
        via: str = "",
    ) -> Machine:
        self.via, self.params = via, params
        machine = self.machines.get(ref)
        if key and self.keys.get(key) == machine.id:
            return machine
        if failed := [check for check in await self.preflight(ref, bootenv, via=via) if not check.ok]:
            faults = [f"{check.text}: {check.hint}" for check in failed]
            raise PreflightError(f"{machine.name} cannot boot {bootenv}", faults=faults)
        self._current(machine, generation)
        if machine.run is not None and machine.run.outcome == "running":
            raise ConflictError(f"{machine.name} is {machine.state}", hint=f"provisionctl cancel {machine.name}")
        run = Run(f"r-{next(self._ids)}", "boot", bootenv, PLAN, started=NOW, step_started=NOW, deadline=NOW + 60)
        if key:
            self.keys[key] = machine.id
        changed = replace(
            machine, state=State.DEPLOYING, run=run, failure=None, params={**machine.params, **(params or {})}
        )
        return await self.put(changed, "run.started")

    async def release(self, ref: str, *, erase: bool = True, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        run = Run(f"r-{next(self._ids)}", "release" if erase else "release-keep", "", PLAN[:1], started=NOW)
        return await self.put(replace(machine, state=State.RELEASING, run=run), "run.started")

    async def power(self, ref: str, verb: PowerVerb, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        return await self.put(replace(machine, power=Power.OFF if verb == "off" else Power.ON), "machine.power")

    async def cancel(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        if machine.run is None or machine.run.outcome != "running":
            raise ConflictError(f"{machine.name}: nothing is under way")
        if machine.name in self.writing:  # it is over once its machine is off
            return await self.put(replace(machine, run=replace(machine.run, note="off")), "step.cancelled")
        run = replace(machine.run, outcome="cancelled", ended=NOW)
        return await self.put(replace(machine, state=run.return_to, run=run), "run.cancelled")

    async def resume(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        if machine.run is None or machine.run.outcome in {"running", "done"}:
            raise ConflictError(f"{machine.name}: nothing to take up")
        return await self.put(replace(machine, run=replace(machine.run, outcome="running")), "run.resumed")

    async def rescue(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        return await self._begin(ref, "rescue", generation)

    async def unrescue(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        return await self._begin(ref, "unrescue", generation)

    async def _begin(self, ref: str, verb: str, generation: int | None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        run = Run(f"r-{next(self._ids)}", verb, "", PLAN, started=NOW)
        return await self.put(replace(machine, state=State.INSPECTING, run=run), "run.started")

    async def hold(
        self, ref: str, reason: str, *, quarantine: bool = False, key: str = "", generation: int | None = None
    ) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        state = State.QUARANTINED if quarantine else State.MAINTENANCE
        return await self.put(rest.hold(machine, state, reason, NOW), "machine.state")

    async def let_go(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        return await self.put(rest.let_go(machine, NOW), "machine.state")

    async def adopt(self, ref: str, bootenv: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        return await self.put(rest.adopt(machine, bootenv, NOW), "machine.state")

    async def boot_by(self, ref: str, way: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        return await self.put(rest.boot_by(machine, way, NOW), "machine.state")

    async def retire(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        return await self.put(rest.retire(machine, NOW), "machine.state")

    async def unretire(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        machine = self._current(self.machines.get(ref), generation)
        return await self.put(rest.unretire(machine, NOW), "machine.state")

    async def forget(self, ref: str, *, force: bool = False, key: str = "", generation: int | None = None) -> None:
        machine = self._current(self.machines.get(ref), generation)
        if not force:
            rest.check_erased(machine)
        del self.machines.by_name[machine.name]
        await self.emit(machine.id, "machine.forgotten", {"name": machine.name})

    async def preflight(self, ref: str, bootenv: str, *, via: str = "") -> Sequence[Check]:
        self.via = via
        self.machines.get(ref)
        known = {status.bootenv.name: status for status in BOOTENVS}
        if bootenv not in known:
            raise NotFoundError(f"no bootenv is called {bootenv!r}", hint=f"one of {', '.join(known)}")
        missing = known[bootenv].missing
        hint = "provisionctl artifacts fetch ubuntu-22.04"
        return [
            Check("bmc", True, "answers"),
            Check("artifacts", not missing, "iso is missing" if missing else "all here", hint if missing else ""),
        ]

    async def why(self, ref: str) -> Verdict:
        machine = self.machines.get(ref)
        return why(machine, [line for _, line in self.lines if line.machine == machine.id], NOW + 90)

    async def trace(
        self, ref: str, *, after: int = 0, limit: int = 1000, only: TraceFilter = ALL_LINES
    ) -> Sequence[tuple[int, TraceLine]]:
        machine_id = self.machines.get(ref).id
        if after > len(self.lines):
            raise CursorError(f"no line of the trace has the number {after}", oldest=1)
        mine = [(seq, line) for seq, line in self.lines if seq > after and line.machine == machine_id]
        found = [(seq, line) for seq, line in mine if only.fits(line)][:limit]
        return sorted(found, key=lambda item: item[1].at)

    async def events(self, after: int, limit: int, machine: str = "") -> Sequence[Event]:
        return [event for event in self.log if event.seq > after and machine in {"", event.machine}][:limit]

    async def wait_event(self, after: int, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: bool(self.log) and self.log[-1].seq > after)
        except TimeoutError:
            return False
        return True

    # what a test makes happen

    async def put(self, machine: Machine, event: str) -> Machine:
        machine = replace(machine, generation=machine.generation + 1)
        self.machines.by_name[machine.name] = machine
        await self.emit(machine.id, event, {"state": machine.state})
        return machine

    async def emit(self, ref: str, event: str, data: Mapping[str, Any] | None = None) -> None:
        machine = self.machines.find(ref)
        async with self._news:
            self.log.append(Event(len(self.log) + 1, NOW, event, machine.id if machine else ref, data or {}))
            self._news.notify_all()

    async def step(self, name: str, at: int, percent: float | None = None, note: str = "") -> None:
        machine = self.machines.get(name)
        assert machine.run is not None
        run = replace(machine.run, at=at, percent=percent, note=note)
        await self.put(replace(machine, run=run), "run.step")

    async def finish(self, name: str) -> None:
        machine = self.machines.get(name)
        assert machine.run is not None
        run = replace(machine.run, outcome="done", ended=NOW + 9)
        await self.put(replace(machine, state=State.ACTIVE, bootenv=run.bootenv, run=run), "run.done")

    async def fail(self, name: str, reason: str, hint: str = "") -> None:
        machine = self.machines.get(name)
        assert machine.run is not None
        run = replace(machine.run, outcome="failed", ended=NOW + 9)
        failure = Failure(reason, "dhcp", NOW + 9, State.READY, hint)
        await self.put(replace(machine, state=State.READY, run=run, failure=failure), "run.failed")

    def see(self, ref: str, channel: Channel, text: str, *, at: float = NOW, run: str = "", ok: bool = True) -> None:
        machine = self.machines.get(ref).id
        line = TraceLine(at, channel, f"{channel}.seen", text, machine=machine, run=run, ok=ok)
        self.lines.append((len(self.lines) + 1, line))

    def _current(self, machine: Machine, generation: int | None) -> Machine:
        if generation is not None and generation != machine.generation:
            raise ConflictError(f"{machine.name} has generation {machine.generation}, not {generation}")
        return machine

    # the machines' side

    def admit(self, token: str, address: str) -> None:
        if token != TOKEN or address == OTHER_ADDRESS:
            raise TicketError(f"token {token[:4]}... from {address}: unknown")

    def _admit(self, token: str, address: str) -> None:
        self.admit(token, address)
        if self.over:
            raise RunOverError("its run is over")

    async def boot_script(self, mac: Mac, address: str, dialect: Dialect) -> bytes:
        if mac not in NODE17.macs:
            raise NotFoundError(f"no machine has {mac}")
        if address == OTHER_ADDRESS:
            raise TicketError(f"{address} holds no lease of {mac}")
        return b"#!ipxe\nexit\n" if dialect == "ipxe" else b"exit\n"

    async def answer(self, ticket: str, answer: str, address: str) -> tuple[bytes, str]:
        raise TicketError("there is no such answer file")

    async def own_answer(self, answer: str, address: str) -> tuple[bytes, str]:
        if answer == "gone.toml":
            raise TicketUsedError("this answer file was given already")
        if (answer, address) != ("answer.toml", "127.0.0.1"):
            raise TicketError("there is no such answer file")
        return b"[global]\n", "application/toml"

    async def agent_facts(self, token: str, address: str, raw: bytes) -> str:
        self._admit(token, address)
        self.heard.append(("facts", raw))
        return "run j-1"

    async def agent_next(self, token: str, address: str, wait_s: float) -> str:
        self._admit(token, address)
        return "wait 5"

    async def agent_job(self, token: str, address: str, job_id: str) -> bytes:
        self._admit(token, address)
        if job_id != "j-1":
            raise NotFoundError(f"no job {job_id}")
        return b"#!/bin/sh\nexit 0\n"

    async def agent_progress(self, token: str, address: str, phase: str, percent: float | None, message: str) -> None:
        self._admit(token, address)
        self.heard.append(("progress", phase, percent, message))

    async def agent_done(self, token: str, address: str, job_id: str, status: int, message: str) -> str:
        self._admit(token, address)
        self.heard.append(("done", job_id, status, message))
        return "reboot"

    async def agent_log(self, token: str, address: str, text: str, up_s: float | None) -> None:
        self._admit(token, address)
        self.heard.append(("log", text, up_s))

    async def hook_failed(self, token: str, address: str, hook: str, status: int, output: str) -> None:
        self._admit(token, address)
        self.heard.append(("hook", hook, status, output))

    async def phone_home(
        self, token: str, address: str, hostname: str, os: str, uptime_s: float, addresses: Sequence[str]
    ) -> None:
        self._admit(token, address)
        self.heard.append(("home", hostname, os, uptime_s, tuple(addresses)))


def site(conductor: FakeConductor, faults: Sequence[str] = ()) -> Site:
    """All that the API shows, over `conductor`."""
    listeners = (Listener("boot", "http://192.0.2.1:8080"),)
    return Site(conductor, lambda: BOOTENVS, lambda: listeners, lambda: faults, lambda: [Standing("names")])

"""The conductor: everything that operators and servers ask about machines; what machines ask is its `booter`.

It holds no rule of its own. `steps` says what follows, `runner` saves and performs it, `boots` and `agents` hear what
machines do, `preflight` looks before anything is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from provisioner.bmc.ways import Ways
from provisioner.boot.plan import boots_by_medium
from provisioner.clock import SteadyClock
from provisioner.errors import ConflictError, StoreError
from provisioner.lifecycle import rest
from provisioner.lifecycle.actions import Actions
from provisioner.lifecycle.agents import ERASE_JOB, Agents
from provisioner.lifecycle.answers import Answers
from provisioner.lifecycle.booter import Booter
from provisioner.lifecycle.boots import DISCOVERY, Boots
from provisioner.lifecycle.discs import Discs
from provisioner.lifecycle.doors import Doors
from provisioner.lifecycle.inputs import Begin, Cancel, Panicked, Resume
from provisioner.lifecycle.leftover import look_after
from provisioner.lifecycle.media import Media
from provisioner.lifecycle.once import Once, WithdrawnError, asked
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.ports import Flows, Ports
from provisioner.lifecycle.preflight import refuse, verb_for
from provisioner.lifecycle.readiness import Readiness
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.runner import DEFAULT_PACE, Follower, Pace, Rule, Runner, new_run_id
from provisioner.lifecycle.silence import Silence
from provisioner.lifecycle.steps import Perform, advance
from provisioner.lifecycle.story import Verdict
from provisioner.lifecycle.symptoms import panicked
from provisioner.lifecycle.turns import Turns, in_turn
from provisioner.lifecycle.why import why
from provisioner.model.catalog import Bootenv
from provisioner.model.intent import Asked, EnrolRequest, Event
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.model.trace import ALL_LINES, TraceFilter, TraceLine
from provisioner.services import Services
from provisioner.store.db import Database
from provisioner.store.machines import MachineStore
from provisioner.store.secrets import Secrets
from provisioner.store.tokens import Tokens
from provisioner.store.trace import Trace
from provisioner.uncut import uncut

RESTARTS = frozenset({"power.on", "power.off", "power.cycle", "power.reset"})
"""What ends whatever ran on a machine, done by hand."""

LOADER_EVENT = "http.sent"
"""Line of the trace that tells of a loader that was fetched whole; by TFTP, lines may wait, and `booter` is told."""


class Conductor:
    """One for each daemon. `open` reads the store; `run` carries on every run and returns only when cancelled."""

    def __init__(
        self, db: Database, secrets: Secrets, ports: Ports, clock: SteadyClock | None = None, pace: Pace = DEFAULT_PACE,
        *, quarantine_after: int = 3,
    ) -> None:  # fmt: skip
        self._quarantine_after = quarantine_after
        self.clock, self.turns, self.machines = clock or SteadyClock(), Turns(), Machines()
        self.services = Services()
        """Keeps those of `run`."""
        self._ports = ports
        self._store = MachineStore(db)
        self._once = Once(db, self.machines)
        self._secrets = secrets
        self._tokens = Tokens(db)
        self._trace = Trace(db, self.clock)
        self.ways = Ways(ports.bmcs, secrets, self.machines.like_board)
        self._actions = Actions(ports.bmcs, self.ways, self.observe)
        self._runner = Runner(self._store, self.machines, self._trace, self.clock, self._actions.perform, pace)
        self.doors = Doors(self.machines, self._runner, ports.bmcs, secrets, self.clock)
        self._silence = Silence(self.machines, self._runner, self.clock, self._actions.look, pace.look)
        self._boots = Boots(self.machines, self._runner, self._tokens, self._trace, ports, self.clock)
        self.decide = self._boots.decide
        """Says what a client boots."""
        self.media = Media(db.path.parent / "media", self._boots, self._tokens, ports, self.ways, self.observe)
        self.discs = Discs(db.path.parent / "discs", self._boots, ports.network, self.clock)
        self._actions.media = self.media.perform
        self._runner.followers.append(self.media)
        self._answers = Answers(self._runner, self._boots, db, self._tokens, self._trace)
        self._agents = Agents(self.machines, self._runner, self._boots, self._tokens, self._trace, self.clock)
        self.agent_machine, self.holding, self.written = self._agents.sharer, self._runner.holding, self._runner.written
        self.booter = Booter(ports, self._boots, self._answers, self._agents)
        """What machines ask and say."""
        ready = Readiness(self.machines, ports, self._boots.arch_of, self.ways)
        self.preflight, self.forecast, self._reach = ready.preflight, ready.forecast, ready.reach
        ready.medium = self.media.checks
        self.engaged: Callable[[str, str], str] = lambda _machine, _key: ""
        """Says which workflow a machine is in, for who asks for it under a key; empty where it is free."""
        self.stands: Callable[[str], str] = lambda _machine: ""
        """Says where a machine stands in its workflow."""
        self.withdrawn: Callable[[str], str] = lambda _key: ""
        """Says why the request of a key does not hold any more: asked in the turn that begins, after all checks."""

    async def open(self) -> None:
        """Read machines and tokens from the store."""
        for machine in sorted(await self._store.load(), key=lambda each: each.created):  # who had a port first keeps it
            self.machines.put(machine)
        if runs := [machine.run.id for machine in self.machines.moving() if machine.run is not None]:
            with contextlib.suppress(StoreError):  # full: they last as long as they did
                await self._tokens.renew(runs, self.clock.now())
                await self._answers.renew(runs)
        await self._tokens.load()
        await self.discs.open()

    async def run(self) -> None:
        """Carry on until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                beside = {"trace": self._trace.run, "runner": self._runner.run}
                beside |= {"silence": self._silence.run, "media": self.media.run}
                for name, service in beside.items():
                    group.create_task(self.services.keep(name, service), name=name)
        finally:
            with contextlib.suppress(StoreError):  # full to the last: the rest of the trace is lost, nothing else
                await self._trace.flush()

    def follow(self, follower: Follower) -> None:
        """Tell `follower` of every machine now, and of every change from now on."""
        for machine in self.machines.all():
            follower(None, machine)
        self._runner.followers.append(follower)

    def announce(self, events: Sequence[Event]) -> None:
        """Wake who waits for events: these were written beside machines."""
        self._runner.announce(events)

    def bootenv(self, name: str) -> Bootenv:
        """Find a bootenv; raise `NotFoundError`."""
        return self._ports.catalogue.bootenv(name)

    def serve(self, flows: Flows) -> None:
        """Give what workflows want to machines that ask."""
        self._agents.flows = flows
        self._boots.expects = flows.expects

    def wake(self, machine_id: str) -> None:
        """Wake who waits for a change of a machine, or of what is wanted of it."""
        self._runner.wake(machine_id)

    def newest_event(self, machine_id: str) -> int:
        """Return the number of a machine's newest event since the daemon was started; 0 where it had none."""
        return self._runner.newest.get(machine_id, 0)

    async def wait_change(self, machine_id: str, timeout_s: float) -> None:
        """Return when a machine changes, or after `timeout_s`."""
        await self._runner.wait_change(machine_id, timeout_s)

    # what servers ask and tell

    def observe(self, line: TraceLine) -> None:
        """Keep what a server saw, as part of its machine's trace when the MAC is known."""
        mac = line.mac
        if mac is not None and not line.machine:
            if line.event == LOADER_EVENT and line.ok:
                self._boots.loader_fetched(mac, line.text.partition(":")[0])
            machine = self._boots.machine_of(mac)
            if machine is not None:
                run = machine.run.id if machine.run and machine.run.step else ""
                line = replace(line, machine=machine.id, run=run)
        if panicked(line) and (machine := self.machines.find(line.machine)) is not None:
            self._runner.hear(machine, Panicked(line.run, f"its kernel panicked: {line.text}"))
        self._trace.note(line)

    # what operators ask

    @in_turn
    async def enrol(self, request: EnrolRequest, *, key: str = "") -> Machine:
        """Put a machine on record. With `verify`, its BMC has to let us in before anything is written."""
        intent = asked(key, "enrol", request=request)  # without the password
        if (known := await self._once.accepted(request.name, intent)) is not None:
            return known
        return await self.doors.enrol(request, intent)

    @in_turn
    async def boot(
        self, ref: str, bootenv: str, *, key: str = "", generation: int | None = None,
        params: Mapping[str, Any] | None = None, via: str = "",
    ) -> Machine:  # fmt: skip
        """Bring a bootenv onto a machine. Returns once the intent is durable; the run goes on by itself."""
        wanted = self._ports.catalogue.bootenv(bootenv)
        intent = asked(key, "boot", bootenv=wanted.name, params=params or {}, via=via)
        if (known := await self._once.accepted(ref, intent)) is not None:
            return known
        machine = self.machines.get(ref)
        rest.check_generation(machine, generation)
        refuse(await self.preflight(ref, bootenv, params, via=via), f"{machine.name} cannot boot {wanted.name}")
        begin = Begin(new_run_id(), verb_for(wanted), wanted.name, wanted.job, dict(params or {}))
        return await self._begin(machine, begin, intent, generation, via)

    @in_turn
    async def release(self, ref: str, *, erase: bool = True, key: str = "", generation: int | None = None) -> Machine:
        """Take a machine back: erase its disks (unless told not to), power off, ready."""
        verb = Verb.RELEASE if erase else Verb.POWER_OFF_RELEASE
        begin = Begin(new_run_id(), verb, "discovery" if erase else "", ERASE_JOB if erase else "")
        return await self._begin_by_bmc(ref, begin, "be released", key, generation)

    async def _begin(
        self, machine: Machine, begin: Begin, intent: Asked, generation: int | None, via: str = ""
    ) -> Machine:
        self._refuse_engaged(machine, intent.key)
        if begin.bootenv:  # a parameter that does not fit, or that nobody knows for now, is refused before power
            self._ports.catalogue.params(self.bootenv(begin.bootenv), machine, begin.params)
        medium, stays = boots_by_medium(machine, via), bool(self.engaged(machine.id, ""))  # stays: its workflow asks
        begin = replace(begin, quarantine_after=self._quarantine_after, by_medium=medium, stays=stays)

        def rule(current: Machine, now: float) -> tuple[Machine, list[Perform]]:
            if gone := self.withdrawn(intent.key):
                raise WithdrawnError(gone)
            rest.check_generation(current, generation)
            rest.check_use(machine, current)
            return advance(current, begin, now)

        return await self._runner.change(machine.id, rule, intent=intent)

    async def _begin_by_bmc(self, ref: str, begin: Begin, what: str, key: str, generation: int | None) -> Machine:
        if (known := await self._once.accepted(ref, intent := asked(key, begin.verb))) is not None:
            return known
        machine = self.machines.get(ref)
        rest.check_generation(machine, generation)
        found = (
            await self.preflight(ref, begin.bootenv, verb=begin.verb) if begin.bootenv else [await self._reach(machine)]
        )
        refuse(found, f"{machine.name} cannot {what}")
        return await self._begin(machine, begin, intent, generation)

    def _refuse_engaged(self, machine: Machine, key: str = "") -> None:
        if by := self.engaged(machine.id, key):
            raise ConflictError(f"{machine.name} is in {by}", hint="`provisionctl workflow abort RUN` ends it")

    @in_turn
    async def cancel(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """End the run under way; the machine goes back to where it came from."""
        intent = asked(key, "cancel")
        machine = await self._settle(ref, intent, generation, lambda m, now: advance(m, Cancel(), now), engaged=True)
        return await look_after(machine, self._runner, self._actions)

    @in_turn
    async def resume(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Take up the run that failed or was cancelled, where that is safe; not one that a workflow is to judge."""
        return await self._settle(ref, asked(key, "resume"), generation, lambda m, now: advance(m, Resume(), now))

    @in_turn
    async def rescue(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Boot a machine into the rescue system; `unrescue` leads back."""
        begin = Begin(new_run_id(), Verb.RESCUE, DISCOVERY)
        return await self._begin_by_bmc(ref, begin, "be rescued", key, generation)

    @in_turn
    async def unrescue(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Boot a machine from its disk again, and back to the state it was rescued from."""
        begin = Begin(new_run_id(), Verb.UNRESCUE, "")
        return await self._begin_by_bmc(ref, begin, "leave the rescue system", key, generation)

    @in_turn
    async def hold(
        self, ref: str, reason: str, *, quarantine: bool = False, key: str = "", generation: int | None = None
    ) -> Machine:
        """Keep a machine back until `let_go`."""
        state = State.QUARANTINED if quarantine else State.MAINTENANCE
        intent = asked(key, "hold", reason=reason, state=state)
        return await self._settle(ref, intent, generation, lambda m, now: (rest.hold(m, state, reason, now), []))

    @in_turn
    async def let_go(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """End a hold."""
        return await self._settle(ref, asked(key, "let-go"), generation, lambda m, now: (rest.let_go(m, now), []))

    @in_turn
    async def adopt(self, ref: str, bootenv: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Put on record that a machine already runs `bootenv`, whatever we call it."""
        intent = asked(key, "adopt", bootenv=bootenv)
        free = self._agents.flows.free
        return await self._settle(ref, intent, generation, lambda m, now: (rest.adopt(free(m), bootenv, now), []))

    @in_turn
    async def boot_by(self, ref: str, way: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Have a machine boot another way from now on."""
        intent = asked(key, "boot-via", way=way)
        return await self._settle(ref, intent, generation, lambda m, now: (rest.boot_by(m, way, now), []))

    @in_turn
    async def retire(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Take a machine out of use; its record stays."""
        return await self._settle(ref, asked(key, "retire"), generation, lambda m, now: (rest.retire(m, now), []))

    @in_turn
    async def unretire(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Take a retired machine into use again."""
        return await self._settle(ref, asked(key, "unretire"), generation, lambda m, now: (rest.unretire(m, now), []))

    async def _settle(
        self, ref: str, intent: Asked, generation: int | None, rule: Rule, *, engaged: bool = False
    ) -> Machine:
        """Do at once what was not done under this key before; for a machine that a workflow has: if `engaged`."""
        if (known := await self._once.accepted(ref, intent)) is not None:
            return known

        def current(machine: Machine, now: float) -> tuple[Machine, list[Perform]]:
            rest.check_generation(machine, generation)
            if not engaged:
                self._refuse_engaged(machine, intent.key)
            return rule(machine, now)

        return await self._runner.change(self.machines.get(ref).id, current, intent=intent)

    @in_turn
    async def power(self, ref: str, verb: str, *, key: str = "", generation: int | None = None) -> Machine:
        """Drive the power by hand. Refused while a run does it. What a crash cut short is not on record as done."""
        if (known := await self._once.accepted(ref, intent := asked(key, f"power-{verb}"))) is not None:
            return known
        machine = self.machines.get(ref)
        rest.check_generation(machine, generation)

        def check() -> None:  # its BMC takes its time: a run may begin meanwhile
            rest.check_idle(self.machines.get(machine.id))
            self._refuse_engaged(machine)

        check()
        power = await self._actions.power(machine, verb, check)
        self._agents.flows.restarted(machine.id)
        return await self._runner.change(machine.id, lambda m, _: (rest.found(m, power), []), intent=intent)

    async def did_by_hand(self, machine: Machine, verb: str, outcome: object) -> None:
        """Put on record what an operator had a machine's board do: `outcome` is what came of it, or its `BmcError`."""
        power = await self._actions.by_hand(machine, verb, outcome)
        if verb in RESTARTS:
            self._agents.flows.restarted(machine.id)
        if power is not None and (now := self.machines.find(machine.id)) is not None and now.power is not power:
            await self._runner.change(machine.id, lambda m, _: (rest.found(m, power), []))

    @in_turn
    async def forget(self, ref: str, *, force: bool = False, key: str = "", generation: int | None = None) -> None:
        """Remove a machine from the record, with all that is kept of it. Refused while a run is under way, a workflow
        may be at work on it, or its disks were not erased since it was in use: `force` overrules the latter."""
        if await self._once.was_accepted(intent := asked(key, "forget", machine=ref, force=force)):
            return
        check = partial(self.check_may_go, force=force, generation=generation)
        with uncut() as whole:
            machine = await whole(self._runner.forget(self.machines.get(ref).id, check, intent))
            with contextlib.suppress(StoreError):  # full: what was noted meanwhile goes at the next start
                await whole(self._trace.forget(machine.id))
            await whole(self.doors.forget(machine))

    def check_may_go(self, machine: Machine, *, force: bool = False, generation: int | None = None) -> None:
        """Raise `ConflictError` where a machine is not to be forgotten."""
        rest.check_generation(machine, generation)
        rest.check_idle(machine)
        if not force:
            rest.check_erased(self._agents.flows.free(machine), ", or `forget --force` where it is gone")
        self._refuse_engaged(machine)

    async def trace(
        self, ref: str, *, after: int = 0, limit: int = 1000, only: TraceFilter = ALL_LINES
    ) -> list[tuple[int, TraceLine]]:
        """Read the boot trace of a machine, or of a MAC that is none's: those lines that are meant."""
        if self.machines.find(ref) is None and Mac(ref) in self._trace.strangers():
            return [(seq, line) for seq, line in self._trace.of_stranger(Mac(ref), after) if only.fits(line)][:limit]
        found = await self._trace.read(self.machines.get(ref).id, after, limit, only)
        return sorted(found, key=lambda item: item[1].at)  # what was seen before the machine was known is kept later

    @property
    def lost_lines(self) -> int:
        """How many lines of the trace were thrown away since the daemon was started."""
        return self._trace.lost

    async def why(self, ref: str) -> Verdict:
        """Say in a sentence what a machine waits for or why it failed, by the trace of its last run."""
        machine = self.machines.get(ref)
        run = machine.run
        lines = await self._trace.since(machine.id, run.id) if run is not None else []
        stands = self.stands(machine.id)
        if stands and not machine.failure and (run is None or run.step is None):
            return Verdict("waiting", f"{machine.name} is {machine.state}, {stands}", "", tuple(lines[-1:]))
        return why(machine, lines, self.clock.now(), self._ports.network.http_port)

    async def events(self, after: int, limit: int, machine: str = "") -> list[Event]:
        """Read the outbox from a cursor."""
        return await self._store.events(after, limit, self.machines.get(machine).id if machine else "")

    async def last_event(self) -> int:
        """Return the number of the newest event."""
        return await self._store.last_event()

    async def wait_event(self, after: int, timeout_s: float) -> bool:
        """Say whether there is an event newer than `after`, waiting for one."""
        return await self._runner.wait_event(after, timeout_s)

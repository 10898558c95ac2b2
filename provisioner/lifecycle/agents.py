"""What machines say about themselves: the agent of the discovery system, and the system that was installed."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from provisioner.catalog.context import Occasion, subject_of
from provisioner.catalog.system import Secrets
from provisioner.clock import SteadyClock
from provisioner.errors import ConflictError, ProvisionerError, RenderError, RunOverError, TicketError
from provisioner.lifecycle.boots import Boots
from provisioner.lifecycle.endings import gone
from provisioner.lifecycle.firstboot import HOOK_FAILED, HOOK_HINT, FailedHook, without
from provisioner.lifecycle.inputs import Failed, Idle, JobFailed, JobTaken, Progress, Seen
from provisioner.lifecycle.plans import BOOTS_AT, SYSTEM_AT, Signal, Verb, agent_command, is_to_stop, job_id
from provisioner.lifecycle.ports import Flows, NoFlows, Ports
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.reports import heard, plugged, profile_for, reported
from provisioner.lifecycle.runner import Runner
from provisioner.lifecycle.steps import Perform, advance
from provisioner.model.facts import Facts, SwitchPort
from provisioner.model.machine import Machine, Run, State
from provisioner.model.net import Mac
from provisioner.model.trace import NOW, Channel, TraceLine, hidden
from provisioner.model.workflow import Where
from provisioner.store.tokens import Purpose, Token, Tokens
from provisioner.store.trace import Trace

log = logging.getLogger(__name__)

LOG_LINES = 64
"""Lines of one log call that become part of the trace; the agent sends its last ones."""
LINE_CHARS = 400
STEP_WAIT_S = 5
"""What an installer or a new system waits before it asks again; its request was held for some time already."""
ERASE_JOB = "erase"
_STAMPED = re.compile(r"\[ *([0-9]{1,9}\.[0-9]{1,3})\] ")
"""What `stamp` of the discovery system puts before a line: seconds since its kernel started."""


class Agents:
    """The machine-facing half of the conductor. A token says who speaks; nothing else in a request does."""

    def __init__(
        self, machines: Machines, runner: Runner, boots: Boots, tokens: Tokens, trace: Trace, clock: SteadyClock
    ) -> None:
        self._machines = machines
        self._runner = runner
        self._boots = boots
        self._tokens = tokens
        self._trace = trace
        self._clock = clock
        self.flows: Flows = NoFlows()

    async def facts(self, ports: Ports, token: str, address: str, raw: bytes) -> str:
        """Record what a discovery system found; return its next command."""
        bearer = self._bearer(token, address)
        now = self._clock.now()
        port = ports.network.port_of(address)
        facts = plugged(ports.discovery.decode(raw, now), bearer.mac, port)
        known, alike = self._machines.find(bearer.machine), self._machines.alike(facts)
        if known is None:
            known = ports.discovery.identify(facts, alike, bearer.mac)
        elif why := ports.discovery.doubt(facts, known, alike, bearer.mac):
            await self._refuse(known, bearer, why)
        profile = profile_for(known, facts, ports.discovery.classify)
        has = partial(self._ports, facts=facts, booted=bearer.mac)
        if known is None:
            new = self._newcomer(bearer.mac, port, now)
            machine = await self._runner.create(reported(new, facts, profile, has(new), now))
        else:
            machine = await self._runner.change(
                known.id, lambda m, at: heard(reported(m, facts, profile, has(m), at), gone(m.facts, facts), at)
            )
        run = machine.run.id if machine.run and machine.run.step else ""
        if (bearer.machine, bearer.run) != (machine.id, run):
            await self._tokens.claim(bearer, machine.id, run)
        for mac in (bearer.mac, *machine.macs):
            self._trace.claim(mac, machine.id, run)
        self.flows.reported(machine.id)
        for mac in facts.ports(bearer.mac):
            if (owner := self._machines.by_mac(mac)) is not None and owner.id != machine.id:
                text = f"{mac} stays on record as a port of {owner.name} until that reports without it"
                self._see(machine, "agent.port-of-another", text, ok=False)
        text = f"discovery system reports: {facts.vendor} {facts.product}, {len(facts.disks)} disks"
        self._see(machine, "agent.facts", text)
        return agent_command(machine)

    async def _refuse(self, machine: Machine, bearer: Token, why: str) -> None:
        """Raise `ConflictError` of what is not the machine that its token names; the run that waits for that fails."""
        text = f"what booted as {machine.name} is another machine: {why}"
        hint = (
            f"a card moved; where it is {machine.name} with another mainboard, or a BMC that has a UUID of its own:"
            f" `provisionctl forget {machine.name}`, then enrol it anew (--no-verify)"
        )
        self._see(machine, "agent.facts.refused", text, ok=False)
        run = machine.run
        if run is not None and run.step is not None and run.id == bearer.run and run.step.name in BOOTS_AT:
            await self._runner.apply(machine.id, Failed(run.id, run.at, text, hint, again=False))
        raise ConflictError(text, hint=hint)

    def _ports(self, machine: Machine, facts: Facts, booted: Mac) -> tuple[Mac, ...]:
        """List the ports that a machine has by its report: one that is on record as another's stays that one's.

        What an earlier report had and this one has not was taken out; what nobody has seen yet may still come.
        """
        has, had = facts.ports(booted), {nic.mac for nic in machine.facts.nics} if machine.facts is not None else set()
        macs = dict.fromkeys((*(mac for mac in machine.macs if mac in has or mac not in had), *has))
        owners = {mac: self._machines.by_mac(mac) for mac in macs}
        return tuple(mac for mac, owner in owners.items() if owner is None or owner.id == machine.id)

    def _newcomer(self, mac: Mac, port: SwitchPort | None, now: float) -> Machine:
        name = port.name if port is not None and port.name else f"new-{mac.replace(':', '')[-6:]}"
        while self._machines.find(name) is not None:
            name += "x"
        way = self._boots.way_of(mac)
        return Machine(str(uuid.uuid4()), name, State.DISCOVERED, macs=(mac,), boot_via=way, created=now, changed=now)

    def sharer(self, token: str, address: str) -> str:
        """Name the machine (its id) whose agent takes an image with this token; `RunOverError` where it is to stop."""
        bearer = self._bearer(token, address)
        machine = self._machine(bearer)
        _check_wanted(machine, bearer)
        return machine.id

    async def next(self, token: str, address: str, wait_s: float) -> str:
        """Return the agent's next command, waiting for one at most `wait_s`."""
        bearer = self._bearer(token, address)
        machine = self._machine(bearer)
        if machine.run is not None and machine.run.step is not None:
            machine = await self._runner.apply(machine.id, Idle(machine.run.id))
        command = await self._command(machine, bearer)
        if command.startswith("wait"):
            await self._runner.wait_change(machine.id, wait_s)
            command = await self._command(self._machines.get(machine.id), bearer)
        return command

    async def _command(self, machine: Machine, bearer: Token) -> str:
        """Say what the discovery system is to do: what the machine's run wants, or else what a workflow wants."""
        if machine.run is not None and machine.run.step is not None:
            return agent_command(machine)
        return await self.flows.next(machine, Where.DISCOVERY, bearer.digest) or agent_command(machine)

    async def step(self, token: str, address: str, wait_s: float) -> str:
        """Say what an installer or a system that was just installed is to do for a workflow.

        "continue" means that nothing is wanted of it any more; a system's token ends with that.
        """
        bearer = self._any_bearer(token, address)
        machine = self._machine(bearer)
        where = Where.SYSTEM if bearer.purpose is Purpose.HOME else Where.INSTALLER
        command = await self.flows.next(machine, where, bearer.digest)
        if command is None and self.flows.expects(machine.id, where):
            await self._runner.wait_change(machine.id, wait_s)
            command = await self.flows.next(self._machines.get(machine.id), where, bearer.digest)
        if command is not None:
            return command
        if self.flows.expects(machine.id, where):
            return f"wait {STEP_WAIT_S}"
        if where is Where.SYSTEM and (machine.run is None or machine.run.step is None):  # it has phoned home
            await self._tokens.end(machine.id, Purpose.HOME)
        return "continue"

    async def output(self, token: str, address: str, job: str, place: int, text: bytes) -> None:
        """Keep a piece of what a step of a workflow prints."""
        await self.flows.output(self._machine(self._any_bearer(token, address)), job, place, text)

    def admit(self, token: str, address: str) -> None:
        """Raise `TicketError` where a token stands for nobody: before what comes with it is read."""
        self._any_bearer(token, address)

    def _any_bearer(self, token: str, address: str) -> Token:
        """Find whom a token stands for: an agent, an installer, or a system that was installed."""
        try:
            return self._bearer(token, address)
        except TicketError:
            return self._tokens.check(token, Purpose.HOME, address, self._clock.now())

    async def job(self, ports: Ports, token: str, address: str, wanted: str) -> bytes:
        """Render the job of a run. Once: who asks a second time gets a `TicketError`."""
        if self.flows.is_ours(wanted):
            bearer = self._any_bearer(token, address)
            return await self.flows.job(self._machine(bearer), wanted, bearer.digest)
        bearer = self._bearer(token, address)
        machine, run = self._run_of(bearer)
        step = run.step
        if step is None or step.name != "wait.job" or run.job_taken or wanted != job_id(run):
            self._see(machine, "agent.job.refused", f"job {wanted[:80]} is not to be had (again)", ok=False)
            raise TicketError("this job is not to be had")
        try:
            job = await self._render(ports, bearer, machine, run, step.params.get("job", ""))
        except RenderError as error:
            self._see(machine, "agent.job.refused", f"the job cannot be rendered: {error}", ok=False)
            await self._runner.apply(machine.id, JobFailed(run.id, f"the job cannot be rendered: {error}"))
            raise
        await self._runner.change(machine.id, lambda m, at: _take(m, run, wanted, at))
        self._see(machine, "agent.job", f"job {step.params.get('job', '')} taken")
        return job

    async def _render(self, ports: Ports, bearer: Token, machine: Machine, run: Run, job: str) -> bytes:
        name = "discovery" if job == ERASE_JOB else run.bootenv
        bootenv = ports.catalogue.bootenv(name)
        home = ""
        if run.verb == Verb.DEPLOY:
            home = await self._tokens.mint(Purpose.HOME, bearer.mac, machine.id, run.id, "", self._clock.now())
        boot = self._boots.boot_of(bearer.mac, bootenv, bearer.address, phone_home=home)
        wanted = ports.catalogue.references(bootenv, machine, run.params)
        # the salt of password hashes: of this run and this job
        secrets = Secrets(f"{run.id} {bearer.digest}", await ports.secrets(wanted))
        return await ports.catalogue.answer(Occasion(bootenv, subject_of(machine), boot, run.params, secrets), job)

    async def progress(self, token: str, address: str, phase: str, percent: float | None, message: str) -> None:
        """Hear how far a job is. `RunOverError` where it is to stop: the agent kills it."""
        bearer = self._any_bearer(token, address)
        beaten = self._machine(bearer)
        if self.flows.beat(beaten, bearer.digest) and (beaten.run is None or beaten.run.step is None):
            return
        _check_wanted(beaten, bearer)
        machine, run = self._under_way(bearer)
        note = f"{phase}: {message}" if message else phase
        await self._runner.apply(machine.id, Progress(run.id, percent, note[:LINE_CHARS]))

    async def done(self, token: str, address: str, job: str, status: int, message: str) -> str:
        """Hear that a job ended; return the next command. A repeated report changes nothing."""
        if self.flows.is_ours(job):
            bearer = self._any_bearer(token, address)
            machine = self._machine(bearer)
            await self.flows.done(machine, job, status, message)
            return agent_command(machine)
        bearer = self._bearer(token, address)
        _check_wanted(self._machine(bearer), bearer)
        machine, run = self._run_of(bearer)
        if job != job_id(run) or not run.job_taken:
            return agent_command(machine)
        if status == 0:
            self._see(machine, "agent.done", "job done")
            machine = await self._runner.apply(machine.id, Seen(Signal.JOB))
        else:
            last = next((line for line in reversed(message.splitlines()) if line.strip()), "no message")
            reason = f"the job ended with status {status}: {last.strip()[:LINE_CHARS]}"
            self._see(machine, "agent.done", reason, ok=False)
            machine = await self._runner.apply(machine.id, JobFailed(run.id, reason))
        return agent_command(machine)

    async def log(self, token: str, address: str, text: str, up_s: float | None = None) -> None:
        """Keep the last lines that an agent sent in the machine's trace, each at its time where it tells that.

        `up_s` is for how long the machine has run; each line then begins with its own such time.
        """
        machine, now = self._machine(self._bearer(token, address)), self._clock.now()
        for line in text.splitlines()[-LOG_LINES:]:
            ago, said = age_of(line, up_s)
            self._see(machine, "agent.log", hidden(said)[:LINE_CHARS], at=now - ago)

    async def home(self, token: str, address: str, hostname: str, os: str, addresses: Sequence[str]) -> None:
        """Hear from an installed system that it runs. Its token ends with this.

        A system reports until it is heard, and never again: while its run has stopped, or waits for its BMC to say that
        it is on, that is refused, since the run may be taken up from before it was started.
        """
        bearer = self._tokens.check(token, Purpose.HOME, address, self._clock.now())
        machine, run = self._run_of(bearer)
        if run.outcome not in ("running", "done"):
            raise TicketError("this token is not good here", hint="its run has stopped: good once that is taken up")
        self._see(machine, "agent.home", f"{hostname or 'the installed system'} runs {os} at {' '.join(addresses)}")
        machine = await self._runner.apply(machine.id, Seen(Signal.HOME))
        if machine.run is None or machine.run.outcome != "done":
            raise TicketError("this report is noted, and not the last", hint="the run is not at its end: report again")
        if not self.flows.expects(machine.id, Where.SYSTEM):
            await self._tokens.end(machine.id, Purpose.HOME)

    async def hook_failed(self, ports: Ports, token: str, address: str, failed: FailedHook) -> None:
        """Hear that a script of a new system failed: its run fails at once. Its token stays good.

        Refused where no run waits for that system; one that waits for its BMC first is told to report again.
        """
        bearer = self._tokens.check(token, Purpose.HOME, address, self._clock.now())
        machine, run = self._run_of(bearer)
        _waits_for_system(machine, run.id)
        failed = await self._blanked(ports, machine, token, failed)
        for line in failed.output.splitlines()[-LOG_LINES:]:
            self._see(machine, "agent.log", line[:LINE_CHARS])
        self._see(machine, "agent.hook", failed.reason, ok=False)
        await self._runner.change(machine.id, lambda m, at: _failed_by(m, run.id, failed, at))

    async def _blanked(self, ports: Ports, machine: Machine, token: str, failed: FailedHook) -> FailedHook:
        """Take out of a script's last lines what is secret; all of them where nobody can say what that is."""
        assert machine.run is not None
        try:
            bootenv = ports.catalogue.bootenv(machine.run.bootenv)
            secrets = await ports.secrets(ports.catalogue.references(bootenv, machine, machine.run.params))
        except ProvisionerError as error:
            log.warning("agent.hook-unread machine=%s: %s", machine.name, error)
            return replace(failed, output="")
        return without(replace(failed, output=hidden(failed.output)), (token, *secrets.values()))

    def _bearer(self, token: str, address: str) -> Token:
        def moved(bearer: Token) -> bool:
            machine = self._machines.find(bearer.machine)
            of_its_run = machine is not None and machine.run is not None and machine.run.id == bearer.run
            return of_its_run and self._boots.declares(machine, address)

        return self._tokens.check(token, Purpose.AGENT, address, self._clock.now(), moved)

    def _machine(self, bearer: Token) -> Machine:
        machine = self._machines.find(bearer.machine)
        if machine is None:
            raise TicketError("this token is not good here", hint="report facts first")
        return machine

    def _run_of(self, bearer: Token) -> tuple[Machine, Run]:
        machine = self._machine(bearer)
        if machine.run is None or machine.run.id != bearer.run:
            raise TicketError("this token is not good here", hint="its run is over")
        return machine, machine.run

    def _under_way(self, bearer: Token) -> tuple[Machine, Run]:
        """Find the run under way that a token is of. What works on without one does so for nobody any more."""
        machine = self._machine(bearer)
        if machine.run is None or machine.run.step is None or machine.run.id != bearer.run:
            raise RunOverError("nothing of this is under way", hint="what it does is not wanted any more: it stops")
        return machine, machine.run

    def _see(self, machine: Machine, event: str, text: str, ok: bool = True, at: float = NOW) -> None:
        run = machine.run.id if machine.run and machine.run.step else ""
        self._trace.note(TraceLine(at, Channel.AGENT, event, text, None, machine.id, run, ok))


def _check_wanted(machine: Machine, bearer: Token) -> None:
    if is_to_stop(machine, bearer.run):
        raise RunOverError("its run is over", hint="what it does is not wanted any more: it stops")


def age_of(line: str, up_s: float | None) -> tuple[float, str]:
    """Say for how many seconds a line of a log has stood there, and what it says; 0 where it does not tell."""
    told = _STAMPED.match(line) if up_s is not None else None
    if told is None or up_s is None:
        return 0.0, line
    return max(0.0, up_s - float(told[1])), line[told.end() :]


def _waits_for_system(machine: Machine, run_id: str) -> Run:
    """Give the run of this id where it waits for a new system; raise `TicketError` where it does not, or not yet."""
    run = machine.run
    if run is None or run.id != run_id or run.step is None:
        raise TicketError("this token is not good here", hint="its run is over")
    if run.step.name not in SYSTEM_AT:
        raise TicketError("this report is noted, and not the last", hint="the run is not so far: report again")
    return run


def _failed_by(machine: Machine, run_id: str, failed: FailedHook, now: float) -> tuple[Machine, list[Perform]]:
    run = _waits_for_system(machine, run_id)  # it may have moved while secrets were looked up
    return advance(machine, Failed(run.id, run.at, failed.reason, HOOK_HINT, again=False, kind=HOOK_FAILED), now)


def _take(machine: Machine, run: Run, wanted: str, now: float) -> tuple[Machine, list[Perform]]:
    current = machine.run
    under_way = current is not None and current.step is not None  # it may have ended while the job was rendered
    if current is None or not under_way or current.job_taken or (current.id, job_id(current)) != (run.id, wanted):
        raise ConflictError("this job is not to be had")
    return advance(machine, JobTaken(run.id), now)

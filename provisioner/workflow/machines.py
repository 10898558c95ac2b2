"""The machine-facing half of workflows: what agents, installers and new systems are told, and what they report."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from provisioner.errors import ConflictError, RunOverError, TicketError
from provisioner.lifecycle.plans import COMES_BACK, Verb
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine
from provisioner.model.workflow import FlowMember, FlowRun, FlowStep, Stage, Where
from provisioner.workflow.engine import ENDS_S, NOTE_CHARS, Engine
from provisioner.workflow.guard import refusal
from provisioner.workflow.jobs import command, expects, job_name, of_job, script
from provisioner.workflow.progress import Ended, Lost, Taken

HOLDER_CHARS = 16
TO_DISCOVERY = (Verb.INSPECT, Verb.RESCUE)


class FlowAgents:
    """One of `lifecycle.ports.Flows`. `by` is the digest of the token that something on a machine holds."""

    def __init__(self, engine: Engine, bmc_password: Callable[[str], Awaitable[str]] | None = None) -> None:
        self._engine = engine
        self._bmc_password = bmc_password
        self._polled: dict[str, float] = {}
        """When the discovery system of a machine last asked what to do."""
        self._restarted: dict[str, float] = {}
        """When a machine was last switched by hand."""

    def discovery_runs(self, machine: Machine, within_s: float) -> bool:
        """Say whether the discovery system of a machine asked what to do a moment ago, and was not ended since."""
        heard, run = self._polled.get(machine.id, 0.0), machine.run
        ended = max(run.ended if run is not None else 0.0, self._restarted.get(machine.id, 0.0))
        stayed = run is not None and run.steps[-1].name != COMES_BACK[-1]
        if run is not None and run.verb in TO_DISCOVERY and run.outcome == "done" and stayed:
            heard = max(heard, run.ended)  # it ended when the discovery system reported
        return self._engine.now() - heard <= within_s and heard >= ended and machine.power is not Power.OFF

    def reported(self, machine: str) -> None:
        """Hear that the discovery system of a machine runs."""
        self._polled[machine] = self._engine.now()
        self._engine.still(machine)

    def restarted(self, machine: str) -> None:
        """Hear that a machine was switched by hand: whatever ran on it does not."""
        self._restarted[machine] = self._engine.now()
        self._engine.still(machine)

    def is_ours(self, job: str) -> bool:
        """Say whether a job is a step of a workflow."""
        return of_job(job) is not None

    def expects(self, machine: str, where: Where) -> bool:
        """Say whether a machine is still to carry out a step there."""
        found = self._engine.of_machine(machine)
        return found is not None and expects(*found, where)

    async def next(self, machine: Machine, where: Where, by: str) -> str | None:
        """Say what something on a machine is to do now; None where there is nothing. It is not doing anything else."""
        if where is Where.DISCOVERY:
            self.reported(machine.id)
        self._engine.still(machine.id)
        found = self._engine.of_machine(machine.id)
        if found is None:
            return None
        run, member = found
        step = run.step(member)
        if member.stage is Stage.RUNNING and step is not None and step.where is where:
            self._engine.hear(machine.id)
            if member.taken not in ("", _holder(by)):
                lost = Lost(machine.id, member.fence, "the machine was restarted during this step")
                run = await self._engine.apply(run.id, lost)
                member = run.member(machine.id) or member
        return command(run, member, where, _holder(by))

    async def job(self, machine: Machine, job: str, by: str) -> bytes:
        """Give the script of a try: to one holder, to the same one again. Raises `TicketError` for all others."""
        run, member, step = self._of(machine, job)
        if member.taken not in ("", _holder(by)):
            raise TicketError("this job is not to be had")
        if text := refusal(step, machine):
            await self._engine.apply(run.id, Ended(machine.id, member.fence, False, text, again=False))
            raise TicketError("this job is not to be had")
        self._engine.hear(machine.id)
        run = await self._engine.apply(run.id, Taken(machine.id, member.fence, _holder(by)))
        after = run.member(machine.id)
        if after is None or after.taken != _holder(by) or after.fence != member.fence:
            raise TicketError("this job is not to be had")
        password = await self._bmc_password(machine.id) if step.bmc_account and self._bmc_password else ""
        return script(run, after, step, password, left_s=after.deadline - self._engine.now())

    async def output(self, machine: Machine, job: str, place: int, text: bytes) -> None:
        """Keep a piece of what a script prints."""
        try:
            run, member, _ = self._of(machine, job)
        except TicketError:
            self._check_not_over(machine, job)
            raise
        self._engine.hear(machine.id)
        if text:  # nothing is a sign of life
            await self._engine.store.put_output(run.id, machine.id, member.fence, place, text)

    async def done(self, machine: Machine, job: str, status: int, message: str) -> None:
        """Hear that a script ended. A repeated report, or one of a try that is over, changes nothing."""
        try:
            run, member, _ = self._of(machine, job)
        except TicketError:
            self._engine.still(machine.id)
            return
        last = next((line.strip() for line in reversed(message.splitlines()) if line.strip()), "")[:NOTE_CHARS]
        note = last if status == 0 else f"status {status}: {last or 'no message'}"
        await self._engine.apply(run.id, Ended(machine.id, member.fence, status == 0, note))

    def beat(self, machine: Machine, by: str) -> bool:
        """Hear that something on a machine works; say whether that is a step of a workflow that may go on.

        That of a run that was aborted may, to its limit.
        """
        found = self._engine.of_machine(machine.id)
        if found is not None and found[1].stage is Stage.RUNNING and found[1].taken == _holder(by):
            self._engine.hear(machine.id)
            return True
        loose = self._engine.loose(machine.id)
        return loose is not None and loose.taken == _holder(by) and self._engine.now() < loose.loose

    def free(self, machine: Machine) -> Machine:
        """Return a machine on which no script of a workflow can be at work; raise `ConflictError`."""
        loose = self._engine.loose(machine.id)
        if loose is None:
            return machine
        hint = f"wait {max(1.0, loose.loose + ENDS_S - self._engine.now()):.0f} s, or switch it off: "
        hint += f"`provisionctl power {machine.name} off`"
        raise ConflictError(f"{machine.name}: a script of a workflow may go on on it: {loose.reason}", hint=hint)

    def _check_not_over(self, machine: Machine, job: str) -> None:
        """Raise `RunOverError` where a script is of a try that is over: one that was aborted may go on to its limit."""
        if (named := of_job(job)) is None:
            return
        found = next((run for run in self._engine.all() if run.id == named[0]), None)
        member = found.member(machine.id) if found is not None else None
        aborted = member is not None and member.stage is Stage.ABORTED and member.fence == named[1]
        if member is None or not aborted or self._engine.now() >= member.loose:
            raise RunOverError("this try is over", hint="what it does is not wanted any more: it stops")

    def _of(self, machine: Machine, job: str) -> tuple[FlowRun, FlowMember, FlowStep]:
        found = self._engine.of_machine(machine.id)
        step = found[0].step(found[1]) if found is not None else None
        if found is None or step is None or found[1].stage is not Stage.RUNNING or job_name(*found) != job:
            raise TicketError("this job is not to be had")
        return *found, step


def _holder(by: str) -> str:
    return hashlib.sha256(by.encode()).hexdigest()[:HOLDER_CHARS]

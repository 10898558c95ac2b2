"""What a backup says of all that was under way when it was made: that it has stopped. No I/O.

A backup is used after time has gone on: a machine that was being installed may be in use since. A daemon that took up
what the backup holds would switch it off and write to its disk, so no run, rollout or workflow is under way in a
backup: what goes on from there, an operator says who has looked.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from provisioner.lifecycle.endings import cancelled, return_to, stopped
from provisioner.lifecycle.fleet import Rollout, Status
from provisioner.lifecycle.plans import CANCEL_STEP
from provisioner.model.machine import Failure, JournalLine, Machine
from provisioner.model.workflow import FlowLine, FlowMember, FlowRun, FlowStatus, Stage

HINT = "look what is on it: `provisionctl resume {0}` takes this up, `provisionctl adopt {0} BOOTENV` says what it runs"


def reason_of(at: float) -> str:
    """Say why nothing goes on; `at` is when the backup was made, in seconds since the epoch."""
    return f"the store was restored from the backup of {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def machine_stopped(machine: Machine, at: float) -> Machine:
    """Say how a machine stands whose run is not under way any more; another is returned as it is.

    That counts as no install that failed: it keeps nobody's machine in quarantine.
    """
    run, reason = machine.run, reason_of(at)
    if run is None or run.step is None:
        return machine
    step = run.step
    line = JournalLine(step.name, step.phase, run.attempt, run.step_started, at, "failed", reason)
    failure = Failure(reason, step.phase, at, return_to(run), HINT.format(machine.name))
    if step.name == CANCEL_STEP:
        return cancelled(machine, run, line, failure)
    run = replace(run, journal=(*run.journal, line), outcome="failed", ended=at, percent=None, note="")
    after = stopped(machine, replace(run, quarantine_after=0), failure)
    return replace(after, run=run, failed_runs=machine.failed_runs)


def rollout_stopped(rollout: Rollout, at: float) -> Rollout:
    """Say how a rollout stands that begins no further machine until an operator resumes it."""
    if rollout.over or rollout.status is Status.ABORTED:
        return rollout
    since = rollout.restored or at
    tally = replace(rollout.tally, touched=())
    return replace(rollout, status=Status.PAUSED, reason=reason_of(since), restored=since, tally=tally)


def flow_stopped(run: FlowRun, at: float) -> FlowRun:
    """Say how a run of a workflow stands that begins nothing, and in which no step is under way."""
    if run.over:
        return run
    members = tuple(_member_stopped(member, at) for member in run.members)
    if run.status is FlowStatus.ABORTED:
        return replace(run, members=members)
    since = run.paused if run.status is FlowStatus.PAUSED else at
    return replace(run, members=members, status=FlowStatus.PAUSED, reason=reason_of(at), paused=since)


def _member_stopped(member: FlowMember, at: float) -> FlowMember:
    member = replace(member, granted=0)
    if member.stage is not Stage.RUNNING:
        return member
    reason = reason_of(at)
    line = FlowLine(member.next, member.fence, member.attempt, member.began, at, "failed", reason)
    return replace(member, stage=Stage.FAILED, reason=reason, taken="", journal=(*member.journal, line))

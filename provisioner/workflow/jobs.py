"""Steps that are scripts: what something on a machine is told to do, and the script as it is fetched. No I/O."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, FlowStep, Stage, Where

_JOB = re.compile(r"(\d{8}-\d{6}-[0-9a-f]{6})\.w(\d{1,9})")
WAIT_S = 5
CONTINUE = "continue"
"""What is said to an installer or a system that nothing is wanted of any more."""
LIBRARY = "/usr/lib/provisioner/job.sh"
"""What scripts of the discovery system may use: `step`, `progress`, `fail`, `stream`, disks."""


def job_name(run: FlowRun, member: FlowMember) -> str:
    """Name the script of this try; a result that comes back under another name is of a try that is over."""
    return f"{run.id}.w{member.fence}"


def of_job(name: str) -> tuple[str, int] | None:
    """Read the run and the fence out of a script's name; None where it is no workflow's."""
    match = _JOB.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def command(run: FlowRun, member: FlowMember, where: Where, by: str) -> str | None:
    """Say what something in `where` on a machine is to do: `run JOB`, or None where there is nothing for it now."""
    step = run.step(member)
    if member.stage is not Stage.RUNNING or step is None or step.where is not where:
        return None
    return f"run {job_name(run, member)}" if member.taken in ("", by) else None


def expects(run: FlowRun, member: FlowMember, where: Where) -> bool:
    """Say whether a machine is still to carry out a step in `where`: then what runs there has to wait."""
    if run.over or member.over or run.status is FlowStatus.ABORTED:
        return False
    to_come = [run.steps[name] for name in member.plan[member.at :]]
    handlers = [run.steps[step.handler] for step in to_come if step.handler]
    return any(step.where is where for step in (*to_come, *handlers))


def script(run: FlowRun, member: FlowMember, step: FlowStep, bmc_password: str = "", *, left_s: float = 0.0) -> bytes:
    """Write the script of a step: its own text behind what it may want to know, as variables of the shell.

    In the discovery system, where a job is a process group of its own and ends with all of that, it ends itself when
    the `left_s` of its limit are over, though it is cut off from the daemon.
    """
    group = [each.name for each in run.members if step.name in each.plan or each.handling == step.name]
    known: Mapping[str, Any] = {
        "WORKFLOW": run.workflow,
        "WORKFLOW_RUN": run.id,
        "STEP": step.name,
        "ATTEMPT": member.attempt,
        "MACHINE": member.name,
        "GROUP": " ".join(group),
        **({"BMC_PASSWORD": bmc_password} if step.bmc_account else {}),
        **{f"PARAM_{name}": value for name, value in run.params.items()},
    }
    head = ["#!/bin/sh", *(f"{name}={shlex.quote(_plain(value))}" for name, value in known.items())]
    if step.where is Where.DISCOVERY:
        head.append(_ENDS.format(left=max(1, math.ceil(left_s)), limit=step.limit_s))
        head.append(f". {LIBRARY}")
    return ("\n".join([*head, step.script]) + "\n").encode()


_ENDS = "( (sleep {left} && echo 'not done within {limit:.0f} s' && kill -KILL -- -$$) & )"
"""No child of the script's: its `wait` does not wait for that."""


def _plain(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)

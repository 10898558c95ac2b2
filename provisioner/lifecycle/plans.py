"""What runs consist of, as tables: steps, what each waits for or ensures, and the verbs that are made of them. No I/O.

A step either *acts* (the conductor performs it; it is written as "ensure", so doing it twice does no harm) or *waits*
for a signal that the machine gives by what it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.bmc import BootTarget, Power
from provisioner.model.machine import Machine, Phase, Run, State


class Signal(StrEnum):
    """What a machine does that a run waits for."""

    DHCP = "dhcp"  # its firmware or loader asked for an address
    LOADER = "loader"  # it fetched a loader
    SCRIPT = "script"  # it fetched its boot script
    ANSWER = "answer"  # its installer fetched an answer file
    FACTS = "facts"  # the discovery system runs and has reported
    JOB = "job"  # the agent ended its job with status 0
    LOCAL = "local-boot"  # it asked for an address on its way from the disk
    HOME = "phone-home"  # the installed system runs


@dataclass(frozen=True, slots=True)
class StepKind:
    """A row of the step table. `signal` is None for a step that acts."""

    phase: Phase
    timeout_s: float
    signal: Signal | None = None
    retries: int = 0
    network: bool = False
    """While this step is under way, the machine is to boot from the network."""


KINDS: dict[str, StepKind] = {
    "power.off": StepKind(Phase.POWER, 270, retries=2),
    "boot.network": StepKind(Phase.POWER, 270, retries=2, network=True),
    "power.on": StepKind(Phase.POWER, 270, retries=2, network=True),
    "wait.dhcp": StepKind(Phase.DHCP, 600, Signal.DHCP, network=True),
    "wait.loader": StepKind(Phase.LOADER, 300, Signal.LOADER, network=True),
    "wait.script": StepKind(Phase.LOADER, 300, Signal.SCRIPT, network=True),
    "wait.facts": StepKind(Phase.FETCH, 900, Signal.FACTS, network=True),
    "media.insert": StepKind(Phase.POWER, 300, retries=2),
    "boot.media": StepKind(Phase.POWER, 270, retries=2),
    "media.eject": StepKind(Phase.FETCH, 270, retries=2),
    "wait.job": StepKind(Phase.INSTALL, 3600, Signal.JOB, retries=2, network=True),
    "wait.answer": StepKind(Phase.FETCH, 1800, Signal.ANSWER, network=True),
    "disk.next": StepKind(Phase.INSTALL, 270, retries=2),
    "wait.installed": StepKind(Phase.INSTALL, 2 * 3600, Signal.HOME),
    "finalize.off": StepKind(Phase.FINALIZE, 270, retries=2),
    "boot.disk": StepKind(Phase.FINALIZE, 270, retries=2),
    "finalize.on": StepKind(Phase.FINALIZE, 270, retries=2),
    "wait.local-boot": StepKind(Phase.LOCAL_BOOT, 900, Signal.LOCAL),
    "wait.phone-home": StepKind(Phase.PHONE_HOME, 900, Signal.HOME),
    "cancel.off": StepKind(Phase.POWER, 270, retries=2),
}
"""Time limits: BMC verbs end by themselves within two minutes, and so does asking whose board it is before the first of
them; firmware of big servers needs up to ten minutes from power-on to its first DHCP packet (memory training), an image
of 10 GB on a 1 Gbit/s link needs two, a package install up to an hour."""

JOB_STEP = "wait.job"
CANCEL_STEP = "cancel.off"
"""No verb has it: it follows the step at which an operator ends a run whose machine may be writing to its disk."""

NETBOOT = ("power.off", "boot.network", "power.on", "wait.dhcp", "wait.loader", "wait.script", "wait.facts")
BY_MEDIUM = ("power.off", "media.insert", "boot.media", "power.on", "wait.facts", "media.eject")
"""`NETBOOT` without a network: the same system from a CD of this machine's own, in its BMC's virtual drive. The medium
leaves before a job begins, so that a board that keeps it has not cost anybody a disk."""
INSTALLER = (*NETBOOT[:-1], "wait.answer", "disk.next", "wait.installed")
"""A distribution's own installer. Once it has its answers the machine boots its disk, whatever it asks for: installers
restart by themselves, and one that is served again installs again."""
FROM_DISK = ("finalize.off", "boot.disk", "finalize.on", "wait.local-boot", "wait.phone-home")

ENSURES: dict[str, Power | BootTarget] = {
    "power.off": Power.OFF,
    "finalize.off": Power.OFF,
    CANCEL_STEP: Power.OFF,
    "power.on": Power.ON,
    "finalize.on": Power.ON,
    "boot.disk": BootTarget.DISK,
    "disk.next": BootTarget.DISK,
    "boot.media": BootTarget.CD,
}
"""What an action brings about; `boot.network` depends on how the machine boots (`Machine.boot_via`)."""


class Verb(StrEnum):
    """What an operator can ask of a machine that takes a run."""

    INSPECT = "inspect"  # boot the discovery system, report facts
    DEPLOY = "deploy"  # install a bootenv onto the disk, by a job of the discovery system
    INSTALL = "install"  # the same, by the distribution's own installer
    LIVE = "live"  # boot something that runs in memory, once
    LOCAL = "local"  # boot from the disk
    RELEASE = "release"  # erase, power off, back to ready
    POWER_OFF_RELEASE = "release-keep"  # the same without erasing
    RESCUE = "rescue"  # boot the rescue system; the disk stays as it is
    UNRESCUE = "unrescue"  # back to the disk, and to where it came from


@dataclass(frozen=True, slots=True)
class VerbRule:
    """Which states a verb starts from, the state it moves through, its steps, and how long all of it may take.

    `job_s` is the limit of its job, where that is not the one of `KINDS`.
    """

    start: frozenset[State]
    moving: State
    steps: tuple[str, ...]
    limit_s: float
    job_s: float = KINDS[JOB_STEP].timeout_s


_RESTING = frozenset({State.DISCOVERED, State.ENROLLED, State.READY, State.RESERVED, State.ACTIVE})

VERBS: dict[Verb, VerbRule] = {
    Verb.INSPECT: VerbRule(_RESTING | {State.MAINTENANCE}, State.INSPECTING, NETBOOT, 1800),
    Verb.DEPLOY: VerbRule(_RESTING, State.DEPLOYING, (*NETBOOT, JOB_STEP, *FROM_DISK), 3 * 3600),
    Verb.INSTALL: VerbRule(_RESTING, State.DEPLOYING, INSTALLER, 4 * 3600),
    Verb.LIVE: VerbRule(_RESTING, State.INSPECTING, NETBOOT[:-1], 1800),
    Verb.LOCAL: VerbRule(_RESTING, State.INSPECTING, FROM_DISK[:3], 1800),
    Verb.RELEASE: VerbRule(_RESTING, State.RELEASING, (*NETBOOT, JOB_STEP, "finalize.off"), 24 * 3600, 23 * 3600),
    Verb.POWER_OFF_RELEASE: VerbRule(_RESTING, State.RELEASING, ("finalize.off",), 600),
    Verb.RESCUE: VerbRule(_RESTING | {State.MAINTENANCE}, State.INSPECTING, NETBOOT, 1800),
    Verb.UNRESCUE: VerbRule(frozenset({State.RESCUE}), State.INSPECTING, FROM_DISK[:3], 1800),
}
"""Overwriting a large disk takes most of a day: a release has that long."""
ANSWERS_S = VERBS[Verb.INSTALL].limit_s
"""How long an installer may ask for its answer files, from its boot script on. It fetches the last one when all else is
done: with a slow line and a large system that is hours later."""
CANNOT = {
    Verb.INSPECT: "be inspected",
    Verb.DEPLOY: "be installed",
    Verb.INSTALL: "be installed",
    Verb.LIVE: "boot a live system",
    Verb.LOCAL: "boot its disk",
    Verb.RELEASE: "be released",
    Verb.POWER_OFF_RELEASE: "be released",
    Verb.RESCUE: "be rescued",
    Verb.UNRESCUE: "leave the rescue system",
}
"""What a machine cannot, in whose state a verb does not start."""
assert CANNOT.keys() == VERBS.keys()
KEEPS_DISK = frozenset({Verb.INSPECT, Verb.LIVE, Verb.LOCAL, Verb.RESCUE, Verb.UNRESCUE})
"""Verbs that leave what is on the disk alone: if they fail, an active machine is active still."""
RESTARTS = ("finalize.off", "power.off")
"""Where a run can be taken up again: steps that bring the machine to a known state first."""

UNHEARD_S = {"wait.dhcp": 90.0, "wait.loader": 90.0, "wait.script": 90.0, "wait.facts": 300.0}
"""How long a machine that boots from the network is given after a restart of the daemon. Firmware asks again after 32 s
at most (RFC 2131 section 4.1), and gives up for good after a minute; the discovery system asks until it is answered,
but a loader whose download broke off does not."""

FETCHES_AT = frozenset({"wait.loader", "wait.script", "wait.facts", "wait.answer"})
"""Where what a machine fetches has to be whole before it gives the next sign: a DVD by a slow line takes longer than
such a step. None ends while the machine is sent something; the limit of the whole run holds."""

SYSTEM_AT = ("wait.local-boot", "wait.phone-home", "wait.installed")
"""Where the system on a machine's disk starts, or may have started."""
PANICS_AT = frozenset({"wait.facts", "wait.job", "wait.answer", *SYSTEM_AT})
"""Where a kernel is started or runs: one that gives up is not waited for."""

WAITED_FOR = {
    "wait.dhcp": "its firmware sent no DHCP request",
    "wait.loader": "it got an address but fetched no loader",
    "wait.script": "it fetched a loader but no boot script",
    "wait.facts": "the discovery system did not report",
    "wait.job": "the job on the machine did not end",
    "wait.answer": "its installer fetched no answer file",
    "wait.installed": "the system that its installer makes did not report",
    "wait.local-boot": "it did not start from its disk",
    "wait.phone-home": "the installed system did not report",
}


BOOTS_AT = frozenset(step for step in NETBOOT if KINDS[step].signal is not None)
"""Where a machine is waited for that boots the discovery system."""

COMES_BACK = FROM_DISK[:3]
"""How a machine comes back to its own system. What that says of itself is not waited for: with a static address it
may say nothing that we hear."""


def steps_of(verb: Verb, *, by_medium: bool, in_use: bool = False) -> tuple[str, ...]:
    """Name the steps of a verb, for a machine that boots from the network or from a medium of its own.

    One that is inspected while somebody's system is on its disk (`in_use`) comes back to it.
    """
    steps = VERBS[verb].steps + (COMES_BACK if in_use and verb is Verb.INSPECT else ())
    if not by_medium or steps[: len(NETBOOT)] != NETBOOT:
        return steps
    return (*BY_MEDIUM, *steps[len(NETBOOT) :])


def goes_by_medium(run: Run) -> bool:
    """Say whether a run boots its machine from a medium: its plan is pinned."""
    return any(step.name == "media.insert" for step in run.steps)


def wants_network(run: Run) -> bool:
    """Say whether the machine is to boot from the network at this point of its run."""
    return run.step is not None and KINDS[run.step.name].network and not goes_by_medium(run)


def may_have_begun_its_job(run: Run) -> bool:
    """Say whether an agent has the job, or may have had it in a try before this one."""
    return run.job_taken or any(line.step == JOB_STEP for line in run.journal)


def may_be_writing(run: Run) -> bool:
    """Say whether what runs on the machine may write to its disk now, and would to its end.

    An installer of others is told nothing once it was started, and nobody knows when it begins to write.
    """
    step = run.step
    if step is None:
        return False
    if run.verb == Verb.INSTALL:
        return step.name in INSTALLER[INSTALLER.index("wait.answer") :] or bool(_STARTED.intersection(run.early))
    return step.name == JOB_STEP and run.job_taken


_STARTED = frozenset({Signal.SCRIPT, Signal.ANSWER})
"""What tells that a machine has what starts its installer: heard early, while its BMC is still asked."""


def is_to_stop(machine: Machine, run_id: str) -> bool:
    """Say whether what an agent or installer does for this run is not wanted any more: ended, or another run began."""
    run = machine.run
    if run is None or run.id != run_id:
        return bool(run_id)
    ended = run.outcome in ("failed", "cancelled") or (run.step is not None and run.step.name == CANCEL_STEP)
    had = run.job_taken or any((line.step, line.outcome) in _TRIED for line in run.journal)
    return ended and (had or run.verb == Verb.INSTALL)


_TRIED = frozenset({(JOB_STEP, "failed"), (JOB_STEP, "retried")})


def job_id(run: Run) -> str:
    """Name the job of this attempt: a job is fetched once."""
    return f"{run.id}.{run.at}.{run.attempt}"


def agent_command(machine: Machine) -> str:
    """Say what the agent on a machine is to do now: one line of docs/architecture.md, "Agent"."""
    run = machine.run
    if run is not None and run.step is not None and run.step.name == JOB_STEP and not run.job_taken:
        return f"run {job_id(run)}"
    return "wait 15" if run is None or run.step is None else "wait 2"

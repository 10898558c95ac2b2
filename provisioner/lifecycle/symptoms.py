"""How to see in a machine's story what went wrong: one rule for each symptom. No I/O.

A rule returns the lines that speak for it, or None. It never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from provisioner.lifecycle.steps import AGENT_SILENT, SILENT_S
from provisioner.lifecycle.story import Story
from provisioner.model.machine import State
from provisioner.model.trace import TraceLine

Evidence = Sequence[TraceLine] | None
"""Lines that speak for a diagnosis; an empty list where the machine's record alone does; None where it is not so."""

PATIENCE_S = 45.0
"""A wait that is shorter is no trouble: iPXE, UEFI and kernels take seconds to tens of seconds for a step."""
SYSTEM = r"artifacts/|^cd\w+\.iso"
"""Files that are a system, or hold one."""
AGAIN = 3
"""Times that the same loader or script is fetched before it is called a loop."""


TO_LOADER = ("wait.dhcp", "wait.loader")
TO_SCRIPT = (*TO_LOADER, "wait.script")
TO_SYSTEM = (*TO_SCRIPT, "wait.facts", "wait.answer")
AT_WORK = ("wait.job", "wait.answer", "wait.installed")
FROM_DISK = ("wait.local-boot", "wait.phone-home", "wait.installed")


def bmc(*kinds: str, power: bool = False) -> Callable[[Story], Evidence]:
    """An action of the run failed with an error of these classes; of an action on the power only, with `power`."""

    def test(story: Story) -> Evidence:
        failure = story.machine.failure
        if failure is None or failure.kind not in kinds or (power and not story.where.endswith((".on", ".off"))):
            return None
        return [line for line in story.find("bmc.") if not line.ok]

    return test


def line(event: str, pattern: str = "", *steps: str, until: str = "") -> Callable[[Story], Evidence]:
    """A line of the trace says so itself while the run stands at one of `steps`, and no line `until` came after it."""

    def test(story: Story) -> Evidence:
        found = story.find(event, pattern) if story.where in steps else []
        over = found and until and any(later.at > found[-1].at for later in story.find(until) if later.ok)
        return found if found and not over else None

    return test


COMPLAINTS = 12
"""Last lines of an agent that are searched for the reason of what failed."""
_COMPLAINT = re.compile(r"^(E: |failed|fatal|error|cannot |unable )|\b(error|failed):", re.IGNORECASE)


def job(pattern: str) -> Callable[[Story], Evidence]:
    """The work on the machine failed, and its reason, or one of its last complaints, has these words.

    Only complaints: what an installer says on its way has the same words.
    """
    search = re.compile(pattern, re.IGNORECASE).search

    def test(story: Story) -> Evidence:
        if not story.failed or story.where not in AT_WORK:
            return None
        last = story.find("agent.")[-COMPLAINTS:]
        told = [each for each in last if search(each.text) and (not each.ok or _COMPLAINT.search(each.text))]
        return told if told or search(story.failed) else None

    return test


CONSOLE = {
    "kernel-panic": r"kernel panic|BUG: unable to handle|Oops:",
    "out-of-memory": r"out of memory|initramfs unpacking failed|not enough memory",
    "grub-rescue": r"grub rescue>|error: (no such|unknown) (device|filesystem|partition)",
    "no-bootable-disk": r"no bootable d|boot failed|insert boot media|UEFI Interactive Shell|not a bootable disk",
    "root-not-found": r"unable to mount root|ALERT!.*does not exist|Gave up waiting for root",
}
"""What a serial console shows of a fault, by its diagnosis."""


def console_shows(text: str) -> str:
    """Say for which diagnosis a line of a serial console speaks; "" for none."""
    return next((fault for fault, pattern in CONSOLE.items() if re.search(pattern, text, re.IGNORECASE)), "")


def console(fault: str, *steps: str) -> Callable[[Story], Evidence]:
    """The serial console shows it since the machine was switched on, and nothing was heard of its system since."""

    def test(story: Story) -> Evidence:
        found = [each for each in story.console(CONSOLE[fault]) if each.at >= story.powered]
        if not found or story.where not in steps:
            return None
        since = found[-1].at
        alive = story.find("agent.", after=since) or story.system_asked(since) or story.firmware_asked(since)
        return None if alive else found

    return test


def waited(story: Story, *steps: str) -> bool:
    return story.where in steps and story.waited_s >= PATIENCE_S


# the network: from power-on to the loader


def override_ignored(story: Story) -> Evidence:
    asked = story.system_asked(story.powered)
    return asked if waited(story, "wait.dhcp") and asked and not story.firmware_asked(story.powered) else None


def no_dhcp(story: Story) -> Evidence:
    heard = [x for x in story.lines if x.event.startswith("dhcp") and x.at >= story.powered]
    return [] if waited(story, "wait.dhcp") and not heard else None


def offer_not_taken(story: Story) -> Evidence:
    offers = story.find("dhcp.offer", after=story.powered)
    taken = story.find("dhcp.ack", after=story.powered)
    stuck = story.where in ("wait.dhcp", "wait.loader") and len(offers) >= AGAIN
    return offers if stuck and not taken else None


def late_first_packet(story: Story) -> Evidence:
    first = next((x for x in story.lines if x.event.startswith("dhcp") and x.at >= story.powered), None)
    late = first is not None and first.at - story.powered > 240 and story.where in ("wait.dhcp", "wait.loader")
    return [first] if late and first is not None else None


def no_tftp(story: Story) -> Evidence:
    acks = [x for x in story.firmware_asked(story.powered) if x.event == "dhcp.ack"]
    fetched = story.find("tftp.", after=story.powered) or story.find("http.", after=story.powered)
    return acks if waited(story, "wait.loader") and acks and not fetched else None


def no_hands(story: Story) -> Evidence:
    """It refused our certificate, or, with no CA enrolled at all, did not even connect (EDK2)."""
    refused = line("http.tls-refused", "", "wait.loader", "wait.script", until="http.sent")(story)
    acks = no_tftp(story)
    return refused if refused or acks is None else [ack for ack in acks if "; by HTTPS" in ack.text] or None


def tftp_stalled(story: Story) -> Evidence:
    failed = story.find("tftp.failed", after=story.powered)
    over = failed and [x for x in story.find("tftp.done") if x.at > failed[-1].at]
    return failed if failed and not over and story.where == "wait.loader" else None


def loader_no_script(story: Story) -> Evidence:
    loaders = [*story.find("tftp.done", after=story.powered), *story.find("http.sent", r"\.(efi|kpxe)", story.powered)]
    asked_again = loaders and [x for x in story.firmware_asked(loaders[-1].at) if x.event == "dhcp.ack"]
    return loaders if waited(story, "wait.script") and loaders and not asked_again else None


def secure_boot(story: Story) -> Evidence:
    facts = story.machine.facts
    loaders = loader_no_script(story)
    return loaders if loaders is not None and facts is not None and facts.secure_boot else None


def loader_no_address(story: Story) -> Evidence:
    loaders = story.find("tftp.done", after=story.powered)
    asked = loaders and [x for x in story.firmware_asked(loaders[-1].at) if x.event == "dhcp.ack"]
    return asked if asked and waited(story, "wait.script") else None


def loops(story: Story) -> Evidence:
    loaders = story.find("tftp.done", after=story.powered)
    return loaders if len(loaders) >= AGAIN and story.where in ("wait.script", "wait.facts") else None


# the discovery system


def fetch_broken(story: Story) -> Evidence:
    broken = [line for line in story.find("http.") if line.event in ("http.broken", "http.stalled", "http.unreadable")]
    over = broken and [x for x in story.find("http.sent", "artifacts/") if x.at > broken[-1].at]
    return broken if broken and not over and waited(story, "wait.facts") else None


def kernel_not_fetched(story: Story) -> Evidence:
    scripts = story.find("http.script", "^boot script", story.powered)
    kernels = story.find("http.sent", "artifacts/", story.powered)
    return scripts if waited(story, "wait.facts") and scripts and not kernels else None


def no_driver(story: Story) -> Evidence:
    kernels = story.find("http.sent", SYSTEM, story.powered)
    silent = kernels and not story.system_asked(kernels[-1].at) and story.waited_s >= 2 * PATIENCE_S
    return kernels if silent and story.where == "wait.facts" else None


def agent_cannot_reach(story: Story) -> Evidence:
    kernels = story.find("http.sent", SYSTEM, story.powered)
    asked = kernels and story.system_asked(kernels[-1].at)
    late = asked and story.now - asked[-1].at >= PATIENCE_S
    return asked if asked and late and story.where == "wait.facts" else None


# the job


def agent_gone(story: Story) -> Evidence:
    run = story.run
    if AGENT_SILENT in story.failed and story.where == "wait.job":
        return story.find("agent.")[-1:]
    if run is None or run.step is None or run.step.name != "wait.job":
        return None
    return story.find("agent.")[-1:] if story.now - story.machine.seen >= SILENT_S else None


def stuck_at(phase: str) -> Callable[[Story], Evidence]:
    """The installer reports, but of one phase only, and for long."""

    def test(story: Story) -> Evidence:
        run = story.run
        stuck = run is not None and story.where == "wait.job" and run.note.startswith(phase)
        return story.find("agent.") if stuck and story.waited_s >= 2 * SILENT_S else None

    return test


# the disk


def netboots_again(story: Story) -> Evidence:
    asked = [x for x in story.firmware_asked(story.powered) if x.event == "dhcp.ack"]
    stuck = waited(story, "wait.local-boot", "wait.phone-home") and len(asked) >= 1
    return asked if stuck and not story.system_asked(story.powered) else None


def nothing_from_disk(story: Story) -> Evidence:
    heard = [x for x in story.lines if x.event.startswith("dhcp") and x.at >= story.powered]
    stuck = story.where == "wait.local-boot" and story.waited_s >= 4 * PATIENCE_S
    return [] if stuck and not heard else None


def system_silent(story: Story) -> Evidence:
    asked = story.system_asked(story.powered)
    late = asked and story.now - asked[-1].at >= 2 * PATIENCE_S
    return asked if asked and late and story.where == "wait.phone-home" else None


def held(story: Story) -> Evidence:
    return [] if story.machine.state in (State.QUARANTINED, State.MAINTENANCE) and not story.failed else None

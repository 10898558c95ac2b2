"""How to see in a machine's story what went wrong: one rule for each symptom. No I/O.

A rule returns the lines that speak for it, or None. It never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from provisioner.lifecycle.story import Story
from provisioner.model.machine import State
from provisioner.model.trace import TraceLine

Evidence = Sequence[TraceLine] | None
"""Lines that speak for a diagnosis; an empty list where the machine's record alone does; None where it is not so."""

PATIENCE_S = 45.0
"""A wait that is shorter is no trouble: iPXE, UEFI and kernels take seconds to tens of seconds for a step."""
SILENT_AGENT_S = 300.0
"""An agent reports every few seconds; silence this long means that it is gone."""
AGAIN = 3
"""Times that the same loader or script is fetched before it is called a loop."""


def failed(pattern: str) -> Callable[[Story], Evidence]:
    """The run failed, or a BMC line of it did, with words that match."""
    search = re.compile(pattern, re.IGNORECASE).search

    def test(story: Story) -> Evidence:
        lines = [line for line in story.find("bmc.") if not line.ok and search(line.text)]
        return lines if search(story.failed) or (lines and story.failed) else None

    return test


def line(event: str, pattern: str = "", *steps: str) -> Callable[[Story], Evidence]:
    """A line of the trace says so itself, while the run stands at one of `steps` (any, where none is named)."""

    def test(story: Story) -> Evidence:
        found = story.find(event, pattern)
        return found if found and (not steps or story.where in steps) else None

    return test


def console(pattern: str, *steps: str) -> Callable[[Story], Evidence]:
    def test(story: Story) -> Evidence:
        found = story.console(pattern)
        return found if found and (not steps or story.where in steps) else None

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


def tftp_stalled(story: Story) -> Evidence:
    failed = story.find("tftp.failed", after=story.powered)
    return failed if failed and story.where == "wait.loader" else None


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
    return broken if broken and story.where == "wait.facts" and story.waited_s >= PATIENCE_S else None


def kernel_not_fetched(story: Story) -> Evidence:
    scripts = story.find("http.script", "^boot script", story.powered)
    kernels = story.find("http.sent", "artifacts/", story.powered)
    return scripts if waited(story, "wait.facts") and scripts and not kernels else None


def no_driver(story: Story) -> Evidence:
    kernels = story.find("http.sent", "artifacts/", story.powered)
    silent = kernels and not story.system_asked(kernels[-1].at) and story.waited_s >= 2 * PATIENCE_S
    return kernels if silent and story.where == "wait.facts" else None


def agent_cannot_reach(story: Story) -> Evidence:
    kernels = story.find("http.sent", "artifacts/", story.powered)
    asked = kernels and story.system_asked(kernels[-1].at)
    late = asked and story.now - asked[-1].at >= PATIENCE_S
    return asked if asked and late and story.where == "wait.facts" else None


# the job


def agent_gone(story: Story) -> Evidence:
    run = story.run
    if run is None or run.step is None or run.step.name != "wait.job" or not run.job_taken:
        return None
    return story.find("agent.")[-1:] if story.now - story.machine.seen >= SILENT_AGENT_S else None


def stuck_at(phase: str) -> Callable[[Story], Evidence]:
    """The installer reports, but of one phase only, and for long."""

    def test(story: Story) -> Evidence:
        run = story.run
        stuck = run is not None and story.where == "wait.job" and run.note.startswith(phase)
        return story.find("agent.") if stuck and story.waited_s >= 2 * SILENT_AGENT_S else None

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

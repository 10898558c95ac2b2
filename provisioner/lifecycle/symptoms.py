"""How to see in a machine's story what went wrong: one rule for each symptom. No I/O.

A rule returns the lines that speak for it, or None. It never guesses.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

from provisioner.lifecycle.firstboot import HOOK_FAILED
from provisioner.lifecycle.plans import SYSTEM_AT
from provisioner.lifecycle.steps import AGENT_SILENT, SILENT_S
from provisioner.lifecycle.story import LOOKED_AT, OS_ASKS, Story
from provisioner.model.machine import State
from provisioner.model.trace import Channel, TraceLine

Evidence = Sequence[TraceLine] | None
"""Lines that speak for a diagnosis; an empty list where the machine's record alone does; None where it is not so."""

PATIENCE_S = 45.0
"""A wait that is shorter is no trouble: iPXE, UEFI and kernels take seconds to tens of seconds for a step."""
SYSTEM = r"artifacts/|^cd\w+\.iso"
"""Files that are a system, or hold one."""
WHOLE = r"artifacts/.*initrd|^cd\w+\.iso"
"""Files that are the last of a system: with them it starts."""
STARTS_S = 180.0
"""A kernel that has terabytes of memory to set up, or a slow console to write to, asks for an address after minutes."""
TRANSFERS = ("http.start", "http.sent", "http.busy", "http.broken", "http.stalled", "http.unreadable")
AGAIN = 3
"""Times that the same loader is fetched before it is called a loop, and that offers to a port are not taken."""
TAKES_S = 10.0
"""An offer is taken within a second or so; firmware that waits for more of them does not wait so long."""
ANSWERED = ("dhcp.offer", "dhcp.ack", "dhcp.proxy", "dhcp6.advertise", "dhcp6.reply")
FETCHES = ("tftp.start", "tftp.done")

TO_LOADER = ("wait.dhcp", "wait.loader")
TO_SCRIPT = (*TO_LOADER, "wait.script")
TO_SYSTEM = (*TO_SCRIPT, "wait.facts", "wait.answer")
AT_WORK = ("wait.job", "wait.answer", "wait.installed")
FROM_DISK = SYSTEM_AT


def bmc(*kinds: str, power: bool = False) -> Callable[[Story], Evidence]:
    """An action of the run failed with an error of these classes; of an action on the power only, with `power`."""

    def test(story: Story) -> Evidence:
        failure = story.machine.failure
        if failure is None or failure.kind not in kinds or (power and not story.where.endswith((".on", ".off"))):
            return None
        return [line for line in story.find("bmc.") if not line.ok]

    return test


def line(event: str, pattern: str = "", *steps: str, until: tuple[str, ...] = ()) -> Callable[[Story], Evidence]:
    """A line of the trace says so itself while the run stands at one of `steps`, and no line `until` came after it.

    On the way to a loader an operating system that asks is no end of it: that is the one on the disk.
    """

    def test(story: Story) -> Evidence:
        found = story.find(event, pattern) if story.where in steps else []
        if not found:
            return None
        later = [x for name in until for x in story.find(name) if x.ok and x.at > found[-1].at]
        over = [x for x in later if story.where not in TO_LOADER or OS_ASKS not in x.text]
        return None if over else found

    return test


def unserved(pattern: str) -> Callable[[Story], Evidence]:
    """It was met with silence, for these words, and none of its ports was answered."""

    def test(story: Story) -> Evidence:
        return None if story.firmware_asked(story.powered) else line("dhcp.silence", pattern, *TO_LOADER)(story)

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
    "kernel-panic": r"kernel panic",
    "out-of-memory": r"out of memory|initramfs unpacking failed: write error|not enough memory",
    "grub-rescue": r"grub rescue>",
    "no-bootable-disk": r"no bootable (d|option)|insert boot media|UEFI Interactive Shell|not a bootable disk",
    "root-not-found": r"unable to mount root|ALERT!.*does not exist|Gave up waiting for root",
}
"""What a serial console shows of a fault, by its diagnosis: the last words of what has given up, and no warnings."""
_GOES_ON = {
    "loads": r"^(GRUB loading|Welcome to GRUB|Loading Linux|Booting )",
    "starts": r"Linux version \d",
    "runs": r"Welcome to .*!|Reached target |\blogin:\s*$",
}
"""What it shows when a loader, a kernel or a system came up."""
COMES_UP = {
    "grub-rescue": ("loads", "starts", "runs"),
    "no-bootable-disk": ("loads", "starts", "runs"),
    "kernel-panic": ("runs",),
    "out-of-memory": ("runs",),
    "root-not-found": ("runs",),
}
"""What came up later says that a fault was none, or is over."""
assert COMES_UP.keys() == CONSOLE.keys()


_SHOWN = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in (CONSOLE | _GOES_ON).items()}
_WORDS = {
    "kernel-panic": ("kernel panic",),
    "out-of-memory": ("memory", "write error"),
    "grub-rescue": ("grub",),
    "no-bootable-disk": ("bootable", "boot media", "interactive shell"),
    "root-not-found": ("mount root", "does not exist", "waiting for root"),
    "loads": ("grub", "loading linux", "booting "),
    "starts": ("linux version",),
    "runs": ("welcome to", "reached target", "login:"),
}
"""Some word of every pattern: a line that has none of them, as most have, costs two microseconds."""
assert _WORDS.keys() == _SHOWN.keys()
_ANY_WORD = tuple(dict.fromkeys(word for words in _WORDS.values() for word in words))


def console_shows(text: str) -> str:
    """Say for which diagnosis a line of a serial console speaks, or how far the machine has come; "" for neither."""
    looked = text[:LOOKED_AT]
    small = looked.lower()
    if not any(word in small for word in _ANY_WORD):
        return ""
    return next((kind for kind, pattern in _SHOWN.items() if pattern.search(looked)), "")


def panicked(line: TraceLine) -> bool:
    """Say whether a line of a serial console is how Linux says that it gives up."""
    return line.channel is Channel.CONSOLE and "Kernel panic - not syncing" in line.text


def console(fault: str, *steps: str) -> Callable[[Story], Evidence]:
    """The serial console shows it since the machine was switched on, and nothing was heard of its system since."""

    def test(story: Story) -> Evidence:
        shown = story.console(CONSOLE[fault], *_WORDS[fault]) if story.where in steps else []
        found = [at for at in shown if story.said[at].at >= story.powered]
        if not found:
            return None
        since = story.said[found[-1]].at
        heard = story.find("agent.", after=since) or story.system_asked(since) or story.firmware_asked(since)
        up = any(at > found[-1] for kind in COMES_UP[fault] for at in story.console(_GOES_ON[kind], *_WORDS[kind]))
        return None if heard or up else [story.said[at] for at in found]

    return test


def waited(story: Story, *steps: str) -> bool:
    return story.where in steps and story.waited_s >= PATIENCE_S


# the network: from power-on to the loader


def override_ignored(story: Story) -> Evidence:
    asked = story.system_asked(story.powered)
    return asked if waited(story, "wait.dhcp") and asked and not story.firmware_asked(story.powered) else None


def no_dhcp(story: Story) -> Evidence:
    """Nothing came in half of the time that firmware has for it, which is twice what most take."""
    run, heard = story.run, story.find("dhcp", after=story.powered)
    silent = run is not None and story.where == "wait.dhcp" and story.waited_s >= run.steps[run.at].timeout_s / 2
    return [] if silent and not heard else None


def offer_not_taken(story: Story) -> Evidence:
    offers = story.find("dhcp.offer", after=story.powered)
    to_port = [x for x in offers if x.mac == offers[-1].mac]
    stuck = story.where in TO_LOADER and len(to_port) >= AGAIN and story.now - to_port[-1].at >= TAKES_S
    return to_port if stuck and not story.find("dhcp.ack", after=story.powered) else None


LATE_S = 240.0
"""STP makes a port wait 30 to 50 s, and firmware gives up and starts over meanwhile, some of it with a pause."""


def late_first_packet(story: Story) -> Evidence:
    """It came so late that it may be the port's doing, and the machine has come no further since."""
    first = next(iter(story.find("dhcp", after=story.powered)), None)
    if first is None or first.at - story.powered <= LATE_S or story.where not in TO_LOADER:
        return None
    further = [x for event in ("dhcp.ack", "tftp.", "http.") for x in story.find(event, after=first.at)]
    return None if further else [first]


def no_tftp(story: Story) -> Evidence:
    acks = [x for x in story.firmware_asked(story.powered) if x.event == "dhcp.ack"]
    fetched = story.find("tftp.", after=story.powered) or story.find("http.", after=story.powered)
    return acks if waited(story, "wait.loader") and acks and not fetched else None


def no_hands(story: Story) -> Evidence:
    """It refused our certificate, or, with no CA enrolled at all, did not even connect (EDK2)."""
    refused = line("http.tls-refused", "", "wait.loader", "wait.script", until=("http.sent",))(story)
    acks = no_tftp(story)
    return refused if refused or acks is None else [ack for ack in acks if "; by HTTPS" in ack.text] or None


def tftp_stalled(story: Story) -> Evidence:
    failed = story.find("tftp.failed", after=story.powered)
    again = [x for name in FETCHES for x in story.find(name) if failed and x.at > failed[-1].at]
    return failed if failed and not again and story.where == "wait.loader" else None


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


def _file(told: TraceLine) -> str:
    """Name the file of a line that tells of a transfer."""
    return told.text.partition(":")[0]


def loops(story: Story) -> Evidence:
    """The same file came again and again, or one after each of several requests.

    Firmware that seems to have refused a loader is given another one.
    """
    loaders = story.find("tftp.done", after=story.powered)
    same = [x for x in loaders if _file(x) == _file(loaders[-1])]
    asks = [x.at for x in story.firmware_asked(story.powered) if x.event == "dhcp.ack"]
    rounds = list({bisect_right(asks, x.at): x for x in loaders}.values())
    stuck = story.where in ("wait.script", "wait.facts") and max(len(same), len(rounds)) >= AGAIN
    return (same if len(same) >= AGAIN else rounds) if stuck else None


# the discovery system


def fetching(story: Story) -> bool:
    """Say whether a file is on its way by HTTP, or waits for its turn: its beginning was told, and no end."""
    last = {_file(x): x.event for x in story.find("http.", after=story.powered) if x.event in TRANSFERS}
    return "http.start" in last.values()


def fetch_broken(story: Story) -> Evidence:
    broken = [line for line in story.find("http.") if line.event in ("http.broken", "http.stalled", "http.unreadable")]
    over = broken and [x for x in story.find("http.sent", "artifacts/") if x.at > broken[-1].at]
    return broken if broken and not over and not fetching(story) and waited(story, "wait.facts") else None


def kernel_not_fetched(story: Story) -> Evidence:
    scripts = story.find("http.script", "^boot script", story.powered)
    kernels = story.find("http.sent", "artifacts/", story.powered) or fetching(story)
    return scripts if waited(story, "wait.facts") and scripts and not kernels else None


def no_driver(story: Story) -> Evidence:
    """All of the system was sent, its ramdisk last, and time to unpack and start it went by.

    Where it says on the console which ports there are instead, that is shown: the card may be there, with another MAC.
    """
    whole = story.find("http.sent", WHOLE, story.powered)
    silent = whole and not story.system_asked(whole[-1].at) and story.now - whole[-1].at >= STARTS_S
    if not silent or fetching(story) or story.where != "wait.facts":
        return None
    said = story.console("no network interface with MAC", "no network interface")[-1:]
    return [*whole, *(story.said[at] for at in said)]


def agent_cannot_reach(story: Story) -> Evidence:
    kernels = story.find("http.sent", SYSTEM, story.powered)
    asked = kernels and story.system_asked(kernels[-1].at)
    late = asked and story.now - asked[-1].at >= PATIENCE_S and not story.find("http.", after=asked[0].at)
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


def hook_failed(story: Story) -> Evidence:
    """A script of the new system's first start said itself that it failed: what it printed last, and that."""
    failure = story.machine.failure
    return story.find("agent.") if failure is not None and failure.kind == HOOK_FAILED else None


def netboots_again(story: Story) -> Evidence:
    asked = [x for x in story.firmware_asked(story.powered) if x.event == "dhcp.ack"]
    stuck = waited(story, "wait.local-boot", "wait.phone-home") and len(asked) >= 1
    return asked if stuck and not story.system_asked(story.powered) else None


def nothing_from_disk(story: Story) -> Evidence:
    stuck = story.where == "wait.local-boot" and story.waited_s >= 4 * PATIENCE_S
    return [] if stuck and not story.find("dhcp", after=story.powered) else None


def system_silent(story: Story) -> Evidence:
    asked = story.system_asked(story.powered)
    late = asked and story.now - asked[-1].at >= 2 * PATIENCE_S
    return asked if asked and late and story.where == "wait.phone-home" else None


def held(story: Story) -> Evidence:
    """Somebody keeps the machine back, and nothing was tried on it since."""
    machine, failure = story.machine, story.machine.failure
    kept = machine.hold if machine.state in (State.QUARANTINED, State.MAINTENANCE) else None
    return [] if kept is not None and (failure is None or kept.at > failure.at) else None

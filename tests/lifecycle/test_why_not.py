"""Stories that look like a fault and are none, or another one than they look like."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.lifecycle import rest
from provisioner.lifecycle.inputs import Cancel
from provisioner.lifecycle.steps import advance
from provisioner.lifecycle.symptoms import console_shows
from provisioner.lifecycle.why import why
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.model.trace import TraceLine
from tests.lifecycle.test_endings import OFF, TAKEN, later, releasing
from tests.lifecycle.test_why import (
    ACK,
    BOOTED,
    DISK_ON,
    INITRD,
    KERNEL,
    LOADER,
    OFFER,
    ON,
    OS_ACK,
    POWER,
    Case,
    line,
    stand,
)

OTHER_PORT = Mac("52:54:00:77:00:12")
LATE = (POWER, replace(OFFER, at=ON + 300), replace(ACK, at=ON + 301))
THREE_OFFERS = (OFFER, replace(OFFER, at=ON + 9), replace(OFFER, at=ON + 17))
FOREIGN = replace(line(ON + 4, "dhcp.silence", "DISCOVER on br9: no subnet of ours", ok=False), mac=OTHER_PORT)
NO_LOADER = line(ON + 4, "dhcp.offer", "DISCOVER on br0: 10.0.0.9 x, but there is no loader for architecture 0x0010")
NO_DHCP, NO_FETCH = "its firmware sent no DHCP request", "it got an address but fetched no loader"


def fetched(at: float, name: str) -> TraceLine:
    return replace(LOADER, at=ON + at, text=f"{name}: 74000 bytes in 0.10 s")


RAMDISK = INITRD.text.partition(":")[0]


def begun(at: float, sent: TraceLine) -> TraceLine:
    return replace(sent, at=ON + at, event="http.start", text=sent.text.partition(" in ")[0])


STORIES: dict[str, tuple[str, Case]] = {
    "a long self-test, and a loader that is not served": ("loader-missing", Case("wait.loader", (
        *LATE, line(ON + 303, "tftp.refused", "x.efi: nothing is served under this name", ok=False)), failed=NO_FETCH)),
    "a long self-test, and a filter on port 69": ("no-tftp", Case("wait.loader", LATE, 120.0, failed=NO_FETCH)),
    "a long self-test, and a transfer that stalls": ("tftp-stalled", Case("wait.loader", (
        *LATE, line(ON + 340, "tftp.failed", "x: no answer at byte 1468", ok=False)), 120.0)),
    "a long self-test, and a CA that is not trusted": ("ca-not-trusted", Case("wait.loader", (
        *LATE, line(ON + 340, "http.tls-refused", "it does not trust our CA", ok=False)), 120.0)),
    "a long self-test, and offers that nobody takes": ("offers-not-taken", Case("wait.dhcp", (
        POWER, *(replace(OFFER, at=ON + 300 + 8 * n) for n in range(4))), 360.0)),
    "a long self-test, and a transfer under way": ("waiting", Case("wait.loader", (
        *LATE, line(ON + 303, "tftp.start", "x.efi: 900000 bytes, blksize 1428")), 5.0)),
    "a long self-test, and all is well": ("waiting", Case("wait.loader", LATE, 5.0)),
    "an agent that is told to come back": ("waiting", Case("wait.facts", (
        *BOOTED, KERNEL, OS_ACK, line(ON + 21, "http.busy", "too many transfers are under way", ok=False)), 90.0)),
    "a self-test of a minute": ("waiting", Case("wait.dhcp", (POWER,), 60.0)),
    "three files, one after the other": ("waiting", Case("wait.script", (
        POWER, ACK, fetched(7, "shimx64.efi"), fetched(8, "grubx64.efi"), fetched(9, "grub.cfg")), 5.0)),
    "another loader after each request": ("loader-loop", Case("wait.script", (
        POWER, ACK, fetched(7, "snponly.efi"), replace(ACK, at=ON + 16), fetched(17, "shimx64.efi"),
        fetched(18, "grubx64.efi"), replace(ACK, at=ON + 26), fetched(27, "shimx64.efi")), 5.0)),
    "a ramdisk under way for minutes": ("waiting", Case("wait.facts", (*BOOTED, KERNEL, begun(13, INITRD)), 600.0)),
    "a ramdisk that is begun again": ("waiting", Case("wait.facts", (
        *BOOTED, KERNEL, begun(13, INITRD), line(ON + 60, "http.broken", f"{RAMDISK}: the client closed", ok=False),
        begun(70, INITRD)), 200.0)),
    "a ramdisk that was sent just now": ("waiting", Case("wait.facts", (
        *BOOTED, KERNEL, begun(13, INITRD), replace(INITRD, at=ON + 290)), 300.0)),
    "a ramdisk that was never asked for": ("waiting", Case("wait.facts", (*BOOTED, KERNEL), 300.0)),
    "a kernel under way for a minute": ("waiting", Case("wait.facts", (*BOOTED, begun(11, KERNEL)), 70.0)),
    "an ISO under way for a minute": ("waiting", Case("wait.loader", (
        POWER, OFFER, ACK, line(ON + 7, "http.start", "cdx64.iso: 90000000 bytes")), 70.0)),
    "three ports that ask": ("waiting", Case("wait.loader", (
        POWER, OFFER, replace(OFFER, at=ON + 20), replace(OFFER, at=ON + 21, mac=OTHER_PORT)), 20.0)),
    "three offers, the last just now": ("waiting", Case("wait.loader", (POWER, *THREE_OFFERS), 8.0)),
    "a mode without a loader, then one with": ("no-tftp", Case("wait.loader", (
        POWER, NO_LOADER, replace(OFFER, at=ON + 20), replace(ACK, at=ON + 21)), 120.0)),
    "no loader, and then the system on its disk": ("no-architecture", Case("wait.loader", (
        POWER, NO_LOADER, OS_ACK), 120.0)),
    "a second port elsewhere, and offers that nobody takes": (
        "offers-not-taken", Case("wait.loader", (POWER, FOREIGN, *THREE_OFFERS), 600.0, failed=NO_FETCH)),
    "a second port elsewhere, and our offer just now": ("waiting", Case("wait.loader", (POWER, OFFER, FOREIGN), 8.0)),
    "a second port elsewhere, and a filter on port 69": (
        "no-tftp", Case("wait.loader", (POWER, FOREIGN, OFFER, ACK), 120.0)),
    "an address in use, the next offered, that nobody takes": ("offers-not-taken", Case("wait.loader", (
        POWER, line(ON + 1, "dhcp.conflict", "10.0.0.9: x uses it"), *THREE_OFFERS), 600.0, failed=NO_FETCH)),
    "too many new ones at first, and offers that nobody takes": ("offers-not-taken", Case("wait.loader", (
        POWER, line(ON + 1, "dhcp.limited", "too many"), *THREE_OFFERS), 600.0, failed=NO_FETCH)),
    "no address at first, then an offer": ("waiting", Case("wait.loader", (
        POWER, line(ON + 1, "dhcp.pool-empty", "no address left", ok=False), OFFER), 5.0)),
    "a file that need not exist, and the loader under way": ("waiting", Case("wait.loader", (
        POWER, OFFER, ACK, line(ON + 7, "tftp.refused", "grub.cfg-01-52: not served", ok=False),
        line(ON + 8, "tftp.start", "shimx64.efi")), 8.0)),
    "a transfer that failed once, and began again": ("waiting", Case("wait.loader", (
        POWER, OFFER, ACK, line(ON + 7, "tftp.failed", "x: closed its port", ok=False),
        line(ON + 8, "tftp.start", "x.efi")), 8.0)),
}  # fmt: skip


def test_a_clock_that_was_set_back_meanwhile_turns_no_order_round() -> None:
    """A transfer that failed, and after a restart with the right time one that did not: yesterday, it seems."""
    failed = line(ON + 7, "tftp.failed", "x: closed its port", ok=False)
    machine, lines, now = stand(Case("wait.loader", (POWER, OFFER, ACK, failed), 8.0))
    assert machine.run
    machine = replace(machine, run=replace(machine.run, started=ON - 1))
    assert why(machine, lines, now).id == "tftp-stalled"
    again = replace(failed, at=ON - 86_000, event="tftp.start", ok=True)
    assert why(machine, [*lines, again], ON - 86_000).id == "waiting"


def test_what_was_seen_before_a_run_is_no_part_of_it() -> None:
    machine, lines, now = stand(Case("wait.loader", (POWER, OFFER, ACK), 8.0))
    assert machine.run
    before = line(ON - 50, "tftp.failed", "x: closed its port", ok=False)
    machine = replace(machine, run=replace(machine.run, started=ON - 1))
    assert why(machine, [*lines, before], now).id == "waiting", "told late"


FROM_DISK, TO_FACTS = Case("wait.local-boot", (DISK_ON,), 60.0), Case("wait.facts", (*BOOTED, KERNEL), 60.0)
PROMPT = "node17 login: "
CONSOLES: dict[str, tuple[str, Case, tuple[str, ...]]] = {
    "an empty drive before the disk": ("waiting", FROM_DISK, (
        "Boot failed: not a bootable disk", "Booting from Hard Disk...")),
    "a boot entry that is gone": ("waiting", FROM_DISK, ("Boot Failed. EFI DVD/CDROM",)),
    "no system at all, in the end": ("no-bootable-disk", FROM_DISK, (
        "Booting from Hard Disk...", "Boot failed: not a bootable disk", "No bootable device.")),
    "a complaint of GRUB, which goes on": ("waiting", FROM_DISK, ("error: no such device: root.", "Booting Debian")),
    "the rescue shell, and then a start by hand": ("waiting", FROM_DISK, ("grub rescue>", "Linux version 6.1.0")),
    "a driver that stumbles": ("waiting", TO_FACTS, ("BUG: unable to handle page fault in mgag200", PROMPT)),
    "a driver that stumbles, and more is not seen": ("waiting", TO_FACTS, ("Oops: 0000 [#1] SMP",)),
    "a panic, and then a good start": ("waiting", TO_FACTS, ("Kernel panic - not syncing", "Linux version 6", PROMPT)),
    "a good start, and then a panic": ("kernel-panic", TO_FACTS, ("Linux version 6", PROMPT, "Kernel panic - not")),
    "a kernel that starts and panics again": ("kernel-panic", TO_FACTS, ("Kernel panic - not", "Linux version 6")),
    "a ramdisk in another compression": ("waiting", TO_FACTS, ("Initramfs unpacking failed: Decoding failed",)),
    "a process that took all memory, and a system that runs on": ("waiting", TO_FACTS, (
        "Out of memory: Killed process 77", "Welcome to Debian GNU/Linux 12 (bookworm)!")),
}  # fmt: skip


@pytest.mark.parametrize(("name", "case", "console"), CONSOLES.values(), ids=CONSOLES.keys())
def test_a_console_that_goes_on_shows_no_fault(name: str, case: Case, console: tuple[str, ...]) -> None:
    assert why(*stand(replace(case, console=console))).id == name


SHOWN = {
    "Kernel panic - not syncing: VFS": "kernel-panic",
    "Out of memory: Killed process 77": "out-of-memory",
    "Initramfs unpacking failed: write error": "out-of-memory",
    "error: not enough memory.": "out-of-memory",
    "grub rescue>": "grub-rescue",
    "No bootable device.": "no-bootable-disk",
    "No bootable option or device was found": "no-bootable-disk",
    "Please insert boot media": "no-bootable-disk",
    "UEFI Interactive Shell v2.2": "no-bootable-disk",
    "Boot failed: not a bootable disk": "no-bootable-disk",
    "VFS: Unable to mount root fs on unknown-block(0,0)": "root-not-found",
    "ALERT!  UUID=1234 does not exist.  Dropping to a shell!": "root-not-found",
    "Gave up waiting for root file system device.": "root-not-found",
    "GRUB loading.": "loads",
    "Welcome to GRUB!": "loads",
    "Loading Linux 6.1.0-18-amd64 ...": "loads",
    "Booting `Debian GNU/Linux'": "loads",
    "[    0.0] Linux version 6": "starts",
    "Welcome to Debian GNU/Linux 12 (bookworm)!": "runs",
    "[  OK  ] Reached target multi-user.target": "runs",
    PROMPT: "runs",
    "x": "",
    "": "",
    "usb 1-1: new high-speed USB device": "",
    "ALERT!" * 600 + " does not exist": "",  # looked at no further than a line of an agent's log
}


@pytest.mark.parametrize(("text", "kind"), [*SHOWN.items(), *((text.upper(), kind) for text, kind in SHOWN.items())])
def test_how_far_it_has_come_is_recorded_among_a_thousand_lines(text: str, kind: str) -> None:
    assert console_shows(text) == kind


@pytest.mark.parametrize(("name", "case"), STORIES.values(), ids=STORIES.keys())
def test_what_it_looks_like_is_not_said(name: str, case: Case) -> None:
    assert why(*stand(case)).id == name


ENDED: dict[str, tuple[str, Case, bool]] = {
    "cancelled just after the discovery system asked": (
        "cancelled", Case("wait.facts", (*BOOTED, KERNEL, OS_ACK), 25.0), True),
    "cancelled during a self-test": ("cancelled", Case("wait.dhcp", (POWER,), 400.0), True),
    "cancelled while it boots its disk": ("cancelled", Case("wait.local-boot", (DISK_ON,), 200.0), True),
    "its limit, just after the installed system asked": ("unknown", Case("wait.phone-home", (
        DISK_ON, replace(OS_ACK, at=ON + 890)), 895.0, failed="the installed system did not report"), False),
}  # fmt: skip


def ended(case: Case, *, cancel: bool) -> tuple[Machine, list[TraceLine], float]:
    machine, lines, now = stand(case)
    return advance(machine, Cancel(), now)[0] if cancel else machine, lines, now


@pytest.mark.parametrize(("name", "case", "cancel"), ENDED.values(), ids=ENDED.keys())
def test_a_run_that_has_ended_is_judged_alike_whenever_somebody_asks(name: str, case: Case, cancel: bool) -> None:
    machine, lines, now = ended(case, cancel=cancel)
    assert [why(machine, lines, now + later).id for later in (0.0, 3600.0, 1e6)] == [name] * 3


def test_what_was_cancelled_says_where_and_that_it_can_be_taken_up() -> None:
    machine, lines, now = ended(Case("wait.dhcp", (POWER,), 400.0), cancel=True)
    verdict = why(machine, lines, now)
    assert verdict.text == "node17: at dhcp, deploy debian-12 was cancelled by the operator"
    assert verdict.todo == "`provisionctl resume node17` takes it up"
    retired = rest.retire(machine, now + 5)
    assert "resume" not in why(retired, lines, now + 9).todo


def test_a_machine_in_use_that_is_off_since_its_run_was_cancelled_is_told_of() -> None:
    machine, lines, now = ended(Case("wait.dhcp", (POWER,), 400.0), cancel=True)
    verdict = why(replace(machine, state=State.ACTIVE, power=Power.OFF), lines, now)
    assert verdict.text == "node17: at dhcp, deploy debian-12 was cancelled by the operator; its power is off"
    assert verdict.todo.startswith("`provisionctl power node17 on`")


def test_a_cancelled_release_says_that_its_disks_may_be_half_erased() -> None:
    machine = later(releasing(), TAKEN, Cancel(), OFF)
    verdict = why(machine, (), 100.0)
    assert verdict.text == (
        "node17: at install, release was cancelled by the operator; its disks may be half erased, so it is quarantined"
    )
    assert verdict.todo == "`provisionctl resume node17` erases them anew"


@pytest.mark.parametrize("state", [State.MAINTENANCE, State.QUARANTINED])
@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "failed"])
def test_a_hold_comes_before_what_was_before_it(state: State, cancel: bool) -> None:
    case = Case("wait.dhcp", (POWER,), 600.0, failed="" if cancel else NO_DHCP)
    machine, lines, now = ended(case, cancel=cancel)
    held = rest.hold(machine, state, "new fan", now + 5)
    assert why(held, lines, now + 9).text == "node17: it is kept back: new fan"


WORDS = {
    "udevadm settle: timeout expired": "unknown",
    "command timed out: the time limit expired": "unknown",
    "user's password has expired": "unknown",
    "the key agent: timeout expired": "unknown",
    "E: Release file for http://mirror/debian/dists/x is expired (invalid since 3 d)": "expired",
    "curl: (60) SSL certificate problem: certificate has expired": "expired",
    "SSL certificate problem: certificate is not yet valid": "expired",
    "E: The repository is not signed: EXPKEYSIG 77": "expired",
    "E: Failed to fetch http://mirror/x.deb  Hash Sum mismatch": "mirror",
    "E: Failed to fetch http://mirror/x.deb  404  Not Found": "mirror",
    "Error: Failed to download metadata for repo 'appstream'": "mirror",
    "curl: (6) Could not resolve host: mirror": "mirror",
    "could not resolve the volume group name": "unknown",
    "late command: curl http://10.0.0.1/postinst: 404 Not Found": "unknown",
    "unable to connect to X server": "unknown",
    "cp: cannot create /tmp/x: No space left on device": "unknown",
    "dd: error writing '/dev/shm/x': No space left on device": "unknown",
    "dd: error writing '/dev/sda': No space left on device": "disk-too-small",
    "cannot copy to /target/usr/lib/x: No space left on device": "disk-too-small",
    "the block size is too small": "unknown",
    "mdadm: no suitable disk drives": "unknown",
    "grub-install: error: no such disk": "unknown",
    "no disk was chosen and there is not exactly one: sda sdb": "unknown",
    "no disk drive was detected": "no-disk",
    "no disk found: nothing was erased": "no-disk",
    "XFS metadata checksum error on the old disk": "unknown",
    "kexec: checksum of purgatory failed": "unknown",
}
"""What a job ends with, and what is made of it."""


@pytest.mark.parametrize(("words", "name"), WORDS.items(), ids=WORDS.keys())
def test_words_that_mean_something_else_name_nothing(words: str, name: str) -> None:
    reason = f"status 1: failed: {words}"
    failed = Case("wait.job", (line(90.0, "agent.done", reason, ok=False),), failed=reason)
    assert why(*stand(failed)).id == name
    told = words if words.startswith("E: ") else f"error: {words}"
    logged = Case("wait.job", (line(90.0, "agent.log", told),), failed="status 1")
    assert why(*stand(logged)).id == name

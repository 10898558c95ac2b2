"""Every diagnosis from the trace that its fault leaves, and never one that the trace does not speak for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from provisioner import errors
from provisioner.lifecycle import rest
from provisioner.lifecycle.diagnoses import DIAGNOSES
from provisioner.lifecycle.inputs import Begin, Failed, JobTaken, Progress
from provisioner.lifecycle.plans import KINDS, VERBS, Verb
from provisioner.lifecycle.steps import advance
from provisioner.lifecycle.why import MEANWHILE, why
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.model.trace import Channel, TraceLine
from tests.lifecycle.test_steps import READY, at_step, completing

MAC = Mac("52:54:00:77:00:11")
OS = "an operating system asks for an address only"
ON = 10.0


def line(at: float, event: str, text: str = "", *, ok: bool = True) -> TraceLine:
    channels = {"http": Channel.HTTP, "tftp": Channel.TFTP, "bmc": Channel.BMC, "agent": Channel.AGENT}
    other = Channel.CONSOLE if event.startswith("console") else Channel.DHCP
    channel = channels.get(event.split(".", maxsplit=1)[0], other)
    return TraceLine(at, channel, event, text, MAC, "m1", "r1", ok)


def complaint(text: str) -> TraceLine:
    return line(90.0, "agent.log", text)


WRONG_HASH = "status 1: failed: image has the wrong hash, the disk was wiped"
TOO_SMALL = "status 1: failed: /dev/vda is too small"
POWER = line(ON, "bmc.power.on", "power is on, 1.0 s")
OFFER = line(ON + 5, "dhcp.offer", "DISCOVER on br0: 10.0.0.9 node17 is deploying: debian-12")
ACK = line(ON + 6, "dhcp.ack", "REQUEST on br0: 10.0.0.9 node17 is deploying: debian-12")
LOADER = line(ON + 7, "tftp.done", "undionly.kpxe: 74000 bytes in 0.10 s")
ACK2 = line(ON + 9, "dhcp.ack", "REQUEST on br0: 10.0.0.9 node17 is deploying: debian-12")
SCRIPT = line(ON + 10, "http.script", "boot script: Discovery for node17")
KERNEL = line(ON + 12, "http.sent", "artifacts/discovery/amd64/vmlinuz: 14186432 bytes in 0.59 s")
INITRD = line(ON + 14, "http.sent", "artifacts/discovery/amd64/initrd.img: 24186432 bytes in 1.01 s")
OS_ACK = line(ON + 20, "dhcp.ack", f"REQUEST on br0: 10.0.0.9 {OS}")
FACTS = line(ON + 22, "agent.facts", "discovery system reports: QEMU, 1 disks")
DISK_ON = line(ON, "bmc.finalize.on", "power is on, 1.0 s")
BOOTED = (POWER, OFFER, ACK, LOADER, ACK2, SCRIPT)


@dataclass(frozen=True)
class Case:
    """A run that stands at `step` since `waited` seconds, and what the trace has. `failed`: it ended there so."""

    step: str
    lines: tuple[TraceLine, ...] = ()
    waited: float = 60.0
    failed: str = ""
    secure_boot: bool | None = None
    note: str = ""
    taken: bool = False
    console: tuple[str, ...] = field(default=())
    kind: str = ""


CASES: dict[str, tuple[str, Case]] = {
    "a script of the first start that fails": ("first-boot-hook", Case("wait.phone-home", (
        OS_ACK, line(90.0, "agent.hook", "hooks.first_boot, number 2, ended with status 1", ok=False)),
        failed="hooks.first_boot, number 2, ended with status 1", kind="HookFailed")),
    "a wrong password": (
        "bmc-password", Case("power.off", failed="ipmi://admin@10.0.0.1: refused the password", kind="BmcAuthError")),
    "a certificate that is another one": (
        "bmc-not-trusted", Case("power.off", failed="the TLS certificate is not the one", kind="BmcNotTrusted")),
    "the board of another machine": (
        "bmc-stranger", Case("power.off", failed="10.0.0.1 is not the board of node17 any more", kind="BmcStranger")),
    "an account without the right": (
        "bmc-privilege", Case("power.on", failed="insufficient privilege for Reset", kind="BmcPrivilegeError")),
    "a board that cannot": (
        "bmc-unsupported", Case("boot.network", failed="the board does not offer UefiHttp", kind="BmcUnsupported")),
    "a board that is busy": (
        "bmc-busy", Case("power.off", failed="503: busy, come back later", kind="BmcBusy")),
    "a dead BMC": (
        "bmc-unreachable", Case("power.off", failed="ipmi://admin@10.0.0.1: no answer", kind="BmcUnreachable")),
    "a BMC that obeys in words only": (
        "power-stuck", Case("power.on", failed="power is still off after 120 s", kind="BmcTimeout")),
    "a second DHCP server": ("two-dhcp-servers", Case("wait.dhcp", (
        POWER, OFFER, line(ON + 7, "dhcp.silence", "REQUEST: the client chose another server, 10.0.0.254", ok=False)))),
    "a rogue DHCP server that was heard": ("two-dhcp-servers", Case("wait.loader", (
        POWER, OFFER, line(ON + 7, "dhcp.other-server",
        "another DHCP server, 10.0.0.254 (02:00:00:00:00:01), gave it 10.0.0.9", ok=False)))),
    "a pool without addresses": ("pool-empty", Case("wait.dhcp", (
        POWER, line(ON + 5, "dhcp.pool-empty", "DISCOVER on br0: no address left in lab", ok=False)))),
    "an address that somebody else uses": ("address-conflict", Case("wait.dhcp", (
        POWER, line(ON + 5, "dhcp.conflict", "10.0.0.9: 02:00:00:00:00:01 uses that address already")))),
    "a client that declines": ("declined", Case("wait.facts", (
        *BOOTED, line(ON + 30, "dhcp.decline", "10.0.0.9 is taken by somebody else, says the client", ok=False)))),
    "a flood of new machines on its port": ("too-many-new", Case("wait.dhcp", (
        POWER, line(ON + 5, "dhcp.limited", "too many new machines on this port")))),
    "the wrong port first in the boot order": ("wrong-network", Case("wait.dhcp", (
        POWER, line(ON + 5, "dhcp.silence", "DISCOVER on br9: no subnet of ours on that link", ok=False)))),
    "a subnet that ignores it": ("not-served", Case("wait.dhcp", (
        POWER, line(ON + 5, "dhcp.silence", "nobody enrolled the machine, and the subnet ignores such", ok=False)))),
    "an architecture without a loader": ("no-architecture", Case("wait.loader", (
        POWER, replace(ACK, text="REQUEST on br0: 10.0.0.9 x, but there is no loader for architecture 0x0027")))),
    "a boot override that the BMC ignores": ("boot-override-ignored", Case("wait.dhcp", (POWER, OS_ACK), 90.0)),
    "a switch port that forwards late": ("slow-port", Case("wait.loader", (
        POWER, replace(OFFER, at=ON + 300)), 20.0)),
    "offers that nobody takes": ("offers-not-taken", Case("wait.dhcp", (
        POWER, OFFER, replace(OFFER, at=ON + 9), replace(OFFER, at=ON + 17)))),
    "a cable that is not plugged": ("no-dhcp", Case("wait.dhcp", (POWER,), 320.0)),
    "a loader that is not there": ("loader-missing", Case("wait.loader", (
        POWER, OFFER, ACK, line(ON + 7, "tftp.refused", "x.efi: nothing is served under this name", ok=False)))),
    "a link that loses large packets": ("tftp-stalled", Case("wait.loader", (
        POWER, OFFER, ACK, line(ON + 40, "tftp.failed", "snponly.efi: no answer at byte 1468", ok=False)))),
    "a filter on port 69": ("no-tftp", Case("wait.loader", (POWER, OFFER, ACK))),
    "firmware that does not trust our CA": ("ca-not-trusted", Case("wait.loader", (
        POWER, OFFER, ACK, line(ON + 7, "http.tls-refused", "it does not trust our CA", ok=False)))),
    "firmware that has no CA enrolled": ("ca-not-trusted", Case("wait.loader", (
        POWER, OFFER, replace(ACK, text=f"{ACK.text}; by HTTPS, as it trusts our CA")))),
    "a loader that crashes": ("loader-loop", Case("wait.script", (
        POWER, ACK, LOADER, replace(LOADER, at=ON + 30), replace(LOADER, at=ON + 60)))),
    "an unsigned loader under Secure Boot": (
        "secure-boot", Case("wait.script", (POWER, OFFER, ACK, LOADER), secure_boot=True)),
    "a script that is asked for from another address": ("script-refused", Case("wait.script", (
        POWER, OFFER, ACK, LOADER, ACK2, line(ON + 12, "http.script.refused", "10.9.9.9 asked", ok=False)))),
    "a filter on the HTTP port": ("no-http", Case("wait.script", (POWER, OFFER, ACK, LOADER, ACK2))),
    "a loader of another architecture": ("loader-dead", Case("wait.script", (POWER, OFFER, ACK, LOADER))),
    "artefacts that nobody built": ("artifact-missing", Case("wait.script", (
        POWER, OFFER, ACK, LOADER, ACK2,
        line(ON + 10, "http.script.missing", "discovery: vmlinuz is missing: run `...`", ok=False)))),
    "a fetch that breaks off": ("fetch-broken", Case("wait.facts", (
        *BOOTED, line(ON + 30, "http.stalled", "artifacts/discovery/amd64/initrd.img: stopped reading", ok=False)))),
    "a kernel panic": ("kernel-panic", Case("wait.facts", (*BOOTED, KERNEL),
        console=("[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs",))),
    "too little memory": ("out-of-memory", Case("wait.facts", (*BOOTED, KERNEL),
        console=("Initramfs unpacking failed: write error",))),
    "a loader that cannot fetch the kernel": ("kernel-not-fetched", Case("wait.facts", BOOTED)),
    "a network card without a driver": ("no-driver", Case("wait.facts", (*BOOTED, KERNEL, INITRD), 200.0)),
    "an agent behind a filter": ("agent-unreachable", Case("wait.facts", (*BOOTED, KERNEL, OS_ACK), 90.0)),
    "an image that was damaged": (
        "image-damaged", Case("wait.job", (line(90.0, "agent.done", WRONG_HASH, ok=False),), failed=WRONG_HASH)),
    "a disk that is too small": (
        "disk-too-small", Case("wait.job", (line(90.0, "agent.done", TOO_SMALL, ok=False),), failed=TOO_SMALL)),
    "no disk at all": (
        "no-disk", Case("wait.job", (complaint("failed: disk 'x' is not in this machine"),), failed="status 1")),
    "a disk that fails": (
        "disk-error", Case("wait.job", (complaint("failed: /dev/vda: dd: Input/output error"),), failed="status 1")),
    "an index that has expired": (
        "expired", Case("wait.job", (complaint("E: Release file is not valid yet"),), failed="status 1")),
    "a mirror that is away": (
        "mirror", Case("wait.job", (line(90.0, "agent.log", "E: Failed to fetch Packages"),), failed="status 100")),
    "an installer that hangs at partitioning": (
        "partitioning-stuck", Case("wait.job", (FACTS,), 700.0, note="partition", taken=True)),
    "an agent that vanishes": ("agent-gone", Case("wait.job", (FACTS,), 400.0, taken=True)),
    "a disk without its boot files": (
        "grub-rescue", Case("wait.local-boot", (DISK_ON,), console=("error: no such device: 1234.", "grub rescue>"))),
    "a disk that cannot be booted": (
        "no-bootable-disk", Case("wait.local-boot", (DISK_ON,), console=("Boot failed: not a bootable disk",))),
    "an image without the disk's driver": ("root-not-found", Case("wait.phone-home", (DISK_ON, OS_ACK),
        console=("ALERT!  UUID=7700 does not exist.  Dropping to a shell!",))),
    "a machine that netboots again": (
        "netboots-again", Case("wait.local-boot", (DISK_ON, replace(ACK, text="REQUEST: its disk is next")))),
    "an installed system behind a filter": ("system-silent", Case("wait.phone-home", (DISK_ON, OS_ACK), 120.0)),
    "a system that never comes up": ("nothing-from-disk", Case("wait.local-boot", (DISK_ON,), 200.0)),
    "patience, with everything in order": ("waiting", Case("wait.facts", (*BOOTED, KERNEL), 20.0)),
    "a failure that nobody has seen before": ("unknown", Case("wait.job", (FACTS,), failed="status 77: gremlins")),
}  # fmt: skip


def stand(case: Case) -> tuple[Machine, list[TraceLine], float]:
    """Bring a machine to where the case has it."""
    machine = replace(at_step(case.step), facts=Facts(secure_boot=case.secure_boot))
    assert machine.run
    begun = ON if case.step != "wait.job" else FACTS.at
    lines = [*case.lines, *(line(ON + 40, "console.line", text) for text in case.console)]
    now = max([begun + case.waited, *(each.at + 1 for each in lines)])
    machine = replace(machine, seen=begun, run=replace(machine.run, step_started=now - case.waited, started=0.0))
    assert machine.run
    if case.taken:
        machine, _ = advance(machine, JobTaken("r1"), begun)
    if case.note:
        machine, _ = advance(machine, Progress("r1", None, case.note), begun)
    if case.failed:
        machine, _ = advance(machine, Failed("r1", machine.run.at, case.failed, again=False, kind=case.kind), now)
    return machine, lines, now


@pytest.mark.parametrize(("name", "case"), CASES.values(), ids=CASES.keys())
def test_why(name: str, case: Case) -> None:
    machine, lines, now = stand(case)
    verdict = why(machine, lines, now)
    assert verdict.id == name
    assert verdict.text.startswith("node17")
    assert "{" not in verdict.text + verdict.todo


MISSING = {
    "a loader for amd64": ("tftp.refused", "snponly.efi: nothing is served under this name", "amd64"),
    "one for arm64": ("tftp.refused", "grubaa64.efi: nothing is served under this name", "arm64"),
    "shim for arm64": ("tftp.refused", "shimaa64.efi: nothing is served under this name", "arm64"),
    "a CD for amd64": (
        "http.refused",
        "cdx64.iso: there is no such CD: its loaders are not all served (shimx64.efi, gcdx64.efi)",
        "amd64",
    ),
    "one for arm64 ": (
        "http.refused",
        "cdaa64.iso: there is no such CD: its loaders are not all served (shimaa64.efi, gcdaa64.efi)",
        "arm64",
    ),
}


@pytest.mark.parametrize(("event", "text", "arch"), MISSING.values(), ids=MISSING.keys())
def test_what_brings_a_missing_loader_is_told(event: str, text: str, arch: str) -> None:
    machine, lines, now = stand(Case("wait.loader", (POWER, OFFER, ACK, line(ON + 7, event, text, ok=False))))
    verdict = why(machine, lines, now)
    assert verdict.id == "loader-missing"
    assert verdict.todo == f"`provisionctl loaders install --fetch {arch}`, then `provisionctl loaders list`"


def test_every_diagnosis_has_its_fault() -> None:
    tested = {name for name, _ in CASES.values()} | {"held"}
    assert tested - {"waiting", "unknown"} == {diagnosis.id for diagnosis in DIAGNOSES}
    assert len(DIAGNOSES) >= 30


@pytest.mark.parametrize("step", [s for s in VERBS[Verb.DEPLOY].steps if KINDS[s].signal])
def test_a_run_that_goes_well_is_never_in_trouble(step: str) -> None:
    """Told one line at a time, as it happens: at no point is anything but waiting said."""
    story = (*BOOTED, KERNEL, OS_ACK, FACTS)
    machine = at_step(step)
    assert machine.run
    for seen in range(len(story)):
        now = story[seen].at + 1
        machine = replace(machine, seen=now, run=replace(machine.run, step_started=now - 5, started=0.0))
        assert machine.run
        assert why(machine, story[: seen + 1], now).id == "waiting"


def test_what_was_tried_is_told() -> None:
    machine, _ = advance(READY, Begin("r1", Verb.DEPLOY, "debian-12", "image"), 0.0)
    for _ in range(3):
        assert machine.run
        machine, _ = advance(machine, Failed("r1", 0, "no answer within 5 s", kind="BmcUnreachable"), 9.0)
    verdict = why(machine, [], 10.0)
    assert verdict.id == "bmc-unreachable"
    assert verdict.tried == tuple(f"power.off, try {n}: no answer within 5 s" for n in (1, 2, 3))


def test_at_rest() -> None:
    assert why(READY, [], 0.0).id == "fine"
    held = rest.hold(READY, State.MAINTENANCE, "new fan", 1.0)
    assert why(held, [], 2.0).text == "node17: it is kept back: new fan"


def test_the_page_for_operators_explains_each() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "diagnoses.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", page, re.MULTILINE))
    assert rows == {d.id: re.sub(r"\{(\w+)\}", r"*\1*", d.text) for d in DIAGNOSES}


def test_a_wait_says_how_long_it_may_last() -> None:
    machine = at_step("wait.job")
    verdict = why(machine, [], 10.0)
    assert verdict.text == "node17 waits for its job to end, since 10 s"
    assert verdict.todo == "it has 3590 s left for that"
    assert why(at_step("wait.dhcp"), [], 10.0).todo.endswith(f" s left for that; {MEANWHILE['wait.dhcp']}")
    assert completing(machine)


SAID = {
    "nothing": ((), ()),
    "what tells is shown before what says nothing": (
        ("[  300.10] no network interface with MAC '52:54:00:77:00:31' yet; there are: eth0", "[  300.11] lo", "---"),
        ("[  300.10] no network interface with MAC '52:54:00:77:00:31' yet; there are: eth0",),
    ),
    "what it says again and again is shown once, as it said it last": (
        ("[   10.00] loading drivers", "[   20.00] no link yet", "[   30.00] no link yet", "[   40.00] no link yet"),
        ("[   10.00] loading drivers", "[   40.00] no link yet"),
    ),
    "the last three of many": (
        tuple(f"starts service {name}" for name in ("one", "two", "three", "four", "five")),
        tuple(f"starts service {name}" for name in ("three", "four", "five")),
    ),
    "a prompt": (("grub> ",), ("grub> ",)),
    "a line as long as the trace has them, whole": (("word " * 80,), ("word " * 80,)),
}


@pytest.mark.parametrize(("said", "shown"), SAID.values(), ids=SAID.keys())
def test_what_is_waited_for_is_shown_with_what_its_console_says(said: tuple[str, ...], shown: tuple[str, ...]) -> None:
    machine, lines, now = stand(Case("wait.facts", (*BOOTED, KERNEL), 20.0))
    assert machine.run
    before = line(machine.run.step_started - 1, "console.line", "what the firmware said before this step began")
    spoken = [line(now - 5 + at / 10, "console.line", text) for at, text in enumerate(said)]
    verdict = why(machine, [*lines, before, *spoken], now)
    assert verdict.id == "waiting"
    assert [each.text for each in verdict.evidence] == [KERNEL.text, *shown]


def test_a_port_that_is_not_there_is_shown_with_those_that_are() -> None:
    ports = "[   60.10] no network interface with MAC '52:54:00:77:00:31' yet; there are: eth0 lo"
    machine, lines, now = stand(
        Case("wait.facts", (*BOOTED, KERNEL, INITRD), 200.0, console=(ports, "[   60.20] fan 1"))
    )
    verdict = why(machine, lines, now)
    assert (verdict.id, verdict.evidence[-1].text) == ("no-driver", ports)


RECOVERED = {name: case for name, (diagnosis, case) in CASES.items() if case.lines and not case.failed}


@pytest.mark.parametrize("case", RECOVERED.values(), ids=RECOVERED.keys())
def test_what_is_over_is_not_said_any_more(case: Case) -> None:
    """The same fault, and then everything goes well: the machine works on its job."""
    _, lines, now = stand(case)
    later = [replace(each, at=now + 30 + each.at) for each in (*BOOTED, KERNEL, OS_ACK, FACTS)]
    machine, _ = advance(at_step("wait.job"), JobTaken("r1"), later[-1].at)
    assert machine.run
    machine = replace(machine, run=replace(machine.run, step_started=later[-1].at, started=0.0))
    assert why(machine, [*lines, *later], later[-1].at + 5).id == "waiting"


HARMLESS = (
    "using the mirror http://deb.debian.org/debian",
    "certificate authority: ok",
    "checking sha256 of the image",
    "no space left for the swap partition: none is made",
    "timed out waiting for IPv6, going on",
    "password of root is set",
    "device is busy, trying again",
    "Get:1 http://deb.debian.org 404 packages",
)
REASONS = ("status 77: gremlins", "status 1: late hook 2 failed", "the job on the machine did not end within 3600 s")


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("said", HARMLESS)
def test_what_an_installer_says_on_its_way_is_no_reason(said: str, reason: str) -> None:
    lines = (*BOOTED, KERNEL, OS_ACK, FACTS, line(40.0, "agent.log", said), line(41.0, "agent.log", "going on"))
    waiting, seen, now = stand(Case("wait.job", lines, 100.0, taken=True))
    assert why(waiting, seen, now).id == "waiting"
    failed, seen, now = stand(Case("wait.job", (*lines, line(90.0, "agent.done", reason, ok=False)), failed=reason))
    assert why(failed, seen, now).id == "unknown"


WORDS_OF_OTHERS = (
    "status 1: curl: (22) the server answered 401 Unauthorized",
    "status 1: could not get authorization for the repository",
    "status 100: 503 Service Unavailable",
    "status 1: /dev/sda is still on an old partition table",
    "status 1: connection timed out connecting to ntp.example.org",
)


@pytest.mark.parametrize("reason", WORDS_OF_OTHERS)
def test_words_of_a_job_are_not_taken_for_those_of_a_bmc(reason: str) -> None:
    failed, lines, now = stand(Case("wait.job", (line(90.0, "agent.done", reason, ok=False),), failed=reason))
    assert not why(failed, lines, now).id.startswith(("bmc-", "power-"))


OF_BMC = {
    "BmcAuthError": {"bmc-password"},
    "BmcNotTrusted": {"bmc-not-trusted"},
    "BmcStranger": {"bmc-stranger"},
    "BmcPrivilegeError": {"bmc-privilege"},
    "BmcUnsupported": {"bmc-unsupported"},
    "BmcLacking": {"bmc-unsupported"},
    "BmcBusy": {"bmc-busy"},
    "BmcUnreachable": {"bmc-unreachable"},
    "BmcTimeout": {"power-stuck", "unknown"},
}


@pytest.mark.parametrize("kind", OF_BMC)
@pytest.mark.parametrize("words", ["x", "HTTP 400", "no answer to the password: privilege busy, power is still off"])
def test_it_is_the_kind_of_error_that_counts_and_not_the_words_of_a_driver(kind: str, words: str) -> None:
    error = getattr(errors, kind)(words)
    machine, _ = advance(READY, Begin("r1", Verb.DEPLOY, "debian-12", "image"), 0.0)
    machine, _ = advance(machine, Failed("r1", 0, error.message, again=False, kind=type(error).__name__), 9.0)
    assert why(machine, [], 10.0).id in OF_BMC[kind]

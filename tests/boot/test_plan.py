"""What each client boots, as a table: this is the specification of `next_boot`."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.plan import BootPolicy, by_https, next_boot
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import KINDS, VERBS, Verb
from provisioner.lifecycle.steps import advance
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile, LocalDisk, NoBoot, Plan, RunScript, Trust, Unknown
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, Run, State
from provisioner.model.net import Mac

MAC = Mac("52:54:00:77:00:11")
BIOS = BootClient(MAC, Asker.PXE, Arch.X86_BIOS)
UEFI = BootClient(MAC, Asker.PXE, Arch.EFI_X64)
UEFI_HTTP = BootClient(MAC, Asker.HTTP, Arch.EFI_X64_HTTP)
IPXE = BootClient(MAC, Asker.IPXE, Arch.X86_BIOS)
OLD_IPXE = BootClient(MAC, Asker.IPXE_TFTP, Arch.X86_BIOS)
OS = BootClient(MAC, Asker.OS)

DISCOVER, QUARANTINE, IGNORE = (BootPolicy(u) for u in (Unknown.DISCOVER, Unknown.QUARANTINE, Unknown.IGNORE))


def machine(state: State) -> Machine:
    return Machine("m1", "node17", state, macs=(MAC,))


def running(verb: Verb, step: str) -> Machine:
    """A machine that is at `step` of `verb`."""
    moved, _ = advance(machine(State.READY), Begin("r1", verb, "debian-12", "image"), 0.0)
    assert isinstance(moved.run, Run)
    return replace(moved, run=replace(moved.run, at=VERBS[verb].steps.index(step)))


INSTALLING = "node17 is deploying: debian-12"

U1, U2 = "4c4c4544-0042-3510-8051-b7c04f4e3132", "4c4c4544-0043-3610-8052-b8c04f4e3133"
WITH_UUID = replace(running(Verb.DEPLOY, "wait.dhcp"), facts=Facts(uuid=U1))

CASES: dict[str, tuple[BootClient, Machine | None, BootPolicy, Plan]] = {
    "an unknown BIOS machine gets a loader": (
        BIOS, None, DISCOVER, LoadFile("undionly.kpxe", "unknown machine: discover it")),
    "an unknown UEFI machine gets the UEFI loader": (
        UEFI, None, DISCOVER, LoadFile("snponly.efi", "unknown machine: discover it")),
    "UEFI HTTP boot gets the same loader by URL": (
        UEFI_HTTP, None, DISCOVER, LoadFile("snponly.efi", "unknown machine: discover it")),
    "on arm64 that is a CD at once: there is no iPXE, and GRUB as it is signed fetches nothing by HTTP": (
        UEFI_HTTP._replace(arch=Arch.EFI_ARM64_HTTP), None, DISCOVER,
        LoadFile("cdaa64.iso", "unknown machine: discover it")),
    "firmware that refused a loader gets the signed one": (
        UEFI._replace(secure_boot=True), None, DISCOVER, LoadFile("shimx64.efi", "unknown machine: discover it")),
    "by HTTP that is a CD, since the signed GRUB knows no HTTP": (
        UEFI_HTTP._replace(secure_boot=True), None, DISCOVER, LoadFile("cdx64.iso", "unknown machine: discover it")),
    "what discovery saw of Secure Boot outweighs what firmware seemed to refuse": (
        UEFI._replace(secure_boot=True),
        replace(running(Verb.DEPLOY, "wait.dhcp"), facts=Facts(secure_boot=False)), DISCOVER,
        LoadFile("snponly.efi", INSTALLING)),
    "iPXE gets the script": (IPXE, None, DISCOVER, RunScript("unknown machine: discover it")),
    "iPXE without HTTP loads one that has it": (
        OLD_IPXE, None, DISCOVER, LoadFile("undionly.kpxe", "unknown machine: discover it")),
    "unknown machines can be ignored": (
        BIOS, None, IGNORE, NoBoot("unknown machine, and unknown machines are ignored here")),
    "or kept in quarantine: an address, nothing to boot": (
        BIOS, None, QUARANTINE, LocalDisk("unknown machine, and unknown machines are kept in quarantine here")),
    "a machine that asks by another's port, and says so by its UUID": (
        BIOS._replace(uuid=U2), WITH_UUID, DISCOVER,
        LocalDisk(f"a port of node17, but it is another machine that asks: its UUID is {U2}")),
    "its own UUID in the other byte order": (
        BIOS._replace(uuid=str(UUID(bytes=UUID(U1).bytes_le))), WITH_UUID, DISCOVER,
        LoadFile("undionly.kpxe", INSTALLING)),
    "an operating system is given nothing to boot, even mid-install": (
        OS, running(Verb.DEPLOY, "wait.job"), DISCOVER, LocalDisk("an operating system asks for an address only")),
    "a machine to install gets a loader once its BMC was told": (
        BIOS, running(Verb.DEPLOY, "wait.dhcp"), DISCOVER, LoadFile("undionly.kpxe", INSTALLING)),
    "the machine is faster than its BMC": (
        IPXE, running(Verb.DEPLOY, "power.on"), DISCOVER, RunScript(INSTALLING)),
    "a machine that restarts in the middle of its job comes back to the job": (
        IPXE, running(Verb.DEPLOY, "wait.job"), DISCOVER, RunScript(INSTALLING)),
    "before the power is off it is still the old system's turn": (
        IPXE, running(Verb.DEPLOY, "power.off"), DISCOVER,
        LocalDisk("node17 is deploying, in power: its disk is next")),
    "an installed machine boots its disk even when it asks the network": (
        IPXE, running(Verb.DEPLOY, "wait.local-boot"), DISCOVER,
        LocalDisk("node17 is deploying, in local-boot: its disk is next")),
    "an active machine never gets a loader": (
        BIOS, machine(State.ACTIVE), DISCOVER, LocalDisk("node17 is active: nothing was asked for it")),
    "nor does a ready one that nobody asked to install": (
        UEFI, machine(State.READY), DISCOVER, LocalDisk("node17 is ready: nothing was asked for it")),
    "an enrolled machine without facts is discovered": (
        UEFI, machine(State.ENROLLED), DISCOVER, LoadFile("snponly.efi", "node17 is enrolled: discover it")),
    "unless discovery is off": (
        UEFI, machine(State.ENROLLED), IGNORE, LocalDisk("node17 is enrolled: nothing was asked for it")),
    "firmware that does not say its architecture gets no guess": (
        BootClient(MAC, Asker.PXE), None, DISCOVER,
        LocalDisk("unknown machine: discover it, but its request does not say which architecture it is (option 93)")),
    "an architecture without a loader boots its disk": (
        BootClient(MAC, Asker.PXE, 0x27), None, DISCOVER,
        LocalDisk("unknown machine: discover it, but there is no loader for architecture 0x0027")),
    "the operator's loader wins": (
        UEFI, None, BootPolicy(loaders={Arch.EFI_X64: "ipxe.efi"}),
        LoadFile("ipxe.efi", "unknown machine: discover it")),
    "with Secure Boot only what was signed is offered": (
        UEFI, replace(running(Verb.DEPLOY, "wait.dhcp"), facts=Facts(secure_boot=True)), DISCOVER,
        LoadFile("shimx64.efi", INSTALLING)),
    "and where nothing was signed it is said": (
        BIOS, replace(running(Verb.DEPLOY, "wait.dhcp"), facts=Facts(secure_boot=True)), DISCOVER,
        LocalDisk(f"{INSTALLING}, but there is no loader for architecture 0x0000 that Secure Boot starts")),
}  # fmt: skip


@pytest.mark.parametrize(("client", "known", "policy", "plan"), CASES.values(), ids=CASES.keys())
def test_next_boot(client: BootClient, known: Machine | None, policy: BootPolicy, plan: Plan) -> None:
    assert next_boot(client, known, policy) == plan


TRUSTED: dict[str, tuple[Asker, tuple[Trust, ...], bool]] = {
    "nobody said anything": (Asker.HTTP, (), False),
    "nor is anything said here": (Asker.HTTP, (Trust.UNSAID, Trust.UNSAID), False),
    "firmware that trusts us": (Asker.HTTP, (Trust.UNSAID, Trust.FIRMWARE), True),
    "its iPXE does not": (Asker.IPXE, (Trust.FIRMWARE,), False),
    "an iPXE that was told of our CA": (Asker.IPXE, (Trust.IPXE,), True),
    "firmware beside it": (Asker.HTTP, (Trust.IPXE,), True),
    "the more specific word counts": (Asker.HTTP, (Trust.NOBODY, Trust.FIRMWARE), False),
    "TFTP has no TLS": (Asker.PXE, (Trust.IPXE,), False),
}


@pytest.mark.parametrize(("asker", "said", "secure"), TRUSTED.values(), ids=TRUSTED.keys())
def test_who_is_given_https(asker: Asker, said: tuple[Trust, ...], secure: bool) -> None:
    assert by_https(asker, *said) is secure


DIRECT = "artifacts/iso/amd64/image.iso"
STARTS_ITSELF: dict[str, tuple[BootClient, Machine, Plan]] = {
    "UEFI HTTP boot starts an ISO by itself": (
        UEFI_HTTP, running(Verb.LIVE, "wait.dhcp"), LoadFile(DIRECT, "node17 is inspecting: debian-12", direct=True)),
    "PXE cannot": (UEFI, running(Verb.LIVE, "wait.dhcp"), LoadFile("snponly.efi", "node17 is inspecting: debian-12")),
    "a machine that nothing was asked for boots its disk": (
        UEFI_HTTP, machine(State.ACTIVE), LocalDisk("node17 is active: nothing was asked for it")),
}  # fmt: skip


@pytest.mark.parametrize(("client", "known", "plan"), STARTS_ITSELF.values(), ids=STARTS_ITSELF.keys())
def test_what_needs_no_loader(client: BootClient, known: Machine, plan: Plan) -> None:
    assert next_boot(client, known, DISCOVER, DIRECT) == plan


@given(
    asker=st.sampled_from(Asker),
    arch=st.none() | st.integers(0, 65535),
    state=st.sampled_from(
        [State.ACTIVE, State.MAINTENANCE, State.QUARANTINED, State.RETIRED, State.EXTERNAL, State.READY]
    ),
    unknown=st.sampled_from(Unknown),
)
def test_a_resting_machine_is_never_sent_to_an_installer(
    asker: Asker, arch: int, state: State, unknown: Unknown
) -> None:
    plan = next_boot(BootClient(MAC, asker, arch), machine(state), BootPolicy(unknown))
    assert isinstance(plan, LocalDisk)


@pytest.mark.parametrize("step", [s for s in VERBS[Verb.DEPLOY].steps if not KINDS[s].network])
def test_outside_its_network_steps_a_run_boots_the_disk(step: str) -> None:
    assert isinstance(next_boot(IPXE, running(Verb.DEPLOY, step), DISCOVER), LocalDisk)

"""What would be said to a packet: the daemon's own rules, asked without a daemon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.cli.question import STATES, Desk, Told, arch_number
from provisioner.dhcp.asking import Ask, packet_of
from provisioner.dhcp.identify import identify
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import decode, encode
from provisioner.dhcp.subnets import Dhcp, Mode, Reservation, Subnet
from provisioner.model.boot import Arch, Asker, BootClient, Trust, Unknown
from provisioner.model.catalog import Bootenv, Files, Kind
from provisioner.model.net import Mac

MAC = Mac("52:54:00:00:00:17")
SUBNET = Subnet(network="10.0.8.0/24", interface="eth1", pools=("10.0.8.100-10.0.8.200",))
UEFI = Ask(MAC, Arch.EFI_X64)
IPXE = Ask(MAC, Arch.EFI_X64, user_class="iPXE")


DEBIAN = Bootenv("debian-12", "Debian 12", Kind.IMAGE, "debian", {})
ISO = Bootenv("iso", "An ISO", Kind.LIVE, "iso", {"amd64": Files(http="image.iso")})
HTTP = Ask(MAC, Arch.EFI_X64_HTTP, "HTTPClient")


def told(ask: Ask, taken_for: str = "", bootenv: Bootenv = DEBIAN, **subnet: object) -> dict[str, str]:
    config = Dhcp(subnets=(Subnet(network="10.0.8.0/24", interface="eth1", pools=SUBNET.pools, **subnet),))  # type: ignore[arg-type]
    found = Desk(config, taken_for, bootenv).ask(packet_of(ask), "eth1", 0.0)
    return {"asked": found.asked, **dict(found.pairs)}


CLIENTS = {
    "UEFI": (UEFI, BootClient(MAC, Asker.PXE, Arch.EFI_X64)),
    "BIOS": (Ask(MAC, 0), BootClient(MAC, Asker.PXE, Arch.X86_BIOS)),
    "HTTP boot": (Ask(MAC, 0x10, "HTTPClient"), BootClient(MAC, Asker.HTTP, Arch.EFI_X64_HTTP)),
    "iPXE": (IPXE, BootClient(MAC, Asker.IPXE, Arch.EFI_X64)),
    "an operating system": (Ask(MAC), BootClient(MAC, Asker.OS)),
    "a UUID in SMBIOS order": (
        Ask(MAC, 0, uuid="00112233-4455-4677-8899-aabbccddeeff"),
        BootClient(MAC, Asker.PXE, 0, uuid="00112233-4455-4677-8899-aabbccddeeff"),
    ),
}


@pytest.mark.parametrize(("ask", "client"), CLIENTS.values(), ids=CLIENTS.keys())
def test_the_packet_says_what_was_asked(ask: Ask, client: BootClient) -> None:
    assert identify(decode(encode(packet_of(ask)))) == client


PLANS = {
    "nobody knows it": (UEFI, "", "load snponly.efi: unknown machine: discover it"),
    "it is installed": (UEFI, "active", "boot the local disk: the machine is active: nothing was asked for it"),
    "it is being installed": (UEFI, "deploying", "load snponly.efi: the machine is deploying: debian-12"),
    "its disk is next": (
        UEFI,
        "finalizing",
        "boot the local disk: the machine is deploying, in local-boot: its disk is",
    ),
    "its loader asks": (IPXE, "deploying", "run the machine's boot script: the machine is deploying: debian-12"),
    "an operating system": (Ask(MAC), "active", "boot the local disk: an operating system asks for an address only"),
}


@pytest.mark.parametrize(("ask", "taken_for", "plan"), PLANS.values(), ids=PLANS.keys())
def test_plans(ask: Ask, taken_for: str, plan: str) -> None:
    assert told(ask, taken_for)["plan"].startswith(plan)


def test_what_firmware_starts_by_itself_is_told() -> None:
    name = "artifacts/iso/amd64/image.iso"
    assert told(HTTP, "deploying", ISO)["plan"] == f"load {name}: the machine is deploying: iso"
    assert f"67 boot-file: http://10.0.8.1:8080/{name}" in told(HTTP, "deploying", ISO)["options"].splitlines()
    assert told(HTTP, "discovered", ISO)["plan"].startswith("load snponly.efi")


@pytest.mark.parametrize("state", STATES)
def test_an_installed_machine_never_gets_a_loader_unasked(state: str) -> None:
    said = told(UEFI, state)
    assert ("file" in said) == (state in {"discovered", "enrolled", "deploying"})


def test_the_answer_names_address_and_file() -> None:
    said = told(UEFI)
    assert said["asked"] == "DISCOVER from 52:54:00:00:00:17 on eth1"
    assert said["answer"].startswith("OFFER 10.0.8.100, ")
    assert (said["next server"], said["file"]) == ("10.0.8.1", "snponly.efi")
    assert "1 subnet-mask: 255.255.255.0" in said["options"].splitlines()


SILENCES: dict[str, tuple[Ask, dict[str, object], str]] = {
    "unknown machines are ignored": (UEFI, {"unknown": Unknown.IGNORE}, "none: nobody enrolled the machine"),
    "the subnet is off": (UEFI, {"mode": Mode.OFF}, "none: the subnet is switched off"),
    "another network": (Ask(MAC, 7, relay="10.9.0.1"), {}, "none: no subnet of ours on that link"),
}


@pytest.mark.parametrize(("ask", "subnet", "says"), SILENCES.values(), ids=SILENCES.keys())
def test_silence_has_its_reason(ask: Ask, subnet: dict[str, object], says: str) -> None:
    assert told(ask, **subnet)["answer"].startswith(says)


def test_firmware_that_lies_is_told() -> None:
    assert told(Ask(MAC, Arch.EFI_BC))["read as"].startswith(
        "pxe, architecture 0x0007 (efi-x64), which said 0x0009: x86-64 firmware says EFI byte code"
    )


def test_a_reservation_of_the_configuration_counts() -> None:
    config = Dhcp(subnets=(SUBNET,), reservations=(Reservation(mac=MAC, address="10.0.8.7"),))
    found = dict(Desk(config).ask(packet_of(UEFI), "eth1", 0.0).pairs)
    assert found["machine"] == "known: it has a reservation"
    assert found["answer"].startswith("OFFER 10.0.8.7, ")


def test_a_request_meets_what_the_discover_left() -> None:
    desk = Desk(Dhcp(subnets=(SUBNET,)))
    desk.ask(packet_of(UEFI), "eth1", 0.0)
    request = packet_of(Ask(MAC, Arch.EFI_X64, kind=Type.REQUEST))
    request = request._replace(options=request.options | {50: bytes((10, 0, 8, 100)), 54: bytes((10, 0, 8, 1))})
    found: Told = desk.ask(request, "eth1", 1.0)
    assert dict(found.pairs)["answer"].startswith("ACK 10.0.8.100")


ARCHES = {"7": 7, "0x10": 16, "efi-x64": 7, "bios": 0, "x86": None, "-1": None, "70000": None}


@pytest.mark.parametrize(("text", "number"), ARCHES.items())
def test_architectures_by_number_and_name(text: str, number: int | None) -> None:
    assert arch_number(text) == number


SECURE = {
    "by TFTP": (UEFI, "load shimx64.efi: ", "shimx64.efi"),
    "by HTTP": (HTTP, "load cdx64.iso: ", "https://10.0.8.1:8443/boot/cdx64.iso"),
    "a BIOS of the same capture, which knows no signatures": (
        Ask(MAC, Arch.X86_BIOS), "load undionly.kpxe: ", "undionly.kpxe"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "plan", "file"), SECURE.values(), ids=SECURE.keys())
def test_secure_boot_and_https(ask: Ask, plan: str, file: str) -> None:
    subnet = replace(SUBNET, https=Trust.FIRMWARE, server_address="10.0.8.1")
    desk = Desk(Dhcp(subnets=(subnet,)), web=(8080, 8443), secure_boot=True)
    found = dict(desk.ask(packet_of(ask), "eth1", 0.0).pairs)
    assert found["plan"].startswith(plan)
    assert f"boot-file: {file}" in found["options"]
    assert found["answer"].endswith("; by HTTPS, as it trusts our CA") is file.startswith("https:")

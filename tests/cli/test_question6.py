"""What would be said to a DHCPv6 message: the daemon's own rules, asked without a daemon."""

from __future__ import annotations

import pytest

from provisioner.cli.question6 import Desk6, message_of, source_of
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.options import Type as Type4
from provisioner.dhcp.subnets import Dhcp
from provisioner.dhcp.v6.message import Message, Type, decode, encode
from provisioner.dhcp.v6.options import Opt
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.model.net import Mac
from tests.dhcp.v6.clients import ia

MAC = Mac("52:54:00:00:00:17")
UUID = "77000000-0000-4000-8000-000000000017"
UEFI = Ask(MAC, 7)
SOURCE = source_of(bytes.fromhex(MAC.replace(":", "")))


def told(ask: Ask | Message, taken_for: str = "", interface: str = "eth1", **subnet: object) -> dict[str, str]:
    base = {"network": "fd00::/64", "interface": "eth1", "pools": ("fd00::100-fd00::1ff",), "dns": ("fd00::2",)}
    config = Dhcp(subnets6=(Subnet6(**{**base, **subnet}),))  # type: ignore[arg-type]
    message = message_of(ask) if isinstance(ask, Ask) else ask
    found = Desk6(config, taken_for).ask(decode(encode(message)), interface, 0.0, SOURCE)
    return {"asked": found.asked, **dict(found.pairs)}


FILES = {
    "UEFI PXE": (UEFI, "", "tftp://[fd00::1]/snponly.efi"),
    "HTTP boot": (Ask(MAC, 0x10, "HTTPClient"), "", "http://[fd00::1]:8080/files/snponly.efi"),
    "iPXE": (Ask(MAC, 7, user_class="iPXE"), "", f"http://[fd00::1]:8080/boot/{MAC}/script.ipxe"),
    "one that is installed": (UEFI, "active", None),
    "an operating system": (Ask(MAC), "", None),
}


@pytest.mark.parametrize(("ask", "taken_for", "file"), FILES.values(), ids=FILES.keys())
def test_files(ask: Ask, taken_for: str, file: str | None) -> None:
    assert told(ask, taken_for).get("file") == file


def test_an_answer_in_full() -> None:
    assert told(Ask(MAC, 0x10, "HTTPClient", uuid=UUID)) == {
        "asked": "SOLICIT from 52:54:00:00:00:17 on eth1",
        "read as": f"http, architecture 0x0010 (efi-x64-http), UUID {UUID}",
        "subnet": "fd00::/64, authoritative, unknown machines: discover",
        "machine": "unknown",
        "plan": "load snponly.efi: unknown machine: discover it",
        "answer": "ADVERTISE fd00::100, to fe80::5054:ff:fe00:17 port 546: unknown machine: discover it",
        "file": "http://[fd00::1]:8080/files/snponly.efi",
        "options": "\n".join(
            (
                "1 client-id: 00 04 77 00 00 00 00 00 40 00 80 00 00 00 00 00 00 17",
                "2 server-id: 00 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
                "7 preference: 255",
                "3 ia-na: 00000017: fd00::100 for 3600 s",
                "59 boot-url: http://[fd00::1]:8080/files/snponly.efi",
                "16 vendor-class: 343 HTTPClient",
                "23 dns: fd00::2",
            )
        ),
    }


def test_other_messages() -> None:
    assert told(Ask(MAC, kind=Type4.REQUEST))["answer"].startswith("REPLY fd00::100, to ")
    assert told(Ask(MAC, kind=Type4.INFORM))["asked"].startswith("INFORMATION_REQUEST from ")
    by_relay = told(Ask(MAC, 7, relay="fd00::fe"), interface="")
    assert by_relay["asked"] == f"SOLICIT from {MAC} by relay fd00::fe"
    release = Message(Type.RELEASE, 1, ((Opt.CLIENT_ID, b"\0\2x"), (Opt.SERVER_ID, b"another"), ia(1, "fd00::100")))
    assert "nothing that the machine holds" in told(release)["answer"]


def test_silence_and_refusal() -> None:
    assert told(UEFI, mode=Mode6.OFF)["answer"] == "none: the subnet is switched off"
    assert told(UEFI, interface="eth9")["subnet"] == "none of ours"
    full = told(UEFI, pools=("fd00::1",), known_spare=100)
    assert full["options"].splitlines()[-2] == "3 ia-na: 00000017: 2 no address left"


def test_a_reservation_is_known() -> None:
    config = Dhcp(
        subnets6=(Subnet6(network="fd00::/64", interface="eth1", pools=("fd00::100",), boot_parameters=("7", "x")),),
        reservations6=(Reservation6(address="fd00::50", uuid=UUID),),
    )
    desk = Desk6(config)
    found = desk.ask(message_of(Ask(MAC, 7, uuid=UUID)), desk.interface, 0.0, SOURCE)
    pairs = dict(found.pairs)
    assert (pairs["machine"], found.silent) == ("known: it has a reservation", False)
    assert "ADVERTISE fd00::50" in pairs["answer"]
    assert "60 boot-parameters: 7 x" in pairs["options"]

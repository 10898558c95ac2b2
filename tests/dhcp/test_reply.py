"""What stands in a reply: boot information for each kind of client, options, order."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.dhcp.case import Arrival, Reply
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Overrides, Reservation
from provisioner.model.boot import BootClient, LoadFile, LocalDisk, Plan, RunScript, Trust
from tests.dhcp.clients import (
    BIOS,
    DIRECT,
    HTTP,
    IPXE,
    MAC,
    OTHER_MAC,
    PXE_LIST,
    UEFI,
    US,
    acquire,
    ask,
    discover,
    ip,
    packet,
    request,
    said,
    site,
    subnet,
)

SCRIPT = f"http://{US}:8080/boot/{MAC}/script.ipxe".encode()
IPXE_TFTP = UEFI | {Opt.USER_CLASS: b"iPXE", Opt.IPXE: b"\x15\1\1"}


def load(_: BootClient) -> Plan:
    return LoadFile("snponly.efi", "chain")


ISO = "artifacts/iso/amd64/image.iso"


def iso(_: BootClient) -> Plan:
    return LoadFile(ISO, "live", direct=True)


def script(_: BootClient) -> Plan:
    return RunScript("install")


def disk(_: BootClient) -> Plan:
    return LocalDisk("installed")


BOOTS: dict[str, tuple[Any, dict[int, bytes], tuple[bytes, bytes, str]]] = {
    "UEFI loads a file by TFTP": (load, UEFI, (b"snponly.efi", b"snponly.efi", US)),
    "BIOS loads a file by TFTP": (load, BIOS, (b"snponly.efi", b"snponly.efi", US)),
    "UEFI HTTP boot gets a URL, in the option only": (
        load,
        HTTP,
        (b"", f"http://{US}:8080/files/snponly.efi".encode(), US),
    ),
    "iPXE loads a file by TFTP": (load, IPXE, (b"snponly.efi", b"snponly.efi", US)),
    "iPXE runs the machine's script": (script, IPXE, (SCRIPT, SCRIPT, US)),
    "iPXE without HTTP cannot": (script, IPXE_TFTP, (b"", b"", "0.0.0.0")),
    "firmware runs no scripts": (script, UEFI, (b"", b"", "0.0.0.0")),
    "HTTP firmware runs no scripts": (script, HTTP, (b"", b"", "0.0.0.0")),
    "local disk: no file": (disk, UEFI, (b"", b"", "0.0.0.0")),
    "an operating system boots nothing": (load, {Opt.REQUEST_LIST: PXE_LIST}, (b"", b"", "0.0.0.0")),
}


@pytest.mark.parametrize(("decide", "client", "expected"), BOOTS.values(), ids=BOOTS.keys())
def test_boot(decide: Any, client: dict[int, bytes], expected: tuple[bytes, bytes, str]) -> None:
    found = said(ask(site(decide=decide), discover(options=client)))
    file, option, server = expected
    assert (found.file.rstrip(b"\0"), found.options.get(Opt.BOOT_FILE, b""), found.siaddr) == (file, option, ip(server))
    assert found.yiaddr == ip("10.0.0.100")


ELSEWHERE = {
    "boot-file-name": "pxelinux.0",
    "tftp-server-name": "10.0.0.9",
    "tftp-servers": "10.0.0.9",
    "vendor-encapsulated-options": "hex:0601",
    "pxelinux-path-prefix": "lab/",
}
ALL = {Opt.REQUEST_LIST: bytes((43, 66, 67, 150, 210))}
NAMED: dict[str, tuple[Any, dict[int, bytes], dict[int, bytes]]] = {
    "UEFI that boots its disk": (disk, UEFI | ALL, {}),
    "BIOS that boots its disk": (disk, BIOS | ALL, {}),
    "a loader that boots its disk": (disk, IPXE | ALL, {}),
    "UEFI that loads a file of ours": (
        load, UEFI | ALL, {66: US.encode(), 67: b"snponly.efi", 43: b"\6\1", 210: b"lab/"},
    ),
    "HTTP firmware": (
        load, HTTP | ALL, {67: f"http://{US}:8080/files/snponly.efi".encode(), 43: b"\6\1", 210: b"lab/"},
    ),
    "a telephone": (
        disk, ALL, {66: b"10.0.0.9", 67: b"pxelinux.0", 150: bytes((10, 0, 0, 9)), 43: b"\6\1", 210: b"lab/"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("decide", "client", "told"), NAMED.values(), ids=NAMED.keys())
def test_options_of_the_settings_do_not_say_what_a_machine_boots(
    decide: Any, client: dict[int, bytes], told: dict[int, bytes]
) -> None:
    found = said(ask(site(subnet(options=ELSEWHERE), decide=decide), discover(options=client)))
    assert {code: value for code, value in found.options.items() if code in (43, 66, 67, 150, 210)} == told


def test_http_firmware_is_answered_as_such() -> None:
    assert said(ask(site(), discover(options=HTTP))).options[Opt.VENDOR_CLASS] == b"HTTPClient"
    assert Opt.VENDOR_CLASS not in said(ask(site(), discover(options=UEFI))).options


def test_ipxe_is_told_not_to_wait_for_a_proxy() -> None:
    assert said(ask(site(), discover(options=IPXE))).options[Opt.IPXE] == b"\xb0\1\1"
    assert Opt.IPXE not in said(ask(site(), discover(options=UEFI))).options


def test_the_file_by_option_alone_where_the_header_is_too_short() -> None:
    long = "x" * 130 + ".efi"
    found = said(ask(site(decide=lambda _: LoadFile(long, "")), discover(options=UEFI)))
    assert found.file == bytes(128)
    assert found.options[Opt.BOOT_FILE] == long.encode()


ANSWERED_ON = {
    "the address that the request was sent to": (Arrival("eth0", ip("10.0.0.9"), unicast=True), {}, "10.0.0.9"),
    "broadcast: the interface's address in that network": (Arrival("eth0", ip("192.168.0.1")), {}, US),
    "the address that the subnet names": (DIRECT, {"server_address": "10.0.0.8"}, "10.0.0.8"),
}


@pytest.mark.parametrize(("arrival", "changes", "us"), ANSWERED_ON.values(), ids=ANSWERED_ON.keys())
def test_urls_and_next_server_are_as_the_client_sees_us(arrival: Arrival, changes: dict[str, Any], us: str) -> None:
    here = site(subnet(http_port=80, **changes))
    here.addresses = {"eth0": (ip("192.168.0.1"), ip(US))}
    found = said(ask(here, discover(options=HTTP), arrival))
    assert found.options[Opt.BOOT_FILE] == f"http://{us}:80/files/snponly.efi".encode()
    assert found.siaddr == ip(us)
    assert found.options[Opt.SERVER_ID] == ip(us).to_bytes(4, "big")


LEAVES_FROM = {
    "the address that was asked, whatever the subnet names": (
        discover(giaddr="10.0.0.254"),
        Arrival("eth0", ip("10.0.0.9"), ("10.0.0.254", 67), unicast=True),
        {"server_address": US},
        "10.0.0.9",
    ),
    "the address that was asked, not the relay's own (RFC 5107)": (
        discover(giaddr="10.0.0.254", options={Opt.RELAY_AGENT: b"\x0b\4" + bytes((10, 0, 0, 254))}),
        Arrival("eth0", ip(US), ("10.0.0.254", 67), unicast=True),
        {},
        US,
    ),
    "broadcast: our address in that network": (discover(), Arrival("eth0", ip("192.168.0.1")), {}, US),
    "broadcast: the one that the subnet names": (
        discover(),
        Arrival("eth0", ip(US)),
        {"server_address": "192.168.0.1"},
        "192.168.0.1",
    ),
    "broadcast, and the one that the subnet names is a router's": (
        discover(),
        DIRECT,
        {"server_address": "10.0.0.7"},
        US,
    ),
    "a refusal": (
        request("10.9.9.9"),
        Arrival("eth0", ip("10.0.0.9"), ("10.0.0.254", 67), unicast=True),
        {"server_address": US},
        "10.0.0.9",
    ),
}


@pytest.mark.parametrize(("question", "arrival", "changes", "source"), LEAVES_FROM.values(), ids=LEAVES_FROM.keys())
def test_which_address_a_reply_leaves_from(
    question: Packet, arrival: Arrival, changes: dict[str, Any], source: str
) -> None:
    here = site(subnet(**changes))
    here.addresses, here.ours = {"eth0": (ip("192.168.0.1"), ip(US))}, frozenset({ip("192.168.0.1"), ip(US)})
    found = ask(here, question, arrival)
    assert isinstance(found, Reply)
    assert found.us == ip(source)


ARCHES = {
    "x86 BIOS": (b"\0\0", b"PXEClient:Arch:00000:UNDI:002001", "bios"),
    "x86-64 UEFI": (b"\0\7", b"PXEClient:Arch:00007:UNDI:003000", "efi-x64"),
    "ia32 UEFI": (b"\0\6", b"PXEClient:Arch:00006:UNDI:003000", "efi-ia32"),
    "arm64 UEFI": (b"\0\x0b", b"PXEClient:Arch:00011:UNDI:003000", "efi-arm64"),
    "arm32 UEFI": (b"\0\x0a", b"PXEClient:Arch:00010:UNDI:003000", "efi-arm32"),
    "riscv64 UEFI": (b"\0\x1b", b"PXEClient:Arch:00027:UNDI:003000", "efi-riscv64"),
    "ppc64": (b"\0\x0e", b"PXEClient:Arch:00014:UNDI:002001", "ppc64"),
    "x86-64 HTTP": (b"\0\x10", b"HTTPClient:Arch:00016:UNDI:003000", "efi-x64-http"),
    "arm64 HTTP": (b"\0\x13", b"HTTPClient:Arch:00019:UNDI:003000", "efi-arm64-http"),
    "BIOS HTTP": (b"\0\x14", b"HTTPClient:Arch:00020:UNDI:002001", "bios-http"),
}


@pytest.mark.parametrize(("number", "vendor", "name"), ARCHES.values(), ids=ARCHES.keys())
def test_loader_by_architecture(number: bytes, vendor: bytes, name: str) -> None:
    here = site(subnet(loader={name: f"{name}.own"}))
    options = {Opt.CLIENT_ARCH: number, Opt.VENDOR_CLASS: vendor, Opt.REQUEST_LIST: PXE_LIST}
    assert said(ask(here, discover(options=options))).options[Opt.BOOT_FILE].endswith(f"{name}.own".encode())


def overridden(*, in_subnet: bool, in_profile: bool, in_machine: bool) -> Site:
    """A site where the loader is named in these places."""
    one = {"efi-x64": "subnet.efi"} if in_subnet else {}
    two = {"efi-x64": "profile.efi"} if in_profile else {}
    three = {"efi-x64": "machine.efi"} if in_machine else {}
    known = Reservation(mac=MAC, profile="gpu", loader=three)
    return site(subnet(loader=one), known=(known,), profiles={"gpu": Overrides(loader=two)})


PRECEDENCE = {
    "the plan": ((False, False, False), b"snponly.efi"),
    "the subnet over the plan": ((True, False, False), b"subnet.efi"),
    "the profile over the subnet": ((True, True, False), b"profile.efi"),
    "the machine over all": ((True, True, True), b"machine.efi"),
}


@pytest.mark.parametrize(("places", "file"), PRECEDENCE.values(), ids=PRECEDENCE.keys())
def test_who_names_the_loader(places: tuple[bool, bool, bool], file: bytes) -> None:
    here = overridden(in_subnet=places[0], in_profile=places[1], in_machine=places[2])
    assert said(ask(here, discover(options=UEFI))).options[Opt.BOOT_FILE] == file
    stranger = said(ask(here, discover(OTHER_MAC, UEFI))).options[Opt.BOOT_FILE]
    assert stranger == (b"subnet.efi" if places[0] else b"snponly.efi")


SECOND: dict[str, list[Packet]] = {
    "offer and acknowledgement": [discover(options=IPXE), request("10.0.1.100", options=IPXE, server=US)],
    "renewal": [request("10.0.1.100", options=IPXE, server=US), request(ciaddr="10.0.1.100", options=IPXE)],
    "rapid commit": [discover(options=IPXE | {Opt.RAPID_COMMIT: b""})],
    "BOOTP": [packet(0, options=IPXE)],
}


@pytest.mark.parametrize("questions", SECOND.values(), ids=SECOND.keys())
def test_on_a_shared_network_a_machine_boots_as_the_subnet_of_its_address_says(questions: list[Packet]) -> None:
    """From our address there, too: it may have no way to the other one."""
    asked: list[BootClient] = []

    def decide(client: BootClient) -> Plan:
        asked.append(client)
        return RunScript("go on")

    wire: dict[str, Any] = {"shared_network": "lab", "rapid_commit": True, "bootp": True, "pools": ()}
    there = subnet(network="10.0.1.0/24", router=(), http_port=81, **wire)
    fixed = Reservation(mac=MAC, address="10.0.1.100")
    here = site(subnet(http_port=80, unknown="ignore", **wire), there, known=(fixed,), decide=decide)
    here.addresses = {"eth0": (ip(US), ip("10.0.1.1"))}
    for question in questions:
        found = said(ask(here, question))
        assert found.yiaddr == ip("10.0.1.100")
        script = found.file.rstrip(b"\0") or found.options[Opt.BOOT_FILE]
        assert script == f"http://10.0.1.1:81/boot/{MAC}/script.ipxe".encode()
    assert len(asked) == len(questions)


HTTPS: dict[str, tuple[tuple[Trust, Trust, Trust], dict[int, bytes], str]] = {
    "the subnet's firmware trusts us": ((Trust.FIRMWARE, Trust.UNSAID, Trust.UNSAID), HTTP, "files/snponly.efi"),
    "the profile's": ((Trust.UNSAID, Trust.FIRMWARE, Trust.UNSAID), HTTP, "files/snponly.efi"),
    "this machine's": ((Trust.UNSAID, Trust.UNSAID, Trust.FIRMWARE), HTTP, "files/snponly.efi"),
    "this machine's does not": ((Trust.FIRMWARE, Trust.FIRMWARE, Trust.NOBODY), HTTP, ""),
    "its iPXE does not": ((Trust.FIRMWARE, Trust.UNSAID, Trust.UNSAID), IPXE, ""),
    "its iPXE does": ((Trust.NOBODY, Trust.IPXE, Trust.UNSAID), IPXE, f"boot/{MAC}/script.ipxe"),
}


@pytest.mark.parametrize(("said_by", "client", "path"), HTTPS.values(), ids=HTTPS.keys())
def test_https_for_who_trusts_us(said_by: tuple[Trust, Trust, Trust], client: dict[int, bytes], path: str) -> None:
    of_subnet, of_profile, of_machine = said_by
    machine = Reservation(mac=MAC, profile="gpu", https=of_machine)
    profiles = {"gpu": Overrides(https=of_profile)}
    here = site(subnet(https=of_subnet, http_port=80), known=(machine,), profiles=profiles, tls_port=8443)
    found = ask(here, discover(options=client))
    url = said(found).options[Opt.BOOT_FILE].decode()
    assert isinstance(found, Reply)
    assert (found.reason.endswith("; by HTTPS, as it trusts our CA"), url.startswith("https:")) == (bool(path),) * 2
    if path:
        assert url == f"https://{US}:8443/{path}"


def test_no_setting_of_loaders_stands_for_what_firmware_starts_by_itself() -> None:
    here = site(subnet(loader={"efi-x64-http": "own.efi"}), known=(Reservation(mac=MAC, name="node1"),), decide=iso)
    url = f"http://{US}:8080/{ISO}".encode()
    assert said(ask(here, discover(options=HTTP))).options[Opt.BOOT_FILE] == url


def test_a_loader_changed_while_we_serve_is_the_next_one_told() -> None:
    here = overridden(in_subnet=False, in_profile=False, in_machine=True)
    assert said(ask(here, discover(options=UEFI))).options[Opt.BOOT_FILE] == b"machine.efi"
    here.set_reservation(Reservation(mac=MAC, loader={"efi-x64": "other.efi"}))
    assert said(ask(here, discover(options=UEFI))).options[Opt.BOOT_FILE] == b"other.efi"
    here.set_reservation(Reservation(mac=MAC))
    assert said(ask(here, discover(options=UEFI))).options[Opt.BOOT_FILE] == b"snponly.efi"


def test_machines_with_names_share_nothing_but_the_rest() -> None:
    here = site(known=(Reservation(mac=MAC, name="node1"), Reservation(mac=OTHER_MAC, name="node2")))
    for _ in range(2):
        assert said(ask(here, discover(MAC, UEFI))).options[Opt.HOST_NAME] == b"node1"
        assert said(ask(here, discover(OTHER_MAC, UEFI))).options[Opt.HOST_NAME] == b"node2"
        assert Opt.HOST_NAME not in said(ask(here, discover("52:54:00:00:00:03", UEFI))).options


def test_options_of_profile_and_machine() -> None:
    known = Reservation(mac=MAC, profile="gpu", options={"42": "10.0.0.7"})
    profiles = {"gpu": Overrides(options={"ntp-servers": "10.0.0.6", "domain-name": "gpu.example"})}
    here = site(subnet(options={"ntp-servers": "10.0.0.5"}), known=(known,), profiles=profiles)
    listed = {Opt.REQUEST_LIST: bytes((Opt.NTP, Opt.DOMAIN_NAME))}
    mine = said(ask(here, discover(MAC, listed))).options
    other = said(ask(here, discover(OTHER_MAC, listed))).options
    assert (mine[Opt.NTP], mine[Opt.DOMAIN_NAME]) == (bytes((10, 0, 0, 7)), b"gpu.example")
    assert (other[Opt.NTP], other[Opt.DOMAIN_NAME]) == (bytes((10, 0, 0, 5)), b"rack.example")


ORDERS = {
    "in the order of the list": ((15, 6, 3), [53, 54, 51, 1, 15, 6, 3]),
    "the mask before the routers (RFC 2132 section 3.3)": ((3, 1, 6), [53, 54, 51, 1, 3, 6]),
    "asked for twice, told once": ((6, 6), [53, 54, 51, 1, 6]),
    "times where they are asked for": ((58, 59, 51), [53, 54, 51, 1, 58, 59]),
    "what we do not have is left out": ((200, 6), [53, 54, 51, 1, 6]),
    "an empty list: only what is needed": ((), [53, 54, 51, 1]),
}


@pytest.mark.parametrize(("wanted", "order"), ORDERS.values(), ids=ORDERS.keys())
def test_order(wanted: tuple[int, ...], order: list[int]) -> None:
    found = said(ask(site(), discover(options={Opt.REQUEST_LIST: bytes(wanted)})))
    assert list(found.options) == order


def test_without_a_list_a_client_gets_the_usual() -> None:
    assert list(said(ask(site(), discover())).options) == [53, 54, 51, 1, 3, 6, 15, 28]


def test_times() -> None:
    found = said(ask(site(subnet(lease_s=8000)), discover(options={Opt.REQUEST_LIST: b"\x3a\x3b"})))
    seconds = [int.from_bytes(found.options[code], "big") for code in (51, 58, 59)]
    assert seconds == [8000, 4000, 7000]


def test_identifier_and_uuid_go_back_as_they_came() -> None:
    """RFC 6842, RFC 4578 section 2.3; also in a refusal and an ACK."""
    own = {Opt.CLIENT_ID: b"\1" + bytes(6), Opt.CLIENT_UUID: b"\0" + bytes(range(16))}
    here = site()
    for question in (
        discover(options=own),
        request("10.0.0.100", options=own, server=US),
        request("10.9.9.9", options=own),
    ):
        found = said(ask(here, question))
        assert {code: found.options[code] for code in own} == own


def test_classless_routes() -> None:
    """RFC 3442: with the default router among them, since clients then ignore option 3."""
    here = site(subnet(routes=("10.9.0.0/16 via 10.0.0.2", "192.168.7.128/25 via 10.0.0.3")))
    found = said(ask(here, discover(options={Opt.REQUEST_LIST: bytes((121, 3))}))).options
    assert found[121] == bytes.fromhex("10 0a09 0a000002" + "19 c0a80780 0a000003" + "00 0a000001")


def test_subnet_selection_goes_back_to_the_relay_that_said_it() -> None:
    """RFC 3011 section 3; a client on our own wire has none to select, and is answered as if it had not."""
    link = {Opt.SUBNET_SELECTION: bytes((10, 0, 0, 0)), Opt.RELAY_AGENT: b"\1\1x"}
    by_relay = said(ask(site(), discover(options=link, giaddr="10.0.0.254"))).options
    assert [(code, by_relay[code]) for code in list(by_relay)[-2:]] == list(link.items())
    assert Opt.SUBNET_SELECTION not in said(ask(site(), discover(options=link))).options


def test_a_lease_goes_with_its_acknowledgement() -> None:
    here = site()
    address = acquire(here)
    found = ask(here, request(ciaddr=address))
    assert isinstance(found, Reply)
    assert [lease.ip for lease in found.store] == [ip(address)]
    assert found.event == "dhcp.ack"

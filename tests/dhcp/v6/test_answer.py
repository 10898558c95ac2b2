"""What is said to DHCPv6 messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provisioner.dhcp.case import Silence
from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.case import Reply6
from provisioner.dhcp.v6.message import Message, Type, decode
from provisioner.dhcp.v6.options import (
    Opt,
    addresses_in,
    decode_ia,
    decode_status,
    every,
    first,
    texts,
    vendor_class,
)
from provisioner.dhcp.v6.site import Site6
from provisioner.dhcp.v6.subnets import Mode6, Reservation6
from provisioner.errors import WireError
from provisioner.model.boot import BootClient, LocalDisk, NoBoot, Plan, Unknown
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    FIRMWARE,
    HTTP,
    IPXE_DUID,
    LOADER,
    MAC,
    OS,
    OTHER_MAC,
    OVMF_DUID,
    PXE,
    RELAYED,
    SERVER_DUID,
    SYSTEM,
    US,
    UUID,
    Says,
    acquire,
    ask,
    by_relay,
    captured,
    direct,
    duid_ll,
    given,
    ia,
    ip,
    link_local,
    outcome,
    said,
    site,
    subnet,
)

ELSEWHERE = bytes.fromhex("000300015254ffffffff")
SOLICIT, REQUEST, CONFIRM, RENEW = Type.SOLICIT, Type.REQUEST, Type.CONFIRM, Type.RENEW
REBIND, RELEASE, DECLINE, INFORM = Type.REBIND, Type.RELEASE, Type.DECLINE, Type.INFORMATION_REQUEST


def us(client: Says, kind: int, *options: tuple[int, bytes]) -> Message:
    """A message of the client to our server."""
    return client.message(kind, *options, server=SERVER_DUID)


CASES: dict[str, tuple[Callable[[], Site6], Message, str]] = {
    "a solicitation is answered": (site, OS.message(SOLICIT, ia()), "ADVERTISE fd00::100"),
    "and an address that it asks for is given if it is free": (
        site,
        OS.message(SOLICIT, ia(1, "fd00::105")),
        "ADVERTISE fd00::105",
    ),
    "but not one that is in no pool": (site, OS.message(SOLICIT, ia(1, "fd00::5")), "ADVERTISE fd00::100"),
    "two associations get two addresses": (
        site,
        OS.message(SOLICIT, ia(1), ia(2)),
        "ADVERTISE fd00::100 fd00::101",
    ),
    "rapid commit is not done unless it is set": (
        site,
        OS.message(SOLICIT, ia(), (Opt.RAPID_COMMIT, b"")),
        "ADVERTISE fd00::100",
    ),
    "rapid commit": (
        lambda: site(subnet(rapid_commit=True)),
        OS.message(SOLICIT, ia(), (Opt.RAPID_COMMIT, b"")),
        "REPLY fd00::100",
    ),
    "rapid commit that nobody asked for": (
        lambda: site(subnet(rapid_commit=True)),
        OS.message(SOLICIT, ia()),
        "ADVERTISE fd00::100",
    ),
    "a request with no solicitation before it": (site, us(OS, REQUEST, ia(1, "fd00::103")), "REPLY fd00::103"),
    "a request for an address of another link": (site, us(OS, REQUEST, ia(1, "fd99::1")), "REPLY status 4"),
    "a request for no address at all": (site, us(OS, REQUEST, ia()), "REPLY fd00::100"),
    "temporary addresses are not given": (site, OS.message(SOLICIT, ia(code=Opt.IA_TA)), "ADVERTISE status 0"),
    "no address is left": (
        lambda: site(subnet(pools=("fd00::100",)), fixed=(Reservation6(address="fd00::100", mac=OTHER_MAC),)),
        OS.message(SOLICIT, ia()),
        "ADVERTISE status 2",
    ),
    "a renewal that nobody remembers keeps its address, if it is free": (
        site,
        us(OS, RENEW, ia(1, "fd00::107")),
        "REPLY fd00::107",
    ),
    "a renewal of an address that is none of ours": (site, us(OS, RENEW, ia(1, "fd00::7")), "REPLY fd00::100"),
    "a rebinding": (site, OS.message(REBIND, ia(1, "fd00::107")), "REPLY fd00::107"),
    "a renewal where nothing is left": (
        lambda: site(subnet(pools=("fd00::100",)), fixed=(Reservation6(address="fd00::100", mac=OTHER_MAC),)),
        us(OS, RENEW, ia(1, "fd00::100")),
        "REPLY status 3",
    ),
    "addresses that fit the link": (site, OS.message(CONFIRM, ia(1, "fd00::9")), "REPLY status 0"),
    "addresses that do not": (site, OS.message(CONFIRM, ia(1, "fd00::9", "fd99::1")), "REPLY status 4"),
    "a question about no address": (site, OS.message(CONFIRM, ia()), "a question about addresses that names none"),
    "a release of what it does not hold": (site, us(OS, RELEASE, ia(1, "fd00::100")), "REPLY status 3"),
    "a decline of what it does not hold": (site, us(OS, DECLINE, ia(1, "fd00::100")), "REPLY status 3"),
    "a release of nothing": (site, us(OS, RELEASE, ia()), "REPLY status 3"),
    "information": (site, OS.message(INFORM), "REPLY status 0"),
    "information for nobody in particular": (site, Says(b"").message(INFORM), "REPLY status 0"),
    "information from us": (site, us(OS, INFORM), "REPLY status 0"),
    "information and an address": (
        site,
        OS.message(INFORM, ia()),
        "it asks for information, and for addresses as well",
    ),
    "a link that we do not serve": (
        lambda: site(subnet(interface="eth7")),
        OS.message(SOLICIT, ia()),
        "no subnet of ours on that link",
    ),
    "switched off": (lambda: site(subnet(mode=Mode6.OFF)), OS.message(SOLICIT, ia()), "the subnet is switched off"),
    "unknown machines are ignored": (
        lambda: site(subnet(unknown=Unknown.IGNORE)),
        OS.message(SOLICIT, ia()),
        "nobody enrolled the machine, and the subnet ignores such",
    ),
    "known ones are not": (
        lambda: site(subnet(unknown=Unknown.IGNORE), known=(Reservation(mac=MAC, name="node1"),)),
        OS.message(SOLICIT, ia()),
        "ADVERTISE fd00::100",
    ),
    "quarantine": (
        lambda: site(subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("fd00::200-fd00::201",))),
        FIRMWARE.message(SOLICIT, ia()),
        "ADVERTISE fd00::200",
    ),
    "reservations only: strangers": (
        lambda: site(subnet(mode=Mode6.RESERVATIONS_ONLY, pools=())),
        OS.message(SOLICIT, ia()),
        "the machine has no reservation, and the subnet serves nobody else",
    ),
    "reservations only: known, but without an address": (
        lambda: site(subnet(mode=Mode6.RESERVATIONS_ONLY, pools=()), known=(Reservation(mac=MAC),)),
        OS.message(SOLICIT, ia()),
        "the machine has no fixed address, and the subnet gives no others",
    ),
    "reservations only: the second association": (
        lambda: site(subnet(mode=Mode6.RESERVATIONS_ONLY, pools=()), fixed=(Reservation6(address="fd00::5", mac=MAC),)),
        OS.message(SOLICIT, ia(1), ia(2)),
        "ADVERTISE fd00::5",
    ),
    "the plan is nothing": (
        lambda: site(decide=lambda client: NoBoot("not ours")),
        FIRMWARE.message(SOLICIT, ia()),
        "the plan is to give this machine nothing: not ours",
    ),
    "no client identifier": (
        site,
        Says(b"").message(SOLICIT, ia()),
        "it does not say who the client is (option 1)",
    ),
    "a solicitation that names a server": (
        site,
        us(OS, SOLICIT, ia()),
        "it names a server, and is for all of them",
    ),
    "a request that names none": (site, OS.message(REQUEST, ia()), "it does not say which server is meant (option 2)"),
    "a request to another server": (
        site,
        OS.message(REQUEST, ia(), server=ELSEWHERE),
        "the client chose another server, 00:03:00:01:52:54:ff:ff:ff:ff",
    ),
    "information from another server": (
        site,
        OS.message(INFORM, server=ELSEWHERE),
        "the client chose another server, 00:03:00:01:52:54:ff:ff:ff:ff",
    ),
    "a server's message": (site, OS.message(Type.ADVERTISE), "message type 2 is not for servers"),
    "a reconfiguration": (site, OS.message(Type.RECONFIGURE), "message type 10 is not for servers"),
    "a type that nobody knows": (site, OS.message(200), "message type 200 is not for servers"),
}


@pytest.mark.parametrize(("where", "question", "found"), CASES.values(), ids=CASES.keys())
def test_answer(where: Callable[[], Site6], question: Message, found: str) -> None:
    assert outcome(ask(where(), question)) == found


UNICAST = {
    "a request": (us(OS, REQUEST, ia()), "REPLY status 5"),
    "a release": (us(OS, RELEASE, ia()), "REPLY status 5"),
    "a solicitation": (OS.message(SOLICIT, ia()), "it came by unicast, and is for all servers"),
    "information": (OS.message(INFORM), "it came by unicast, and is for all servers"),
}


@pytest.mark.parametrize(("question", "found"), UNICAST.values(), ids=UNICAST.keys())
def test_clients_ask_by_multicast(question: Message, found: str) -> None:
    assert outcome(ask(site(), question, direct(target=ip(US)))) == found


MALFORMED = {
    "an association that is cut": OS.message(SOLICIT, (Opt.IA_NA, b"abc")),
    "an address that is cut": OS.message(SOLICIT, (Opt.IA_NA, b"abcd" + bytes(8) + b"\0\5\0\4abcd")),
    "half an option number": Says(duid_ll(), ((Opt.REQUEST_LIST, b"\0"),)).message(SOLICIT, ia()),
    "a vendor class past its end": Says(duid_ll(), ((Opt.VENDOR_CLASS, b"\0\0\1\x57\0\7"),)).message(SOLICIT, ia()),
    "a DUID of 131 bytes": Says(bytes(131)).message(SOLICIT, ia()),
}


@pytest.mark.parametrize("question", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(question: Message) -> None:
    with pytest.raises(WireError):
        ask(site(), question)


def test_an_exchange_in_full() -> None:
    here = site(subnet(lease_s=7200, preferred_s=3600, preference=7))
    offered = ask(here, OS.message(SOLICIT, ia()))
    message = said(offered)
    assert (message.type, message.xid, message.hops) == (Type.ADVERTISE, 0x123456, ())
    assert [code for code, _ in message.options] == [1, 2, 7, 3, 23, 24]
    assert (message.option(1), message.option(2), message.option(7)) == (OS.duid, SERVER_DUID, b"\7")
    association = decode_ia(3, message.option(3) or b"")
    assert (association.t1_s, association.t2_s) == (1800, 2880)
    assert [tuple(each)[:3] for each in addresses_in(association)] == [(ip("fd00::100"), 3600, 7200)]
    assert isinstance(offered, Reply6)
    assert (offered.to, offered.store, offered.event) == ((link_local(MAC), 546), (), "dhcp6.advertise")
    found = ask(here, us(OS, REQUEST, ia(1, "fd00::100")))
    assert isinstance(found, Reply6)
    assert [code for code, _ in said(found).options] == [1, 2, 3, 23, 24]
    lease = found.store[0]
    assert (lease.ip, lease.key.hex(":"), lease.until, lease.since) == (ip("fd00::100"), MAC, NOW + 7200, NOW)
    assert lease.client_id == b"\xff\0\0\0\1" + OS.duid


def test_options_are_given_to_those_who_ask() -> None:
    here = site(subnet(options={"31": "hex:00"}, ntp=("fd00::9",)))
    wants = Says(options=((Opt.REQUEST_LIST, b"\0\x1f\0\x38"),))
    assert [code for code, _ in said(ask(here, wants.message(INFORM))).options] == [1, 2, 56, 31]
    assert said(ask(here, wants.message(INFORM))).option(56) == b"\0\1\0\x10" + bytes.fromhex("fd00" + "00" * 13 + "09")
    silent = Says(options=())
    assert [code for code, _ in said(ask(here, silent.message(INFORM))).options] == [1, 2]


# what is booted


def boot(found: Reply6 | Silence) -> tuple[str, bytes | None, bytes | None]:
    """URL, parameters and vendor class of a reply."""
    message = said(found)
    return (message.option(59) or b"").decode(), message.option(60), message.option(16)


BOOTS = {
    "firmware gets its loader by TFTP": (FIRMWARE, f"tftp://[{US}]/snponly.efi"),
    "HTTP boot gets a URL": (Says(OVMF_DUID, HTTP), f"http://[{US}]:8080/files/snponly.efi"),
    "iPXE gets its script": (LOADER, f"http://[{US}]:8080/boot/{MAC}/script.ipxe"),
    "a system gets nothing": (OS, ""),
}


@pytest.mark.parametrize(("client", "url"), BOOTS.values(), ids=BOOTS.keys())
def test_boot(client: Says, url: str) -> None:
    assert boot(ask(site(), client.message(SOLICIT, ia())))[0] == url
    assert boot(ask(site(), us(client, REQUEST, ia())))[0] == url
    assert boot(ask(site(), client.message(INFORM)))[0] == url


def test_http_boot_hears_its_own_words() -> None:
    value = boot(ask(site(), Says(OVMF_DUID, HTTP).message(SOLICIT, ia())))[2]
    assert vendor_class(value) == (343, (b"HTTPClient",))
    assert boot(ask(site(), FIRMWARE.message(SOLICIT, ia())))[2] is None


def test_boot_parameters() -> None:
    here = site(subnet(boot_parameters=("350", "x")))
    value = boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[1]
    assert texts(value or b"") == (b"350", b"x")
    without = Says(OVMF_DUID, PXE[1:])
    assert boot(ask(here, without.message(SOLICIT, ia())))[1] is None


LOADERS = {
    "the subnet's": ({"loader": {"efi-x64": "other.efi"}}, {}, "other.efi"),
    "the machine's before it": ({"loader": {"efi-x64": "other.efi"}}, {"loader": {"efi-x64": "own.efi"}}, "own.efi"),
    "of another architecture": ({"loader": {"efi-arm64": "other.efi"}}, {}, "snponly.efi"),
}


@pytest.mark.parametrize(("of_subnet", "of_machine", "name"), LOADERS.values(), ids=LOADERS.keys())
def test_loaders(of_subnet: dict[str, dict[str, str]], of_machine: dict[str, dict[str, str]], name: str) -> None:
    here = site(subnet(**of_subnet), known=(Reservation(mac=MAC, **of_machine),))  # type: ignore[arg-type]
    assert boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[0] == f"tftp://[{US}]/{name}"


OURS = {
    "the one that is set": ({"server_address": "fd00::77"}, ("fd00::1",), "fd00::77"),
    "our own in the network": ({}, ("fd99::1", "fd00::5"), "fd00::5"),
    "any that we have": ({}, ("fd99::1",), "fd99::1"),
}


@pytest.mark.parametrize(("settings", "own", "seen"), OURS.values(), ids=OURS.keys())
def test_our_address(settings: dict[str, str], own: tuple[str, ...], seen: str) -> None:
    here = site(subnet(**settings))
    here.addresses = {"eth0": tuple(ip(each) for each in own)}
    assert boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[0] == f"tftp://[{seen}]/snponly.efi"


def test_without_an_address_of_ours_there_is_no_url() -> None:
    here = site()
    here.addresses = {}
    found = ask(here, FIRMWARE.message(SOLICIT, ia()))
    assert boot(found)[0] == ""
    assert given(found) == [["fd00::100"]]
    assert found.reason == "no global IPv6 address of ours on that link: set server_address"


def test_a_machine_that_boots_its_disk_gets_an_address_only() -> None:
    found = ask(site(decide=lambda client: LocalDisk("it is installed")), FIRMWARE.message(SOLICIT, ia()))
    assert (boot(found)[0], given(found), found.reason) == ("", [["fd00::100"]], "it is installed")


def test_quarantine_boots_nothing() -> None:
    here = site(subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("fd00::200",)))
    assert boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[0] == ""


# who it is


def test_decisions_are_about_machines_and_their_uuid() -> None:
    asked: list[BootClient] = []

    def decide(client: BootClient) -> Plan:
        asked.append(client)
        return LocalDisk("")

    here = site(decide=decide)
    for client in (FIRMWARE, LOADER):
        ask(here, client.message(SOLICIT, ia()))
    assert {(each.mac, each.uuid, each.arch) for each in asked} == {(MAC, UUID, 7)}


def test_of_two_uuids_the_one_on_record_is_meant() -> None:
    odd = bytes.fromhex("0004 00112233 4455 6677 8899aabbccddeeff")
    asked: list[BootClient] = []

    def decide(client: BootClient) -> Plan:
        asked.append(client)
        return LocalDisk("")

    here = site(decide=decide, known=(Reservation(mac=OTHER_MAC, uuid="00112233-4455-6677-8899-AABBCCDDEEFF"),))
    ask(here, Says(odd, PXE).message(SOLICIT, ia()))
    assert asked[0].uuid == "00112233-4455-6677-8899-aabbccddeeff"


def test_firmware_loader_and_system_of_a_machine_have_one_address() -> None:
    here = site()
    assert {acquire(here, client) for client in (FIRMWARE, LOADER, OS, FIRMWARE)} == {"fd00::100"}
    assert acquire(here, OS._replace(duid=duid_ll(OTHER_MAC)), OTHER_MAC) == "fd00::101"


def test_firmware_that_makes_up_a_number_for_each_boot_keeps_its_address() -> None:
    here = site()
    assert [acquire(here, FIRMWARE, iaid=number) for number in (71, 72, 73)] == ["fd00::100"] * 3


def test_the_address_that_ovmf_gets_beside_is_another_one() -> None:
    beside = Says(OVMF_DUID, SYSTEM)
    here = site(fixed=(Reservation6(address="fd00::50", uuid=UUID),))
    assert [acquire(here, FIRMWARE, iaid=1), acquire(here, beside, iaid=2)] == ["fd00::50", "fd00::100"]
    assert [acquire(here, FIRMWARE, iaid=3), acquire(here, beside, iaid=2)] == ["fd00::50", "fd00::100"]
    assert acquire(here, LOADER, iaid=9) == "fd00::50"


def test_one_port_has_a_bounded_number_of_addresses() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",)))
    assert len({acquire(here, OS, iaid=number) for number in range(40)}) == 8


def test_associations_beyond_the_fourth_get_nothing() -> None:
    found = said(ask(site(), OS.message(SOLICIT, *(ia(number) for number in range(6)))))
    last = decode_ia(3, every(found.options, 3)[5])
    assert decode_status(first(last.options, 13))[0] == 2
    assert len(given(ask(site(), OS.message(SOLICIT, *(ia(number) for number in range(6)))))[3]) == 1


FIXED = {
    "by hardware address": (Reservation6(address="fd00::50", mac=MAC), OS, MAC),
    "by DUID, on whatever port": (Reservation6(address="fd00::50", duid=duid_ll().hex(":")), OS, OTHER_MAC),
    "by UUID, as firmware writes it": (Reservation6(address="fd00::50", uuid=UUID), FIRMWARE, MAC),
    "by UUID, as iPXE writes it": (Reservation6(address="fd00::50", uuid=UUID.upper()), LOADER, MAC),
    "by hardware address and UUID": (Reservation6(address="fd00::50", mac=MAC, uuid=UUID), FIRMWARE, MAC),
}


@pytest.mark.parametrize(("reservation", "client", "mac"), FIXED.values(), ids=FIXED.keys())
def test_fixed(reservation: Reservation6, client: Says, mac: str) -> None:
    here = site(fixed=(reservation,))
    assert acquire(here, client, mac) == "fd00::50"
    stranger = Says(b"\0\3\0\1\2\2\2\2\2\2")
    assert acquire(here, stranger, "02:02:02:02:02:02") == "fd00::100"


def test_a_reservation_wants_all_that_it_says() -> None:
    here = site(fixed=(Reservation6(address="fd00::50", mac=OTHER_MAC, uuid=UUID),))
    assert acquire(here, FIRMWARE, MAC) == "fd00::100"


def test_a_reservation_moves_its_machine_at_the_next_renewal() -> None:
    here = site()
    assert acquire(here) == "fd00::100"
    here.set_reservation(Reservation6(address="fd00::50", mac=MAC))
    found = ask(here, us(OS, RENEW, ia(1, "fd00::100")))
    association = decode_ia(3, said(found).option(3) or b"")
    assert [(each.ip, each.valid_s) for each in addresses_in(association)] == [
        (ip("fd00::50"), 3600),
        (ip("fd00::100"), 0),
    ]
    assert isinstance(found, Reply6)
    assert [(lease.ip, lease.state) for lease in found.store] == [
        (ip("fd00::50"), LeaseState.BOUND),
        (ip("fd00::100"), LeaseState.RELEASED),
    ]


# leases


def test_a_released_address_is_the_last_to_be_given_to_others() -> None:
    here = site(subnet(pools=("fd00::100-fd00::101",)))
    assert acquire(here) == "fd00::100"
    found = ask(here, us(OS, RELEASE, ia(1, "fd00::100")))
    assert outcome(found) == "REPLY status 0"
    assert isinstance(found, Reply6)
    assert (found.event, [lease.state for lease in found.store]) == ("dhcp6.release", [LeaseState.RELEASED])
    assert acquire(here, Says(duid_ll(OTHER_MAC)), OTHER_MAC) == "fd00::101"
    assert acquire(here) == "fd00::100"


def test_a_lease_that_is_over_is_reused_oldest_first() -> None:
    here = site(subnet(pools=("fd00::100-fd00::101",)))
    macs = [f"02:00:00:00:00:{number:02x}" for number in range(4)]
    first_two = [acquire(here, Says(duid_ll(mac)), mac, now=NOW + n) for n, mac in enumerate(macs[:2])]
    assert isinstance(ask(here, Says(duid_ll(macs[2])).message(SOLICIT, ia()), direct(macs[2]), NOW + 2), Reply6)
    assert outcome(ask(here, Says(duid_ll(macs[2])).message(SOLICIT, ia()), direct(macs[2]), NOW + 2)) == (
        "ADVERTISE status 2"
    )
    assert [acquire(here, Says(duid_ll(mac)), mac, now=NOW + 3602 + n) for n, mac in enumerate(macs[2:])] == first_two


def test_a_declined_address_is_not_given_for_a_day() -> None:
    here = site(subnet(pools=("fd00::100-fd00::107",)))
    assert acquire(here) == "fd00::100"
    found = ask(here, us(OS, DECLINE, ia(1, "fd00::100")))
    assert isinstance(found, Reply6)
    assert (found.event, outcome(found)) == ("dhcp6.decline", "REPLY status 0")
    assert found.store[0].reason == f"declined by {MAC}: somebody else uses it"
    assert acquire(here) == "fd00::101"
    assert acquire(here, now=NOW + 86399) != "fd00::100"


def test_only_its_own_association_can_give_an_address_back() -> None:
    here = site()
    acquire(here)
    for question in (us(OS, RELEASE, ia(2, "fd00::100")), us(FIRMWARE, DECLINE, ia(1, "fd00::100"))):
        assert outcome(ask(here, question)) == "REPLY status 3"


def test_of_several_some_are_given_back() -> None:
    here = site()
    acquire(here)
    found = ask(here, us(OS, RELEASE, ia(1, "fd00::100", "fd00::101")))
    assert isinstance(found, Reply6)
    assert [lease.ip for lease in found.store] == [ip("fd00::100")]
    assert outcome(found) == "REPLY status 3"


# relays and several subnets


def test_a_relays_link_says_which_subnet() -> None:
    far = subnet(network="fd01::/64", interface="", pools=("fd01::100-fd01::1ff",), dns=("fd01::2",))
    here = site(subnet(), far)
    port = ((Opt.INTERFACE_ID, b"port7"), (Opt.RELAY_PORT, b"\0\0"))
    question = by_relay(OS.message(SOLICIT, ia()), "fd01::fe", 0, *port)
    found = ask(here, question, RELAYED._replace(port=7000))
    assert given(found) == [["fd01::100"]]
    answered = said(found)
    assert [(hop.type, hop.hops, hop.link, hop.peer, hop.options) for hop in answered.hops] == [
        (Type.RELAY_REPLY, 0, ip("fd01::fe"), link_local(MAC), port)
    ]
    assert isinstance(found, Reply6)
    assert found.to == (ip("fd00::fe"), 7000)


def test_nested_relays_are_answered_in_order() -> None:
    far = subnet(network="fd01::/64", interface="", pools=("fd01::100-fd01::1ff",))
    here = site(subnet(), far)
    question = by_relay(by_relay(OS.message(SOLICIT, ia()), "fd01::fe", 0, (18, b"inner")), "fd00::fe", ip("fd01::fe"))
    found = ask(here, question, RELAYED)
    assert given(found) == [["fd01::100"]]
    assert [(hop.hops, hop.peer, hop.options) for hop in said(found).hops] == [
        (1, ip("fd01::fe"), ()),
        (0, link_local(MAC), ((18, b"inner"),)),
    ]
    assert isinstance(found, Reply6)
    assert found.to == (ip("fd00::fe"), 547)


def test_a_relay_on_layer_two_names_no_link() -> None:
    question = by_relay(OS.message(SOLICIT, ia()), "::", 0, (18, b"ge-0/0/7"))
    assert given(ask(site(), question, direct())) == [["fd00::100"]]


def test_where_a_machine_hangs_is_kept_with_its_lease() -> None:
    question = by_relay(
        us(OS, REQUEST, ia()), "fd00::fe", 0, (Opt.INTERFACE_ID, b"p7"), (Opt.REMOTE_ID, b"\0\0\0\1sw1")
    )
    found = ask(site(), question, RELAYED)
    assert isinstance(found, Reply6)
    lease = found.store[0]
    assert (lease.relay, lease.circuit_id, lease.remote_id) == (ip("fd00::fe"), b"p7", b"\0\0\0\1sw1")


def test_a_relays_reply_is_no_question() -> None:
    found = by_relay(OS.message(SOLICIT, ia()))
    turned = found._replace(hops=(found.hops[0]._replace(type=int(Type.RELAY_REPLY)),))
    assert outcome(ask(site(), turned, RELAYED)) == "message type 1 is not for servers"


def test_shared_networks_are_used_one_after_the_other() -> None:
    both = [
        subnet(name="a", shared_network="wire", pools=("fd00::100",)),
        subnet(name="b", network="fd01::/64", shared_network="wire", pools=("fd01::100",)),
    ]
    here = site(*both)
    assert acquire(here) == "fd00::100"
    assert acquire(here, Says(duid_ll(OTHER_MAC)), OTHER_MAC) == "fd01::100"
    assert acquire(here) == "fd00::100"


# limits


def stranger(number: int) -> str:
    return f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def test_unknown_machines_are_limited_and_known_ones_are_not() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",), new_burst=3, new_per_s=1), known=(Reservation(mac=MAC),))
    found = [
        outcome(ask(here, Says(duid_ll(stranger(n))).message(SOLICIT, ia()), direct(stranger(n)))) for n in range(4)
    ]
    assert [each.split()[0] for each in found] == ["ADVERTISE", "ADVERTISE", "ADVERTISE", "too"]
    assert acquire(here)


def test_a_switch_port_is_limited_by_itself() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",), port_burst=1))

    def at(port: bytes, number: int) -> Reply6 | Silence:
        mac = stranger(number)
        question = by_relay(Says(duid_ll(mac)).message(SOLICIT, ia()), "fd00::fe", link_local(mac), (18, port))
        return ask(here, question, RELAYED)

    assert isinstance(at(b"one", 1), Reply6)
    assert at(b"one", 2).event == "dhcp6.limited"
    assert isinstance(at(b"two", 3), Reply6)


def test_the_rest_of_a_pool_is_for_known_machines() -> None:
    here = site(subnet(pools=("fd00::100-fd00::101",), known_spare=50), known=(Reservation(mac=MAC),))
    mac = stranger(1)
    assert acquire(here, Says(duid_ll(mac)), mac) == "fd00::100"
    assert (
        outcome(ask(here, Says(duid_ll(OTHER_MAC)).message(SOLICIT, ia()), direct(OTHER_MAC))) == "ADVERTISE status 2"
    )
    assert acquire(here) == "fd00::101"


def test_a_pool_may_be_a_whole_network() -> None:
    here = site(subnet(pools=("fd00::/64",)), fixed=(Reservation6(address="fd00::", mac=OTHER_MAC),))
    assert acquire(here) == "fd00::1"
    assert next(iter(here.topology)).pool.size == 1 << 18


CAPTURED = {
    "ovmf-pxe6": ["tftp://[fd77::1]/snponly.efi"] * 2
    + ["http://[fd77::1]:8080/boot/52:54:00:77:00:01/script.ipxe"] * 2,
    "ovmf-http6": ["tftp://[fd77::1]/snponly.efi"] * 2 + ["http://[fd77::1]:8080/files/snponly.efi"],
    "dhclient6-solicit": [],
}


@pytest.mark.parametrize(("name", "urls"), CAPTURED.items())
def test_captured_clients_are_served(name: str, urls: list[str]) -> None:
    """Each gets an address, the first of its machine the same one, and where it boots, the right kind of URL."""
    here = site(subnet(network="fd77::/64", pools=("fd77::100-fd77::1ff",)))
    here.addresses = {"eth0": (ip("fd77::1"),)}
    messages = [(decode(data), source) for data, source in captured(name)]
    here.duid = next(duid for message, _ in messages if (duid := message.option(2)))
    asked = [each for each in messages if each[0].type not in (Type.ADVERTISE, Type.REPLY)]
    found = [ask(here, message, direct()._replace(source=source, mac=b"")) for message, source in asked]
    told = [url.decode() for each in found if (url := said(each).option(59))]
    assert told[: len(urls)] == urls
    assert {each for one in found for addresses in given(one) for each in addresses} <= {"fd77::100", "fd77::101"}


def test_another_duid_in_the_same_order_is_the_same_machine() -> None:
    here = site(known=(Reservation(mac=MAC, uuid=UUID, name="node17"),))
    found = ask(here, us(Says(IPXE_DUID, PXE), REQUEST, ia()), direct(OTHER_MAC))
    assert isinstance(found, Reply6)
    assert found.store[0].name == "node17"

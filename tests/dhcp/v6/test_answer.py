"""What is said to DHCPv6 messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.case import Arrival6, Reply6
from provisioner.dhcp.v6.message import Message, Type
from provisioner.dhcp.v6.options import (
    Opt,
    addresses_in,
    decode_ia,
)
from provisioner.dhcp.v6.site import Site6
from provisioner.dhcp.v6.subnets import Mode6, Reservation6
from provisioner.errors import WireError
from provisioner.model.boot import NoBoot, Unknown
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    FIRMWARE,
    MAC,
    OS,
    OTHER_MAC,
    RELAYED,
    SERVER_DUID,
    US,
    Says,
    ask,
    by_relay,
    direct,
    duid_ll,
    ia,
    ip,
    link_local,
    outcome,
    said,
    site,
    subnet,
    us,
)

SOLICIT, REQUEST, CONFIRM, RENEW = Type.SOLICIT, Type.REQUEST, Type.CONFIRM, Type.RENEW
REBIND, RELEASE, DECLINE, INFORM = Type.REBIND, Type.RELEASE, Type.DECLINE, Type.INFORMATION_REQUEST

ELSEWHERE = bytes.fromhex("000300015254ffffffff")

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


LOST = direct()._replace(mac=b"", source=ip("fe80::8d2f:41c7:19b0:77aa"), lost=True)
HELD = us(Says(b"\0\2\0\0\xab\x11machine1"), RENEW, ia(1, "fd00::17"))
SEEN = {
    "a renewal whose frame was not seen waits, and takes no address away": (HELD, LOST, "there were too many at once"),
    "what a relay forwards has its own word of who asks": (
        by_relay(HELD),
        RELAYED._replace(lost=True),
        "REPLY fd00::17",
    ),
    "a renewal whose frame was seen": (HELD, LOST._replace(mac=direct().mac, lost=False), "REPLY fd00::17"),
    "where nobody looks at frames, what it says of itself counts": (HELD, LOST._replace(lost=False), "REPLY fd00::100"),
}


@pytest.mark.parametrize(("question", "arrival", "found"), SEEN.values(), ids=SEEN.keys())
def test_who_asks_is_not_guessed_where_frames_say_it(question: Message, arrival: Arrival6, found: str) -> None:
    """A client with an identifier of its own making would be taken for a stranger, and lose its fixed address."""
    here = site(fixed=(Reservation6(address="fd00::17", mac=MAC),))
    assert outcome(ask(here, question, arrival)).startswith(found)


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

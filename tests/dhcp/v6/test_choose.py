"""Leases, relays, several subnets, limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provisioner.dhcp.case import Silence
from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.case import Reply6
from provisioner.dhcp.v6.choose import Why
from provisioner.dhcp.v6.message import Type
from provisioner.dhcp.v6.options import (
    Opt,
)
from provisioner.dhcp.v6.site import Site6
from provisioner.dhcp.v6.subnets import Mode6, Reservation6
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    FIRMWARE,
    MAC,
    OS,
    OTHER_MAC,
    RELAYED,
    Says,
    acquire,
    ask,
    by_relay,
    direct,
    duid_ll,
    given,
    ia,
    ip,
    link_local,
    outcome,
    said,
    site,
    stranger,
    subnet,
    us,
)

SOLICIT, REQUEST, CONFIRM, RENEW = Type.SOLICIT, Type.REQUEST, Type.CONFIRM, Type.RENEW
REBIND, RELEASE, DECLINE, INFORM = Type.REBIND, Type.RELEASE, Type.DECLINE, Type.INFORMATION_REQUEST

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


def test_a_lease_has_the_name_that_we_know_else_the_hosts_own() -> None:
    named = Says(options=((Opt.FQDN, b"\0\5node7\4rack\0"),))
    for here, name in ((site(), "node7"), (site(known=(Reservation(mac=MAC, name="node17"),)), "node17")):
        found = ask(here, us(named, Type.REQUEST, ia()))
        assert isinstance(found, Reply6)
        assert found.store[0].name == name


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


def test_on_a_shared_network_a_machine_is_told_what_the_subnet_of_its_address_says() -> None:
    here = site(
        subnet(name="a", shared_network="wire", pools=(), unknown="ignore", dns=("fd00::2",)),
        subnet(
            name="b",
            network="fd01::/64",
            shared_network="wire",
            pools=(),
            unknown="ignore",
            dns=("fd01::2",),
            server_address="fd01::1",
            loader={"efi-x64": "b.efi"},
        ),
        fixed=(Reservation6(address="fd01::50", mac=MAC),),
    )
    for question in (FIRMWARE.message(SOLICIT, ia()), us(FIRMWARE, REQUEST, ia()), us(FIRMWARE, RENEW, ia())):
        found = ask(here, question)
        assert given(found) == [["fd01::50"]]
        assert said(found).option(Opt.BOOT_URL) == b"tftp://[fd01::1]/b.efi"
        assert said(found).option(Opt.DNS) == ip("fd01::2").to_bytes(16, "big")


# limits


def test_unknown_machines_are_limited_and_known_ones_are_not() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",), new_burst=3, new_per_s=1), known=(Reservation(mac=MAC),))
    found = [
        outcome(ask(here, Says(duid_ll(stranger(n))).message(SOLICIT, ia()), direct(stranger(n)))) for n in range(4)
    ]
    assert [each.split()[0] for each in found] == ["ADVERTISE", "ADVERTISE", "ADVERTISE", "too"]
    assert acquire(here)


def test_a_made_up_relay_passes_by_no_limit() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",), new_burst=3))
    found = []
    for number in range(6):
        mac = stranger(number)
        asked = by_relay(Says(duid_ll(mac)).message(SOLICIT, ia()), f"fd00::{number:x}fe", link_local(mac))
        found.append(ask(here, asked, RELAYED))
    assert sum(isinstance(each, Reply6) for each in found) == 3


def test_a_switch_port_is_limited_by_itself() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",), port_burst=1))

    def at(port: bytes, number: int) -> Reply6 | Silence:
        mac = stranger(number)
        question = by_relay(Says(duid_ll(mac)).message(SOLICIT, ia()), "fd00::fe", link_local(mac), (18, port))
        return ask(here, question, RELAYED)

    assert isinstance(at(b"one", 1), Reply6)
    assert at(b"one", 2).event == "dhcp6.limited"
    assert isinstance(at(b"two", 3), Reply6)


ONLY = subnet(mode=Mode6.RESERVATIONS_ONLY, pools=())
BY_MAC = Reservation6(address="fd00::50", mac=MAC)


def without_it() -> Site6:
    """A machine declined its fixed address."""
    here = site(ONLY, fixed=(BY_MAC,))
    acquire(here)
    ask(here, us(OS, DECLINE, ia(1, "fd00::50")))
    return here


def held() -> Site6:
    """The address was fixed for another machine before."""
    here = site(ONLY, fixed=(Reservation6(address="fd00::50", mac=OTHER_MAC),))
    acquire(here, Says(duid_ll(OTHER_MAC)), OTHER_MAC)
    here.remove_reservation(Reservation6(address="fd00::50", mac=OTHER_MAC))
    here.set_reservation(BY_MAC)
    return here


def elsewhere() -> Site6:
    here = site(ONLY, subnet(network="fd01::/64", interface="eth1", pools=()))
    here.set_reservation(Reservation6(address="fd01::50", mac=MAC))
    return here


UNFIXED = {
    "its own was declined": (without_it, Why.CONFLICT),
    "another machine holds it": (held, Why.HELD),
    "it lies on another network": (elsewhere, Why.ELSEWHERE),
}


@pytest.mark.parametrize(("made", "why"), UNFIXED.values(), ids=UNFIXED.keys())
def test_why_a_machine_does_not_get_its_fixed_address(made: Callable[[], Site6], why: Why) -> None:
    found = ask(made(), OS.message(SOLICIT, ia()))
    assert (outcome(found), found.reason) == ("ADVERTISE status 2", f"{why}: fd00::/64")


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

"""What ended or emptied other servers: known attacks as a table, starvation, fuzz."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Arrival, Reply, Silence
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.subnets import Reservation
from provisioner.errors import WireError
from tests.dhcp.clients import (
    DIRECT,
    MAC,
    NOW,
    UEFI,
    UNICAST,
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
from tests.dhcp.fuzz import Fuzz

NOBODY = "neither a hardware address nor a client identifier (RFC 4390 section 2.1)"
ATTACKS: dict[str, tuple[Packet, Arrival, str]] = {
    "a host name that is no name (CVE-2019-6473, Kea)": (
        discover(options={Opt.HOST_NAME: b"\0\xff..%"}),
        DIRECT,
        "offer",
    ),
    "an empty host name (CVE-2019-6473, Kea)": (discover(options={Opt.HOST_NAME: b""}), DIRECT, "offer"),
    "a host name of nothing but dots (CVE-2025-11232, Kea)": (
        discover(options={Opt.HOST_NAME: b"..."}),
        DIRECT,
        "offer",
    ),
    "a host name of nothing but signs (CVE-2025-11232, Kea)": (
        discover(options={Opt.HOST_NAME: b"%%%"}),
        DIRECT,
        "offer",
    ),
    "a unicast that no subnet fits (CVE-2025-40779, Kea)": (
        request(ciaddr="172.16.0.9", options=UEFI),
        UNICAST,
        "no subnet of ours on that link",
    ),
    "an identifier of 254 bytes (CVE-2019-6472, Kea)": (discover(options={Opt.CLIENT_ID: b"x" * 254}), DIRECT, "offer"),
    "an identifier of 255 bytes (CVE-2019-6472, Kea)": (discover(options={Opt.CLIENT_ID: b"x" * 255}), DIRECT, "offer"),
    "a name with a label of 64 (CVE-2022-2929, dhcpd)": (
        discover(options={Opt.FQDN: b"\0\0\0\x40" + b"a" * 64}),
        DIRECT,
        "offer",
    ),
    "an identifier of no bytes (CVE-2012-3571, dhcpd)": (discover(options={Opt.CLIENT_ID: b""}), DIRECT, "offer"),
    "an identifier of one byte (CVE-2012-3571, dhcpd)": (discover(options={Opt.CLIENT_ID: b"\0"}), DIRECT, "offer"),
    "no hardware address and no identifier": (discover("", htype=32), DIRECT, NOBODY),
    "no hardware address and an empty identifier": (discover("", {Opt.CLIENT_ID: b""}, htype=32), DIRECT, NOBODY),
    "inner lengths past the option (the rule of CVE-2017-14493)": (
        discover(options={Opt.RELAY_AGENT: b"\1\xff\0"}, giaddr="10.0.0.254"),
        DIRECT,
        "255 bytes wanted at byte 2, 1 left",
    ),
    "inner lengths short of the option": (
        discover(options={Opt.RELAY_AGENT: b"\1\1x\2"}, giaddr="10.0.0.254"),
        DIRECT,
        "1 bytes wanted at byte 4, 0 left",
    ),
    "a requested address of three bytes": (
        discover(options={Opt.REQUESTED_ADDRESS: b"\0\0\0"}),
        DIRECT,
        "option 50 has 3 bytes instead of 4",
    ),
    "a server's message sent to a server": (discover()._replace(op=2), DIRECT, "not a request"),
    "a message type of servers": (packet(Type.OFFER), DIRECT, "message type 2 is not for servers"),
    "a message type of nobody": (packet(200), DIRECT, "message type 200 is not for servers"),
}


@pytest.mark.parametrize(("question", "arrival", "outcome"), ATTACKS.values(), ids=ATTACKS.keys())
def test_attack(question: Packet, arrival: Arrival, outcome: str) -> None:
    """It is answered, dropped with its reason or found malformed; the next client is served."""
    here = site()
    try:
        found = ask(here, question, arrival)
        seen = "offer" if isinstance(found, Reply) else found.reason
    except WireError as error:
        seen = str(error)
    assert seen == outcome
    assert acquire(here).startswith("10.0.0.10")


def test_an_overlong_identifier_is_kept_and_echoed() -> None:
    own = {Opt.CLIENT_ID: bytes(255)}
    here = site()
    ask(here, discover(options=own))
    found = ask(here, request("10.0.0.100", options=own, server=US))
    assert isinstance(found, Reply)
    assert found.store[0].client_id == bytes(255)
    assert said(found).options[Opt.CLIENT_ID] == bytes(255)


NAMES = {
    "signs": (b"%%%", "%%%"),
    "control characters": (b"a\nb\x1b[31m", "a?b?[31m"),
    "not ASCII": ("nöde".encode(), "n??de"),
    "NUL at the end": (b"node\0", "node"),
    "as long as an option": (b"n" * 255, "n" * 63),
}


@pytest.mark.parametrize(("sent", "kept"), NAMES.values(), ids=NAMES.keys())
def test_a_clients_name_is_safe_to_show(sent: bytes, kept: str) -> None:
    here = site()
    ask(here, discover())
    found = ask(here, request("10.0.0.100", options={Opt.HOST_NAME: sent}, server=US))
    assert isinstance(found, Reply)
    assert found.store[0].name == kept


MANY = 100_000
WIDE = subnet(network="10.0.0.0/16", pools=("10.0.1.0-10.0.4.255",), known_spare=10)


def stranger(number: int) -> str:
    return f"06:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


@pytest.mark.slow
def test_starvation_takes_nothing_from_known_machines() -> None:
    """100,000 made-up machines in ten seconds: offers taken up or not, known machines get their addresses."""
    fixed = Reservation(mac=MAC, address="10.0.2.7")
    pooled = tuple(Reservation(mac=f"52:54:00:00:10:{number:02x}") for number in range(90))
    here = site(WIDE, known=(fixed, *pooled))
    for number in range(MANY):
        now = NOW + number / 10_000
        found = ask(here, discover(stranger(number)), now=now)
        if isinstance(found, Reply) and number % 2:
            address = ".".join(str(part) for part in said(found).yiaddr.to_bytes(4, "big"))
            ask(here, request(address, stranger(number), server=US), now=now)
    later = NOW + 10
    assert acquire(here, MAC, now=later) == "10.0.2.7"
    assert len({acquire(here, machine.mac, now=later) for machine in pooled}) == 90
    net = here.topology.at(ip("10.0.1.1"))[0]
    assert len(net.pool.by_ip) + len(net.pool._offers) <= 1024
    assert len(here.limiter._buckets) <= 4096


@pytest.mark.slow
def test_offers_that_nobody_takes_hold_the_pool_only_for_their_time() -> None:
    here = site(subnet(pools=("10.0.0.100-10.0.0.199",), new_per_s=0, offer_s=30))
    for number in range(1000):
        ask(here, discover(stranger(number)))
    assert isinstance(ask(here, discover(MAC), now=NOW + 29), Silence)
    assert acquire(here, now=NOW + 31)


def test_a_stranger_cannot_decline_the_pool_away() -> None:
    here = site()
    for last in range(100, 110):
        declined = packet(Type.DECLINE, options={Opt.REQUESTED_ADDRESS: bytes((10, 0, 0, last))})
        assert not ask(here, declined).store
    assert acquire(here) == "10.0.0.100"


def test_a_client_cannot_decline_the_pool_away() -> None:
    here = site()
    for turn in range(10):
        address = acquire(here, stranger(turn))
        last = bytes((10, 0, 0, int(address.rpartition(".")[2])))
        assert ask(here, packet(Type.DECLINE, stranger(turn), {Opt.REQUESTED_ADDRESS: last})).store
    assert isinstance(ask(here, discover()), Silence)
    assert acquire(here, now=NOW + 61)


@pytest.mark.unmeasured
def test_fuzz() -> None:
    """`python -m tests.dhcp.fuzz` does a million."""
    it = Fuzz(seed=1)
    it.run(10_000)
    assert {"malformed", "dhcp.silence", "dhcp.nak", "dhcp.offer", "dhcp.ack"} <= it.seen.keys()

"""What netwatch asks in DHCPv6, read by our own codec and by scapy; what it makes of frames, whole and broken."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_Advertise,
    DHCP6_Reply,
    DHCP6_Solicit,
    DHCP6OptClientId,
    DHCP6OptServerId,
)
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.layers.l2 import Ether

from provisioner.dhcp.v6.identify import identity_of
from provisioner.dhcp.v6.message import Type, decode
from provisioner.netwatch.frames6 import read, solicit
from provisioner.netwatch.messages import MAX_DUID, Heard6, Kind

MAC, CLIENT, SERVER = (bytes.fromhex(each) for each in ("525400000001", "027072000001", "020000000099"))
OWN, ROGUE = IPv6Address("fe80::1"), "fe80::99"
XID = 0x123456


def test_our_question_is_one_that_we_would_answer() -> None:
    frame = Ether(solicit(MAC, OWN.packed, CLIENT, XID))
    assert (frame.src, frame.dst, frame[IPv6].src, frame[IPv6].dst) == (
        "52:54:00:00:00:01",
        "33:33:00:01:00:02",
        "fe80::1",
        "ff02::1:2",
    )
    claimed = frame[UDP].chksum
    del frame[UDP].chksum
    assert Ether(bytes(frame))[UDP].chksum == claimed
    assert DHCP6_Solicit in frame
    message = decode(bytes(frame[UDP].payload))
    assert (message.type, message.xid) == (Type.SOLICIT, XID)
    assert identity_of(message, int(OWN), b"").mac == CLIENT.hex(":")


def said(payload: object, port: int = 547) -> bytes:
    head = Ether(src=SERVER.hex(":"), dst=MAC.hex(":")) / IPv6(src=ROGUE, dst="fe80::1")
    return bytes(head / UDP(sport=port, dport=546) / payload)


def duid(client: bytes = CLIENT) -> DHCP6OptClientId:
    return DHCP6OptClientId(duid=DUID_LL(lladdr=client.hex(":")))


def ours() -> DHCP6OptServerId:
    return DHCP6OptServerId(duid=DUID_LL(lladdr=SERVER.hex(":")))


def heard(kind: Kind, *, asked: bool = False, duid: bytes = b"") -> Heard6:
    return Heard6("eth0", kind, IPv6Address(ROGUE).packed, SERVER, asked, duid)


def advert(hops: int = 255, source: str = ROGUE) -> bytes:
    return bytes(Ether(src=SERVER.hex(":")) / IPv6(src=source, dst="ff02::1", hlim=hops) / ICMPv6ND_RA())


FRAMES = {
    "an offer to us": (said(DHCP6_Advertise(trid=XID) / duid()), heard(Kind.ADVERTISE, asked=True)),
    "an offer in another transaction": (said(DHCP6_Advertise(trid=5) / duid()), heard(Kind.ADVERTISE)),
    "an address for somebody else": (said(DHCP6_Reply(trid=XID) / duid(MAC)), heard(Kind.REPLY)),
    "who says it": (said(DHCP6_Reply(trid=5) / ours()), heard(Kind.REPLY, duid=b"\0\3\0\1" + SERVER)),
    "a DUID without end": (
        said(DHCP6_Reply(trid=5) / DHCP6OptServerId(duid=b"x" * 999)),
        heard(Kind.REPLY, duid=b"x" * MAX_DUID),
    ),
    "a client's message": (said(DHCP6_Solicit(trid=XID) / duid()), None),
    "an advertisement": (advert(), heard(Kind.ROUTER)),
    "an advertisement that a router forwarded": (advert(254), None),
    "an advertisement that no host takes": (advert(source="fd00::66"), None),
    "octets that are no message": (said(b"\2"), None),
    "a cut frame": (advert()[:50], None),
}


@pytest.mark.parametrize(("frame", "wanted"), FRAMES.values(), ids=FRAMES.keys())
def test_what_is_heard(frame: bytes, wanted: Heard6 | None) -> None:
    assert read("eth0", frame, CLIENT, XID) == wanted


@given(st.binary(max_size=200))
def test_any_octets_are_read(data: bytes) -> None:
    assert read("eth0", data, CLIENT, XID) is None or len(data) > 60

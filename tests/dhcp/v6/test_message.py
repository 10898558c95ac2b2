"""DHCPv6 messages and relays around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp6 import (
    DUID_LL,
    DHCP6_RelayForward,
    DHCP6_Solicit,
    DHCP6OptClientId,
    DHCP6OptIfaceId,
    DHCP6OptRelayMsg,
)

from provisioner.dhcp.v6.message import HOPS_LIMIT, Hop, Message, Type, address, decode, encode
from provisioner.dhcp.v6.options import Opt
from provisioner.errors import WireError
from tests.dhcp.v6.clients import OVMF_DUID, captured

options = st.lists(st.tuples(st.integers(0, 65535).filter(lambda c: c != 9), st.binary(max_size=30)), max_size=5).map(
    tuple
)
ips = st.integers(0, 2**128 - 1)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from((Type.RELAY_FORWARD, Type.RELAY_REPLY)))
    hops = draw(
        st.lists(st.builds(Hop, st.just(int(kind)), st.integers(0, 255), ips, ips, options), max_size=HOPS_LIMIT)
    )
    return Message(
        draw(st.integers(0, 11) | st.integers(14, 255)), draw(st.integers(0, 2**24 - 1)), draw(options), tuple(hops)
    )


@given(messages())
def test_messages_come_back(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\x0c" + data))
def test_any_bytes_give_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        assert decode(encode(decode(data))) == decode(data)
    except WireError:
        return


def test_a_message_octet_by_octet() -> None:
    hop = Hop(Type.RELAY_FORWARD, 1, 1, 2, ((18, b"e"),))
    data = encode(Message(Type.SOLICIT, 0xABCDEF, ((8, b"\0\0"),), (hop,)))
    assert data.hex() == "0c01" + "0" * 31 + "1" + "0" * 31 + "2" + "0012000165" + "0009000a" + "01abcdef000800020000"


def test_another_program_s_relayed_message_is_read() -> None:
    inner = DHCP6_Solicit(trid=7) / DHCP6OptClientId(duid=DUID_LL(lladdr="52:54:00:00:00:01"))
    for count, link in ((0, "fd00::fe"), (1, "fd01::fe")):
        inner = (
            DHCP6_RelayForward(hopcount=count, linkaddr=link, peeraddr="fe80::1")
            / DHCP6OptIfaceId(ifaceid=b"port7")
            / DHCP6OptRelayMsg(message=inner)
        )
    found = decode(bytes(inner))
    assert (found.type, found.xid) == (Type.SOLICIT, 7)
    assert [(hop.hops, address(hop.link), hop.options) for hop in found.hops] == [
        (1, "fd01::fe", ((18, b"port7"),)),
        (0, "fd00::fe", ((18, b"port7"),)),
    ]
    assert found.option(Opt.CLIENT_ID) == bytes.fromhex("00030001525400000001")


REFUSED = {
    "nothing": ("", "1 bytes wanted at byte 0"),
    "three bytes": ("010203", "3 bytes wanted at byte 1"),
    "an option past the end (CVE-2017-14493, dnsmasq)": (
        "01000000 0001 ffff 00",
        "65535 bytes wanted at byte 8, 1 left",
    ),
    "an option without a length": ("01000000 0001 00", "2 bytes wanted at byte 6"),
    "a relay's header that is cut": ("0c00" + "00" * 20, "16 bytes wanted"),
    "a relay's message without a message": ("0c00" + "00" * 32, "no message in it"),
    "a relay's message past the end (CVE-2017-14494, dnsmasq)": (
        "0c00" + "00" * 32 + "0009 00ff 01",
        "255 bytes wanted",
    ),
    "a relay's message of nothing": ("0c00" + "00" * 32 + "0009 0000", "1 bytes wanted at byte 0"),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: str, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(bytes.fromhex(data))


def test_relays_are_bounded() -> None:
    hops = (Hop(Type.RELAY_FORWARD, 0, 0, 0),) * (HOPS_LIMIT + 1)
    with pytest.raises(WireError, match="more than 8 relays"):
        decode(encode(Message(Type.SOLICIT, 1, (), hops)))


def test_questions_and_answers_of_relays_do_not_mix() -> None:
    hops = (Hop(Type.RELAY_FORWARD, 1, 0, 0), Hop(Type.RELAY_REPLY, 0, 0, 0))
    with pytest.raises(WireError, match="in one"):
        decode(encode(Message(Type.SOLICIT, 1, (), hops)))


CAPTURED = {
    "ovmf-pxe6": [1, 2, 1, 2, 3, 7, 3, 7, 8, 7, 8, 7, 1, 2, 3, 7],
    "ovmf-http6": [1, 2, 1, 2, 3, 7, 3, 7, 8, 7, 8, 7, 1, 2, 1, 2, 3, 7],
    "dhclient6-solicit": [1, 2, 3, 7],
}


@pytest.mark.parametrize(("name", "types"), CAPTURED.items())
def test_captures_come_back_octet_by_octet(name: str, types: list[int]) -> None:
    """Requests of real firmware, and what another server answered."""
    seen = [data for data, _ in captured(name)]
    assert [decode(data).type for data in seen][: len(types)] == types
    assert all(encode(decode(data)) == data for data in seen)


def test_what_ovmf_sends() -> None:
    message = decode(next(data for data, _ in captured("ovmf-pxe6")))
    assert [code for code, _ in message.options] == [1, 8, 3, 6, 62, 61, 16]
    duid = message.option(Opt.CLIENT_ID)
    assert duid is not None
    assert duid[:10] == OVMF_DUID[:10]

"""What netwatch sends, read by our own codecs and by scapy; what it makes of frames, whole and broken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from provisioner.dhcp.identify import identify
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import BROADCAST, decode
from provisioner.model.boot import Arch, Asker
from provisioner.netwatch.frames import Answer, Frames, answer_of, ping
from provisioner.netwatch.messages import Heard, Kind
from tests.dhcp.clients import ip

MAC = bytes.fromhex("525400000001")
FRAMES = Frames.of("eth0", MAC, 77)
XID = 0x1234


def test_a_probe_names_no_sender_address() -> None:
    arp = Ether(FRAMES.arp(ip("10.0.0.5")))
    assert (arp.dst, arp.src) == ("ff:ff:ff:ff:ff:ff", MAC.hex(":"))
    assert (arp[ARP].op, arp[ARP].psrc, arp[ARP].pdst, arp[ARP].hwsrc) == (1, "0.0.0.0", "10.0.0.5", MAC.hex(":"))


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_an_echo_request_is_what_scapy_would_have_built(us: int, address: int) -> None:
    found = Ether(FRAMES.echo(us, address))
    claimed = found[IP].chksum
    del found[IP].chksum
    assert Ether(bytes(found))[IP].chksum == claimed
    assert (int.from_bytes(bytes(found)[26:30], "big"), int.from_bytes(bytes(found)[30:34], "big")) == (us, address)
    assert (found[ICMP].type, found[ICMP].id) == (8, 77)


def test_our_question_is_one_that_we_would_answer() -> None:
    frame = Ether(FRAMES.discover(XID))
    packet = decode(bytes(frame[UDP].payload))
    assert (packet.type, packet.xid, packet.flags) == (Type.DISCOVER, XID, BROADCAST)
    assert packet.mac == "02:70:72:00:00:01"
    client = identify(packet)
    assert (client.asker, client.arch) == (Asker.PXE, Arch.EFI_X64)


def said(kind: str | int, client: bytes = b"\2\0\0\0\0\1", xid: int = XID, **more: object) -> bytes:
    options = [("message-type", kind), *more.items(), "end"]
    head = Ether(src="02:00:00:00:00:99", dst="ff:ff:ff:ff:ff:ff") / IP(src="10.0.0.66", dst="255.255.255.255")
    bootp = BOOTP(op=2, yiaddr="10.0.0.9", chaddr=client, xid=xid)
    return bytes(head / UDP(sport=67, dport=68) / bootp / DHCP(options=options))


SERVER = bytes.fromhex("020000000099")


def test_what_servers_say() -> None:
    offer = Heard("eth0", Kind.OFFER, ip("10.0.0.77"), SERVER, b"\2\0\0\0\0\1", ip("10.0.0.9"), asked=False)
    assert FRAMES.read(said("offer", server_id="10.0.0.77"), XID) == offer
    assert FRAMES.read(said("ack"), XID) == Heard(
        "eth0", Kind.ACK, ip("10.0.0.66"), SERVER, b"\2\0\0\0\0\1", ip("10.0.0.9"), asked=False
    )
    assert FRAMES.read(said("discover"), XID) is None


def test_an_answer_to_our_own_question_is_known_by_its_address_and_transaction() -> None:
    for client, xid, asked in ((FRAMES.client, XID, True), (FRAMES.client, 5, False), (MAC, XID, False)):
        heard = FRAMES.read(said("offer", client, xid), XID)
        assert isinstance(heard, Heard)
        assert heard.asked is asked


def arp(**fields: object) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:07", dst=MAC.hex(":")) / ARP(hwsrc="02:00:00:00:00:07", **fields))


def test_who_uses_an_address() -> None:
    owner = Answer(ip("10.0.0.5"), "02:00:00:00:00:07")
    assert FRAMES.read(arp(op=2, psrc="10.0.0.5", pdst="0.0.0.0"), XID) == owner
    assert FRAMES.read(arp(op=1, psrc="0.0.0.0", pdst="10.0.0.5"), XID) == owner
    assert FRAMES.read(FRAMES.arp(ip("10.0.0.5")), XID) is None, "our own probe, come back"
    echo = Ether(src="02:00:00:00:00:07") / IP(src="10.0.0.5", dst="10.0.0.1") / ICMP(type=0, id=77)
    assert FRAMES.read(bytes(echo), XID) == owner


def test_echo_replies_with_their_ip_header() -> None:
    reply = IP(src="10.9.0.5", dst="10.0.0.1") / ICMP(type=0, id=77)
    assert answer_of(bytes(reply), 77) == Answer(ip("10.9.0.5"), "a host that answers ping")
    assert answer_of(bytes(reply), 78) is None
    assert answer_of(bytes(IP(src="10.9.0.5") / ping(77)), 77) is None


FULL = (said("offer", server_id="10.0.0.77"), arp(op=2, psrc="10.0.0.5", pdst="0.0.0.0"))


@given(
    st.sampled_from(FULL),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    st.integers(0, 400),
)
def test_broken_frames_are_nothing_and_never_an_error(
    frame: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(frame[:length])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    found = FRAMES.read(bytes(data), XID)
    assert found is None or isinstance(found, Answer | Heard)
    answer_of(bytes(data[14:]), 77)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    FRAMES.read(data, XID)
    answer_of(data, 77)

"""Captures of packets, read by us and by scapy."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.utils import PcapNgWriter, rdpcap, wrpcap

from provisioner.cli.capture import Datagram, datagrams
from provisioner.errors import WireError

CAPTURES = Path(__file__).parent.parent / "dhcp" / "captures"
NAMES = sorted(path.name for path in CAPTURES.glob("*.pcap"))


def oracle(path: Path) -> list[tuple[int, int, bytes]]:
    return [
        (frame[UDP].sport, frame[UDP].dport, bytes(frame[UDP].payload)[: frame[UDP].len - 8])
        for frame in rdpcap(str(path))
        if UDP in frame
    ]


def read(raw: bytes) -> list[tuple[int, int, bytes]]:
    return [(found.source_port, found.target_port, found.payload) for found in datagrams(raw)]


@pytest.mark.parametrize("name", NAMES)
def test_captures_of_real_machines(name: str) -> None:
    assert read((CAPTURES / name).read_bytes()) == oracle(CAPTURES / name)


def test_pcapng(tmp_path: Path) -> None:
    frames = rdpcap(str(CAPTURES / "ovmf-http4.pcap"))
    with PcapNgWriter(str(tmp_path / "x.pcapng")) as writer:
        for frame in frames:
            writer.write(frame)
    found = list(datagrams((tmp_path / "x.pcapng").read_bytes()))
    plain = list(datagrams((CAPTURES / "ovmf-http4.pcap").read_bytes()))
    assert [x._replace(at=0) for x in found] == [x._replace(at=0) for x in plain]
    assert found[0].at == pytest.approx(plain[0].at, abs=1e-3)


def dhcp(link: int, frame: bytes) -> bytes:
    """A capture with one frame."""
    head = struct.pack("<4s2HiIII", b"\xd4\xc3\xb2\xa1", 2, 4, 0, 0, 65535, link)
    return head + struct.pack("<4I", 1_800_000_000, 500_000, len(frame), len(frame)) + frame


IP = bytes.fromhex("4500002000010000401100000a0000010a0000ff004400430 00c0000".replace(" ", "")) + b"ping"
DATAGRAM = Datagram(1_800_000_000.5, "10.0.0.1", "10.0.0.255", 68, 67, b"ping")

LINKS = {
    "Ethernet": (1, bytes(12) + b"\x08\0" + IP),
    "two VLAN tags": (1, bytes(12) + b"\x88\xa8\0\x05\x81\0\0\x06\x08\0" + IP),
    "an old QinQ": (1, bytes(12) + b"\x91\0\0\x05\x81\0\0\x06\x08\0" + IP),
    "raw IP": (101, IP),
    "raw IP by another number": (12, IP),
    "raw IPv4": (228, IP),
    "loopback": (0, b"\2\0\0\0" + IP),
    "loopback of OpenBSD": (108, b"\0\0\0\2" + IP),
    "tcpdump -i any on a trunk": (113, bytes(14) + b"\x81\0\0\x05\x08\0" + IP),
    "two tags": (113, bytes(14) + b"\x88\xa8\0\x05\x81\0\0\x06\x08\0" + IP),
    "the newer one on a trunk": (276, b"\x81\0" + bytes(18) + b"\0\x05\x08\0" + IP),
    "tcpdump -i any": (113, bytes(14) + b"\x08\0" + IP),
    "the newer tcpdump -i any": (276, b"\x08\0" + bytes(18) + IP),
    "padding behind the datagram": (1, bytes(12) + b"\x08\0" + IP + bytes(20)),
}


@pytest.mark.parametrize(("link", "frame"), LINKS.values(), ids=LINKS.keys())
def test_link_types(link: int, frame: bytes) -> None:
    assert list(datagrams(dhcp(link, frame))) == [DATAGRAM]


def test_a_capture_with_a_snap_length_says_so(tmp_path: Path) -> None:
    frame = bytes(12) + b"\x08\0" + IP
    head, size = dhcp(1, b"")[:32], len(frame)
    for kept, cut in ((size, ""), (size - 2, f"the capture has only {size - 2} of its 60 bytes")):
        whole = DATAGRAM._replace(payload=b"ping"[: kept - size or None], cut=cut)
        assert list(datagrams(head + struct.pack("<2I", kept, 60) + frame[:kept])) == [whole]
        path = tmp_path / f"{kept}.pcapng"
        with PcapNgWriter(str(path)) as writer:
            short = Ether(frame[:kept])
            short.wirelen = 60
            writer.write(short)
        assert [found.cut for found in datagrams(path.read_bytes())] == [cut]


PASSED_OVER = {
    "ARP": bytes(12) + b"\x08\x06" + bytes(28),
    "IPv6": bytes(12) + b"\x86\xdd" + bytes(48),
    "TCP": bytes(12) + b"\x08\0" + IP[:9] + b"\x06" + IP[10:],
    "a later fragment": bytes(12) + b"\x08\0" + IP[:6] + b"\0\x10" + IP[8:],
    "a tag and nothing behind it": bytes(12) + b"\x81\0",
    "a runt": bytes(12) + b"\x08\0" + IP[:24],
    "nothing": b"",
}


@pytest.mark.parametrize("frame", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_what_is_no_datagram_is_passed_over(frame: bytes) -> None:
    assert list(datagrams(dhcp(1, frame))) == []


FAULTS = {
    "text": (b"hello, this is no capture at all", "neither pcap nor pcapng"),
    "nothing": (b"", "neither pcap nor pcapng"),
    "cut off in a head": (dhcp(1, IP)[:30], "cut off at byte 24"),
    "cut off in a frame": (dhcp(1, IP)[:-1], "a frame of"),
    "Wi-Fi": (dhcp(105, IP), "link type 105 is not read"),
    "a block that never ends": (b"\x0a\x0d\x0d\x0a" + b"\xff\xff\xff\x7f\x4d\x3c\x2b\x1a", "a block of"),
    "a section in no order": (b"\x0a\x0d\x0d\x0a" + bytes(24), "a section without byte order"),
}


@pytest.mark.parametrize(("raw", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_no_capture_is_told(raw: bytes, says: str) -> None:
    with pytest.raises(WireError, match=says):
        list(datagrams(raw))


@given(st.binary(max_size=200), st.sampled_from((b"", dhcp(1, b"")[:24], b"\x0a\x0d\x0d\x0a")))
def test_any_bytes_give_datagrams_or_a_wire_error(raw: bytes, head: bytes) -> None:
    try:
        list(datagrams(head + raw))
    except WireError:
        return


@pytest.mark.slow
@given(st.binary(max_size=64), st.integers(0, 4095))
def test_what_scapy_writes_is_read(payload: bytes, vlan: int) -> None:
    import tempfile

    from scapy.layers.inet import IP as Ip

    with tempfile.NamedTemporaryFile() as file:
        wrpcap(file.name, Ether() / Dot1Q(vlan=vlan) / Ip(dst="10.0.0.1") / UDP(sport=68, dport=67) / payload)
        assert read(Path(file.name).read_bytes()) == [(68, 67, payload)]

"""Frames that netwatch sends, and what it reads in those that come in. Home of scapy, which is GPL-2.0-only.

Imported by netwatch's own process and never by the daemon (docs/decisions/0001).

What is sent many times is built once for an interface; the address is then put in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from scapy.config import conf

from provisioner.dhcp.frame import checksum
from provisioner.netwatch.messages import Heard, Kind

conf.verb = 0
conf.route_autoload = conf.route6_autoload = False
"""Importing what follows would ask the kernel for all of its routes: our frames go by none."""

from scapy.layers.dhcp import BOOTP, DHCP  # noqa: E402
from scapy.layers.inet import ICMP, IP, UDP  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402

EVERYBODY = "ff:ff:ff:ff:ff:ff"
MARK = b"\x02\x70\x72"
"""How our own question's hardware address begins: locally administered (IEEE 802), `pr`."""
ECHO_DATA = b"provisioner: is this address in use?"
FIRMWARE = b"PXEClient:Arch:00007:UNDI:003000"
"""Servers of addresses and servers of boot information only both answer it."""
KINDS = {2: Kind.OFFER, 5: Kind.ACK, 6: Kind.NAK}
_ARP_TARGET = slice(38, 42)
_IP_HEAD, _IP_SUM, _IP_SOURCE, _IP_TARGET = slice(14, 34), slice(24, 26), slice(26, 30), slice(30, 34)


class Answer(NamedTuple):
    """Somebody uses this address."""

    address: int
    user: str


@dataclass(frozen=True, slots=True)
class Frames:
    """What is sent on one interface, and read from it."""

    interface: str
    mac: bytes
    probe: bytes
    ping: bytes

    @classmethod
    def of(cls, interface: str, mac: bytes, identifier: int) -> Frames:
        """Build the frames of an interface. `identifier` marks our echo requests."""
        ours = mac.hex(":")
        arp = ARP(op=1, hwsrc=ours, psrc="0.0.0.0", hwdst="00:00:00:00:00:00", pdst="0.0.0.0")
        echo = IP(src="0.0.0.0", dst="0.0.0.0") / ping(identifier)
        to_all = Ether(src=ours, dst=EVERYBODY)
        return cls(interface, mac, bytes(to_all / arp), bytes(to_all / echo))

    def arp(self, address: int) -> bytes:
        """An ARP probe (RFC 5227 section 2.1.1): a request that names no sender address."""
        frame = bytearray(self.probe)
        frame[_ARP_TARGET] = address.to_bytes(4, "big")
        return bytes(frame)

    def echo(self, us: int, address: int) -> bytes:
        """An echo request to whoever has the address, by a frame to all (RFC 792)."""
        frame = bytearray(self.ping)
        frame[_IP_SUM] = bytes(2)
        frame[_IP_SOURCE], frame[_IP_TARGET] = us.to_bytes(4, "big"), address.to_bytes(4, "big")
        frame[_IP_SUM] = checksum(bytes(frame[_IP_HEAD])).to_bytes(2, "big")
        return bytes(frame)

    @property
    def client(self) -> bytes:
        """The hardware address that our own question names: always the same, so that no server runs out for it."""
        return MARK + self.mac[-3:]

    def discover(self, xid: int) -> bytes:
        """Ask for an address as unknown firmware does. Answers are to go to all, since nobody has this address."""
        options: list[Any] = [
            ("message-type", "discover"),
            ("vendor_class_id", FIRMWARE),
            (93, b"\0\7"),
            (94, b"\1\3\0"),
            ("param_req_list", [1, 3, 6, 43, 54, 60, 66, 67]),
            "end",
        ]
        bootp = BOOTP(op=1, chaddr=self.client, xid=xid, flags=0x8000)
        udp = UDP(sport=68, dport=67) / bootp / DHCP(options=options)
        return bytes(Ether(src=self.client, dst=EVERYBODY) / IP(src="0.0.0.0", dst="255.255.255.255") / udp)

    def read(self, frame: bytes, xid: int) -> Answer | Heard | None:
        """Say what a frame tells that passed the filter; None where it tells nothing. Never raises."""
        try:
            packet = Ether(frame)
            if ARP in packet:
                return self._read_arp(packet[ARP])
            if ICMP in packet:
                return Answer(int(IPv4Address(packet[IP].src)), str(packet.src))
            return self._read_dhcp(packet, xid) if DHCP in packet and BOOTP in packet else None
        except Exception:  # noqa: BLE001  scapy raises whatever comes for bytes that it cannot read
            return None

    def _read_arp(self, arp: Any) -> Answer | None:
        mac = str(arp.hwsrc)
        if mac == self.mac.hex(":"):
            return None
        sender, target = int(IPv4Address(arp.psrc)), int(IPv4Address(arp.pdst))
        return Answer(sender or target, mac)

    def _read_dhcp(self, packet: Any, xid: int) -> Heard | None:
        bootp = packet[BOOTP]
        options = {each[0]: each[1] for each in packet[DHCP].options if isinstance(each, tuple) and len(each) > 1}
        kind = KINDS.get(options.get("message-type", 0))
        if bootp.op != 2 or kind is None:
            return None
        server = int(IPv4Address(options.get("server_id") or packet[IP].src))
        client = bytes(bootp.chaddr)[: min(bootp.hlen, 16)]
        asked = client == self.client and bootp.xid == xid
        mac = bytes.fromhex(str(packet.src).replace(":", ""))
        return Heard(self.interface, kind, server, mac, client, int(IPv4Address(bootp.yiaddr)), asked)


def ping(identifier: int) -> Packet:
    """An echo request."""
    return ICMP(type=8, id=identifier, seq=1) / Raw(ECHO_DATA)


def answer_of(packet: bytes, identifier: int) -> Answer | None:
    """Read an echo reply with its IP header; None for any other."""
    try:
        head = IP(packet)
        if ICMP in head and head[ICMP].type == 0 and head[ICMP].id == identifier:
            return Answer(int(IPv4Address(head.src)), "a host that answers ping")
    except Exception:  # noqa: BLE001  as above
        return None
    return None

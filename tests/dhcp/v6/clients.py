"""DHCPv6 messages as clients send them, and a site to answer them, for the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

from provisioner.dhcp.case import Silence
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.answer import answer
from provisioner.dhcp.v6.case import Arrival6, Reply6
from provisioner.dhcp.v6.message import Hop, Message, Type, decode, encode
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.options import (
    Ia,
    IaAddress,
    Opt,
    Options,
    VendorClass,
    addresses_in,
    decode_ia,
    decode_status,
    encode_address,
    encode_ia,
    encode_texts,
    encode_vendor_class,
    every,
    first,
)
from provisioner.dhcp.v6.site import Site6
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.model.boot import BootClient, Plan
from tests.dhcp.clients import NOW, chain

CAPTURES = Path(__file__).parent / "captures"
US = "fd00::1"
SERVER_DUID = bytes.fromhex("0004") + bytes(range(16))
MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
UUID = "77000000-0000-4000-8000-000000000017"
OVMF_DUID = bytes.fromhex("0004 00000077 0000 0040 8000000000000017")
"""As firmware sends it: SMBIOS order."""
IPXE_DUID = bytes.fromhex("0004 77000000 0000 4000 8000000000000017")
WANTED = (Opt.REQUEST_LIST, bytes.fromhex("003b003c00170010"))
PXE: Options = (
    WANTED,
    (Opt.INTERFACE_TYPE, b"\1\3\0"),
    (Opt.CLIENT_ARCH, b"\0\7"),
    (Opt.VENDOR_CLASS, encode_vendor_class(VendorClass(343, (b"PXEClient:Arch:00007:UNDI:003000",)))),
)
HTTP: Options = (
    WANTED,
    (Opt.INTERFACE_TYPE, b"\1\3\0"),
    (Opt.CLIENT_ARCH, b"\0\x10"),
    (Opt.VENDOR_CLASS, encode_vendor_class(VendorClass(343, (b"HTTPClient:Arch:00016:UNDI:003000",)))),
)
IPXE: Options = (
    WANTED,
    (Opt.CLIENT_ARCH, b"\0\7"),
    (Opt.VENDOR_CLASS, encode_vendor_class(VendorClass(343, (b"PXEClient:Arch:00007:UNDI:003010",)))),
    (Opt.USER_CLASS, encode_texts([b"iPXE"])),
)
SYSTEM: Options = ((Opt.REQUEST_LIST, b"\0\x17\0\x18"),)


def ip(text: str) -> int:
    """Read an address."""
    return int(IPv6Address(text))


def link_local(mac: str) -> int:
    """The link-local address that the kernel and OVMF make of a hardware address."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return 0xFE80 << 112 | int.from_bytes(bytes((octets[0] ^ 2,)) + octets[1:3] + b"\xff\xfe" + octets[3:], "big")


def direct(mac: str = MAC, **changes: Any) -> Arrival6:
    """How a message of the machine at this address comes in."""
    return Arrival6("eth0", link_local(mac), mac=bytes.fromhex(mac.replace(":", "")))._replace(**changes)


def duid_ll(mac: str = MAC) -> bytes:
    """The DUID that many clients make of their hardware address."""
    return b"\0\3\0\1" + bytes.fromhex(mac.replace(":", ""))


def ia(iaid: int = 1, *addresses: str, code: int = Opt.IA_NA) -> tuple[int, bytes]:
    """An identity association, as an option."""
    options = tuple(encode_address(IaAddress(ip(each), 3600, 3600)) for each in addresses)
    return encode_ia(Ia(code, iaid.to_bytes(4, "big"), options=options))


class Says(NamedTuple):
    """What a client is, to make its messages of."""

    duid: bytes = duid_ll()
    options: Options = SYSTEM

    def message(self, kind: int, *options: tuple[int, bytes], server: bytes | None = None) -> Message:
        """Write a message of this client."""
        to = ((Opt.SERVER_ID, server),) if server is not None else ()
        own = ((Opt.CLIENT_ID, self.duid),) if self.duid else ()
        return Message(kind, 0x123456, (*own, *to, *options, *self.options))


FIRMWARE, LOADER, OS = Says(OVMF_DUID, PXE), Says(IPXE_DUID, IPXE), Says()


def by_relay(message: Message, link: str = "fd00::fe", peer: int = 0, *options: tuple[int, bytes]) -> Message:
    """The message as one more relay forwards it."""
    hop = Hop(Type.RELAY_FORWARD, len(message.hops), ip(link), peer or link_local(MAC), options)
    return message._replace(hops=(hop, *message.hops))


RELAYED = Arrival6("eth0", ip("fd00::fe"), 547, ip(US))


def subnet(**changes: Any) -> Subnet6:
    """The subnet of the tables: fd00::/64 on eth0, ten addresses."""
    base = {
        "network": "fd00::/64",
        "interface": "eth0",
        "pools": ("fd00::100-fd00::109",),
        "dns": ("fd00::2", "fd00::3"),
        "search": ("rack.example",),
        "known_spare": 0,
    }
    return Subnet6(**{**base, **changes})


def site(
    *subnets: Subnet6,
    fixed: tuple[Reservation6, ...] = (),
    known: tuple[Reservation, ...] = (),
    decide: Callable[[BootClient], Plan] = chain,
    **settings: Any,
) -> Site6:
    """A site with these subnets (one as above when none are given)."""
    found = Site6(decide, **settings)
    found.duid = SERVER_DUID
    found.addresses = {"eth0": (ip(US),)}
    for each in subnets or (subnet(),):
        found.set_net(Net6(each))
    for reservation in fixed:
        found.set_reservation(reservation)
    for machine in known:
        found.set_machine(machine)
    return found


def ask(where: Site6, question: Message, arrival: Arrival6 | None = None, now: float = NOW) -> Reply6 | Silence:
    """Answer a message as it would come over the wire: encoded and decoded again."""
    return answer(decode(encode(question)), arrival or direct(), where, now)


def said(found: Reply6 | Silence) -> Message:
    """Decode a reply."""
    assert isinstance(found, Reply6), found
    return decode(found.data)


def given(found: Reply6 | Silence) -> list[list[str]]:
    """The addresses of each association in a reply, those that are still good."""
    ias = [decode_ia(Opt.IA_NA, value) for value in every(said(found).options, Opt.IA_NA)]
    return [[str(IPv6Address(each.ip)) for each in addresses_in(one) if each.valid_s] for one in ias]


def outcome(found: Reply6 | Silence) -> str:
    """An answer in one word or line: addresses, a status, or the reason of the silence."""
    if isinstance(found, Silence):
        return found.reason
    message = said(found)
    addresses = [each for one in given(found) for each in one]
    if addresses:
        return " ".join((Type(message.type).name, *addresses))
    inner = [decode_ia(Opt.IA_NA, value).options for value in every(message.options, Opt.IA_NA)]
    codes = [decode_status(first(options, Opt.STATUS))[0] for options in (*inner, message.options)]
    return f"{Type(message.type).name} status {next((code for code in codes if code), 0)}"


def acquire(where: Site6, client: Says = OS, mac: str = MAC, iaid: int = 1, now: float = NOW) -> str:
    """Go through SOLICIT and REQUEST; the address."""
    offered = given(ask(where, client.message(Type.SOLICIT, ia(iaid)), direct(mac), now))[0][0]
    question = client.message(Type.REQUEST, ia(iaid, offered), server=SERVER_DUID)
    assert given(ask(where, question, direct(mac), now)) == [[offered]]
    return offered


def captured(name: str) -> Iterator[tuple[bytes, int]]:
    """The DHCPv6 messages of a capture and who sent them, in order."""
    for frame in rdpcap(str(CAPTURES / f"{name}.pcap")):
        if IPv6 in frame and UDP in frame and {frame[UDP].sport, frame[UDP].dport} & {546, 547}:
            yield bytes(frame[UDP].payload), ip(frame[IPv6].src)


def us(client: Says, kind: int, *options: tuple[int, bytes]) -> Message:
    """A message of the client to our server."""
    return client.message(kind, *options, server=SERVER_DUID)


def stranger(number: int) -> str:
    """A hardware address that nobody knows."""
    return f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"

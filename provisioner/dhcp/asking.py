"""A request to boot as an operator describes it, and the packet that such a machine would send. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import BOOTREQUEST, ETHERNET, Packet
from provisioner.model.net import Mac


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to boot as an operator describes it. `arch` and `vendor_class` as firmware sends them."""

    mac: Mac
    arch: int | None = None
    vendor_class: str = ""
    user_class: str = ""
    uuid: str = ""
    relay: str = ""
    kind: Type = Type.DISCOVER


def packet_of(ask: Ask) -> Packet:
    """Write the packet that such a machine would send."""
    options: dict[int, bytes] = {Opt.MESSAGE_TYPE: bytes((ask.kind,))}
    vendor_class = ask.vendor_class or ("PXEClient" if ask.arch is not None and not ask.user_class else "")
    if vendor_class in {"PXEClient", "HTTPClient"} and ask.arch is not None:
        vendor_class += f":Arch:{ask.arch:05d}:UNDI:003016"
    if vendor_class:
        options[Opt.VENDOR_CLASS] = vendor_class.encode()
    if ask.arch is not None:
        options[Opt.CLIENT_ARCH] = ask.arch.to_bytes(2, "big")
    if ask.user_class:
        options[Opt.USER_CLASS] = ask.user_class.encode()
    if ask.user_class == "iPXE":
        options[Opt.IPXE] = b"\x13\x01\x01"  # it can load http:// URLs, as every usual build
    if ask.uuid:
        fields = bytes.fromhex(ask.uuid.replace("-", ""))
        options[Opt.CLIENT_UUID] = b"\0" + fields[3::-1] + fields[5:3:-1] + fields[7:5:-1] + fields[8:]
    options[Opt.REQUEST_LIST] = bytes((1, 3, 6, 12, 15, 43, 54, 60, 66, 67, 175))
    options[Opt.MAX_SIZE] = (1472).to_bytes(2, "big")
    relay = int(IPv4Address(ask.relay)) if ask.relay else 0
    chaddr = bytes.fromhex(ask.mac.replace(":", ""))
    return Packet(
        op=BOOTREQUEST, htype=ETHERNET, hops=int(bool(relay)), xid=1, secs=0, flags=0, ciaddr=0, yiaddr=0, siaddr=0,
        giaddr=relay, chaddr=chaddr, sname=bytes(64), file=bytes(128), type=int(ask.kind), options=options,
    )  # fmt: skip

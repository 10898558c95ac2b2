"""Who sent this DHCPv6 message: which network port, and firmware, loader or operating system (RFC 5970). No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from provisioner.dhcp.identify import HTTP_ARCHES, LIES
from provisioner.dhcp.pxe import HTTP_CLIENT, PXE_CLIENT
from provisioner.dhcp.v6.duid import is_duid, mac_of, mac_of_address, uuids_of
from provisioner.dhcp.v6.message import Message
from provisioner.dhcp.v6.options import (
    Opt,
    VendorClass,
    every,
    first,
    link_layer_address,
    numbers,
    user_classes,
    vendor_class,
)
from provisioner.errors import WireError
from provisioner.model.boot import Asker
from provisioner.model.net import Mac, mac_from_bytes

NO_HARDWARE = b"\0duid\0"
"""What the key of a client begins with whose hardware address nobody tells; longer than an address already."""
BOOT_CLASSES = (PXE_CLIENT, HTTP_CLIENT, b"GRUB")
_ARCH_IN_CLASS = re.compile(r"(?:PXE|HTTP)Client:Arch:(\d{5})")


class Kind(NamedTuple):
    """What kind of client asks, and what it asks for."""

    asker: Asker
    arch: int | None = None
    wanted: frozenset[int] = frozenset()
    """The options that it asks for (option 6)."""
    beside: bool = False
    """It wants an address beside the one that the machine boots with."""
    enterprise: int = 0
    """Whose words its vendor class is in; a reply in the same words is understood."""

    @property
    def boots(self) -> bool:
        """It is there to boot, and nothing else runs on the machine yet."""
        return self.asker is not Asker.OS


class Identity(NamedTuple):
    """Who asks. `key` is what leases belong to: the hardware address of the port, where it is known."""

    key: bytes
    duid: bytes
    mac: Mac
    uuids: tuple[str, ...] = ()
    """What a DUID-UUID may say of the machine's SMBIOS UUID."""


def kind_of(message: Message) -> Kind:
    """Say what kind of client sent a message; raise `WireError`."""
    vendors = [found for value in every(message.options, Opt.VENDOR_CLASS) if (found := vendor_class(value))]
    vendor = next((each for each in vendors if _text(each).startswith(BOOT_CLASSES)), None)
    said = _text(vendor) if vendor else b""
    arch = _arch(message, said.decode("ascii", "replace"))
    wanted = frozenset(numbers(message.option(Opt.REQUEST_LIST)))
    asker = _asker(said, user_classes(message.option(Opt.USER_CLASS)), arch, wanted)
    beside = asker is Asker.OS and _is_edk2(message, wanted)
    return Kind(asker, arch, wanted, beside, vendor.enterprise if vendor else 0)


def _is_edk2(message: Message, wanted: frozenset[int]) -> bool:
    """Say whether UEFI's own configuration asks, which a router advertisement told to: it may be there first.

    Nothing else is known to ask for name servers alone, with both times of its association at infinity.
    """
    ias = every(message.options, Opt.IA_NA)
    return wanted == {Opt.DNS} and len(ias) == 1 and ias[0][4:12] == b"\xff" * 8


def _text(vendor: VendorClass) -> bytes:
    return vendor.classes[0] if vendor.classes else b""


def _arch(message: Message, said: str) -> int | None:
    """Read option 61, the first of one or more, with the known lies of firmware put right as for DHCPv4."""
    arches = numbers(message.option(Opt.CLIENT_ARCH))
    arch = arches[0] if arches else None
    if arch is None and (match := _ARCH_IN_CLASS.match(said)):
        arch = int(match[1])
    return next((lie.means for lie in LIES if lie.arch == arch and re.fullmatch(lie.vendor_class, said)), arch)


def _asker(said: bytes, classes: tuple[bytes, ...], arch: int | None, wanted: frozenset[int]) -> Asker:
    if b"iPXE" in classes:
        return Asker.IPXE
    if said.startswith(HTTP_CLIENT) or arch in HTTP_ARCHES:
        return Asker.HTTP
    if said.startswith(b"GRUB") or b"GRUB" in classes:
        return Asker.GRUB
    if said.startswith(PXE_CLIENT) or (arch is not None and Opt.BOOT_URL in wanted):
        return Asker.PXE
    return Asker.OS


def identity_of(message: Message, source: int, seen: bytes = b"") -> Identity:
    """Say who sent a message. `source` is the sender's address, `seen` the Ethernet address that the frame came from.

    In this order tell the hardware address: the relay nearest to the client (RFC 6939), the frame itself where there is
    no relay, a link-local address that was made from one, a DUID that was. The last may be another port's of the same
    machine, which does no harm: a port of its own has an identity association of its own. Raises `WireError`.
    """
    duid = message.option(Opt.CLIENT_ID) or b""
    if duid and not is_duid(duid):
        raise WireError(f"a DUID of {len(duid)} bytes")
    told = b""
    for hop in reversed(message.hops):
        told = told or link_layer_address(first(hop.options, Opt.LINK_LAYER_ADDRESS))
    on_link = message.hops[-1].peer if message.hops else source
    mac = told or (b"" if message.hops else seen) or mac_of_address(on_link) or mac_of(duid)
    key = mac or NO_HARDWARE + (duid or on_link.to_bytes(16, "big"))
    return Identity(key, duid, mac_from_bytes(key), uuids_of(duid))

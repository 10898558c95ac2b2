"""Who sends DHCPv6 messages."""

from __future__ import annotations

import pytest

from provisioner.dhcp.v6.identify import NO_HARDWARE, identity_of, kind_of
from provisioner.dhcp.v6.message import Message, Type, decode
from provisioner.dhcp.v6.options import Opt, Options, VendorClass, encode_texts, encode_vendor_class
from provisioner.errors import WireError
from provisioner.model.boot import Arch, Asker
from tests.dhcp.v6.clients import (
    FIRMWARE,
    HTTP,
    IPXE,
    MAC,
    OTHER_MAC,
    OVMF_DUID,
    PXE,
    SYSTEM,
    WANTED,
    Says,
    by_relay,
    captured,
    duid_ll,
    ip,
    link_local,
)


def vendor(text: bytes, enterprise: int = 343) -> tuple[int, bytes]:
    return Opt.VENDOR_CLASS, encode_vendor_class(VendorClass(enterprise, (text,)))


KINDS: dict[str, tuple[Options, Asker, int | None]] = {
    "UEFI PXE": (PXE, Asker.PXE, Arch.EFI_X64),
    "UEFI HTTP boot": (HTTP, Asker.HTTP, Arch.EFI_X64_HTTP),
    "iPXE": (IPXE, Asker.IPXE, Arch.EFI_X64),
    "iPXE with a bare user class": ((*PXE, (Opt.USER_CLASS, b"iPXE")), Asker.IPXE, Arch.EFI_X64),
    "a system": (SYSTEM, Asker.OS, None),
    "a system with a vendor class of its own": ((vendor(b"systemd", 43793),), Asker.OS, None),
    "GRUB": ((vendor(b"GRUB"), (Opt.CLIENT_ARCH, b"\0\7")), Asker.GRUB, Arch.EFI_X64),
    "a vendor class behind another one": ((vendor(b"x", 1), *PXE), Asker.PXE, Arch.EFI_X64),
    "no vendor class, but it wants a boot file": ((WANTED, (Opt.CLIENT_ARCH, b"\0\x0b")), Asker.PXE, Arch.EFI_ARM64),
    "the architecture only in the class": ((vendor(b"PXEClient:Arch:00011:UNDI:003000"),), Asker.PXE, Arch.EFI_ARM64),
    "several architectures": (((Opt.CLIENT_ARCH, b"\0\7\0\x10"), *PXE[3:]), Asker.PXE, Arch.EFI_X64),
    "byte code, by which x86-64 is meant": (((Opt.CLIENT_ARCH, b"\0\x09"), *PXE[3:]), Asker.PXE, Arch.EFI_X64),
    "HTTP boot with the architecture of PXE": (((Opt.CLIENT_ARCH, b"\0\7"), *HTTP[3:]), Asker.HTTP, Arch.EFI_X64_HTTP),
    "no words in the vendor class": (((Opt.VENDOR_CLASS, b"\0\0\1\x57"),), Asker.OS, None),
}


@pytest.mark.parametrize(("options", "asker", "arch"), KINDS.values(), ids=KINDS.keys())
def test_kind(options: Options, asker: Asker, arch: int | None) -> None:
    found = kind_of(Message(Type.SOLICIT, 1, options))
    assert (found.asker, found.arch, found.boots) == (asker, arch, asker is not Asker.OS)


CAPTURED = {
    "ovmf-pxe6": [Asker.PXE, Asker.OS, Asker.OS, Asker.PXE, Asker.OS, Asker.OS, Asker.IPXE, Asker.IPXE],
    "ovmf-http6": [Asker.PXE, Asker.OS, Asker.OS, Asker.PXE, Asker.OS, Asker.OS, Asker.HTTP, Asker.OS, Asker.OS],
    "dhclient6-solicit": [Asker.OS, Asker.OS],
}


@pytest.mark.parametrize(("name", "askers"), CAPTURED.items())
def test_captured_clients(name: str, askers: list[Asker]) -> None:
    """OVMF asks for an address of its own beside the one that it boots with: that is no firmware's question."""
    messages = [(decode(data), source) for data, source in captured(name)]
    asked = [(message, source) for message, source in messages if message.type not in (Type.ADVERTISE, Type.REPLY)]
    assert [kind_of(message).asker for message, _ in asked][: len(askers)] == askers
    assert {identity_of(message, source).mac[:15] for message, source in asked} == {"52:54:00:77:00:"[:15]}


LAYER = (Opt.LINK_LAYER_ADDRESS, b"\0\1" + bytes.fromhex("525400000002"))
RELAYED = by_relay(FIRMWARE.message(Type.SOLICIT))
IDENTITIES = {
    "the frame tells": (FIRMWARE.message(Type.SOLICIT), ip("fe80::1234"), bytes.fromhex("525400000002"), OTHER_MAC),
    "the frame tells against the DUID": (
        Says(duid_ll()).message(1),
        link_local(MAC),
        bytes.fromhex("525400000002"),
        OTHER_MAC,
    ),
    "the address tells": (FIRMWARE.message(Type.SOLICIT), link_local(OTHER_MAC), b"", OTHER_MAC),
    "the DUID tells": (Says(duid_ll(OTHER_MAC)).message(Type.SOLICIT), ip("fe80::1234"), b"", OTHER_MAC),
    "the relay tells": (by_relay(FIRMWARE.message(1), "fd00::fe", 0, LAYER), ip("fd00::fe"), b"", OTHER_MAC),
    "the relay nearest to the client tells": (
        by_relay(by_relay(FIRMWARE.message(1), "fd00::fe", 0, LAYER), "fd01::fe", 1, (79, b"\0\1" + bytes(6))),
        ip("fd01::fe"),
        b"",
        OTHER_MAC,
    ),
    "the peer of the relay tells, and never the relay's own frame": (RELAYED, ip("fd00::fe"), b"\2\2\2\2\2\2", MAC),
}


@pytest.mark.parametrize(("message", "source", "seen", "mac"), IDENTITIES.values(), ids=IDENTITIES.keys())
def test_identity(message: Message, source: int, seen: bytes, mac: str) -> None:
    found = identity_of(message, source, seen)
    assert (found.mac, found.key.hex(":")) == (mac, mac)


def test_nobody_tells_the_hardware_address() -> None:
    found = identity_of(FIRMWARE.message(Type.SOLICIT), ip("fe80::1234"))
    assert found.key == NO_HARDWARE + OVMF_DUID
    assert identity_of(Says(b"").message(Type.INFORMATION_REQUEST), ip("fe80::1234")).key[-2:] == b"\x12\x34"


@pytest.mark.parametrize("size", [1, 2, 131, 4000])
def test_a_duid_of_a_length_that_none_has(size: int) -> None:
    with pytest.raises(WireError, match=f"a DUID of {size} bytes"):
        identity_of(Says(bytes(size)).message(Type.SOLICIT), 1)


def test_user_classes_that_are_none() -> None:
    assert kind_of(Message(1, 1, ((Opt.USER_CLASS, encode_texts([b"linux"])),))).asker is Asker.OS

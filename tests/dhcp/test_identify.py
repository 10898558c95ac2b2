"""Who asks: real firmware from captures, and the rules one by one."""

from __future__ import annotations

import re

import pytest

from provisioner.dhcp.identify import LIES, identify
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import BOOTREQUEST, decode
from provisioner.dhcp.pxe import arch_of
from provisioner.model.boot import Arch, Asker
from tests.dhcp.clients import captured, discover

LAB_UUID = "77000000-0000-4000-8000-000000000001"

CAPTURED = {
    "BIOS with QEMU's iPXE ROM": ("bios-ipxe-rom-tcg", [(Asker.IPXE, Arch.X86_BIOS)]),
    "a plain BIOS ROM, then iPXE": ("bios-plain-pxe", [(Asker.PXE, Arch.X86_BIOS), (Asker.IPXE, Arch.X86_BIOS)]),
    "UEFI with QEMU's iPXE ROM": ("uefi-ipxe-rom", [(Asker.IPXE, Arch.EFI_X64)]),
    "OVMF by PXE, then iPXE": ("ovmf-pxe4", [(Asker.PXE, Arch.EFI_X64), (Asker.IPXE, Arch.EFI_X64)]),
    "OVMF by PXE, then HTTP, then iPXE": (
        "ovmf-http4",
        [(Asker.PXE, Arch.EFI_X64), (Asker.HTTP, Arch.EFI_X64_HTTP), (Asker.IPXE, Arch.EFI_X64)],
    ),
    "arm64 firmware": ("aavmf-pxe4", [(Asker.PXE, Arch.EFI_ARM64)]),
    "OVMF with Secure Boot, PXE": ("sb-tftp", [(Asker.PXE, Arch.EFI_X64)]),
    "OVMF with Secure Boot, an unsigned loader": ("sb-unsigned", [(Asker.PXE, Arch.EFI_X64)]),
    "OVMF with Secure Boot, HTTP": ("sb-http", [(Asker.HTTP, Arch.EFI_X64_HTTP)]),
    "dhclient": ("dhclient-dora", [(Asker.OS, None)]),
    "udhcpc": ("udhcpc-dora-release", [(Asker.OS, None)]),
}


@pytest.mark.parametrize(("name", "expected"), CAPTURED.values(), ids=CAPTURED.keys())
def test_captures(name: str, expected: list[tuple[Asker, int | None]]) -> None:
    clients = [identify(sent) for sent in map(decode, captured(name)) if sent.op == BOOTREQUEST]
    assert list(dict.fromkeys((client.asker, client.arch) for client in clients)) == expected
    if expected[0][1] is not None:
        assert {client.uuid for client in clients} == {LAB_UUID}


PXE, HTTP_CLASS = b"PXEClient:Arch:00007:UNDI:003000", b"HTTPClient:Arch:00016:UNDI:003000"
RULES = {
    "a PXE ROM": ({60: PXE, 93: b"\0\7"}, (Asker.PXE, Arch.EFI_X64)),
    "the architecture only in the vendor class": ({60: PXE}, (Asker.PXE, Arch.EFI_X64)),
    "several architectures: the first": ({60: PXE, 93: b"\0\7\0\0"}, (Asker.PXE, Arch.EFI_X64)),
    "an odd length is no architecture": ({60: b"PXEClient", 93: b"\0\7\0"}, (Asker.PXE, None)),
    "x86-64 that says EFI byte code": (
        {60: b"PXEClient:Arch:00009:UNDI:003000", 93: b"\0\t"},
        (Asker.PXE, Arch.EFI_X64),
    ),
    "a URL asked for with the PXE architecture": ({60: HTTP_CLASS, 93: b"\0\7"}, (Asker.HTTP, Arch.EFI_X64_HTTP)),
    "HTTP boot that says EFI byte code": (
        {60: b"HTTPClient:Arch:00017:UNDI:003000", 93: b"\0\x11"},
        (Asker.HTTP, Arch.EFI_X64_HTTP),
    ),
    "a URL asked for with the PXE architecture, on arm64": (
        {60: b"HTTPClient:Arch:00011:UNDI:003000", 93: b"\0\x0b"},
        (Asker.HTTP, Arch.EFI_ARM64_HTTP),
    ),
    "a URL asked for with the PXE architecture, on ia32": (
        {60: b"HTTPClient:Arch:00006:UNDI:003000", 93: b"\0\6"},
        (Asker.HTTP, Arch.EFI_IA32_HTTP),
    ),
    "arm64 that leaves option 93 at zero": (
        {60: b"PXEClient:Arch:00011:UNDI:003000", 93: b"\0\0"},
        (Asker.PXE, Arch.EFI_ARM64),
    ),
    "UEFI that leaves option 93 at zero": ({60: PXE, 93: b"\0\0"}, (Asker.PXE, Arch.EFI_X64)),
    "iPXE by bare user class": ({60: PXE, 77: b"iPXE", 93: b"\0\7"}, (Asker.IPXE, Arch.EFI_X64)),
    "iPXE by RFC 3004 user class": ({60: PXE, 77: b"\4iPXE", 93: b"\0\7"}, (Asker.IPXE, Arch.EFI_X64)),
    "iPXE among several user classes": ({77: b"\3foo\4iPXE"}, (Asker.IPXE, None)),
    "iPXE by its HTTP feature alone": ({60: PXE, 93: b"\0\0", 175: b"\x13\1\1"}, (Asker.IPXE, Arch.EFI_X64)),
    "option 175 without HTTP cannot load a URL": (
        {60: PXE, 175: bytes.fromhex("b105011af41000")},
        (Asker.IPXE_TFTP, Arch.EFI_X64),
    ),
    "iPXE that lists TFTP and no HTTP": ({77: b"iPXE", 175: b"\x15\1\1"}, (Asker.IPXE_TFTP, None)),
    "the HTTP feature switched off": ({60: PXE, 175: b"\x13\1\0"}, (Asker.IPXE_TFTP, Arch.EFI_X64)),
    "a malformed option 175 is no mark": ({60: PXE, 175: b"\x13\7"}, (Asker.PXE, Arch.EFI_X64)),
    "another user class": ({60: PXE, 77: b"\3foo"}, (Asker.PXE, Arch.EFI_X64)),
    "an operating system": ({60: b"dhcpcd-9.4.1"}, (Asker.OS, None)),
    "nothing at all": ({}, (Asker.OS, None)),
}


@pytest.mark.parametrize(("options", "expected"), RULES.values(), ids=RULES.keys())
def test_rules(options: dict[int, bytes], expected: tuple[Asker, int | None]) -> None:
    found = identify(discover(options=options))
    assert (found.asker, found.arch) == expected


def test_every_lie_has_a_rule() -> None:
    """Each row of `LIES` is what corrects one of the rules above, so none can be lost unseen."""
    found = set()
    for options, _ in RULES.values():
        arch = arch_of(options.get(93))
        text = options.get(60, b"").decode()
        found.add(next((lie for lie in LIES if lie.arch == arch and re.fullmatch(lie.vendor_class, text)), None))
    assert set(LIES) <= found


UUIDS = {
    "SMBIOS order": ("00 00000077 0000 0040 8000 000000000001", LAB_UUID),
    "network order, where only that is a UUID": ("00 77000000 0000 4000 8000 000000000001", LAB_UUID),
    "all zeros name no machine": ("00" + "00" * 16, None),
    "a board maker's default names no machine": ("00 00020003 0004 0005 0006 000700080009", None),
    "another type": ("01 00000077 0000 0040 8000 000000000001", None),
    "cut short": ("00 00000077", None),
}


@pytest.mark.parametrize(("value", "uuid"), UUIDS.values(), ids=UUIDS.keys())
def test_uuid(value: str, uuid: str | None) -> None:
    assert identify(discover(options={Opt.CLIENT_UUID: bytes.fromhex(value)})).uuid == uuid

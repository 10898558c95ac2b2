"""Which loaders firmware did not start, as stories of what is seen of it."""

from __future__ import annotations

import pytest

from provisioner.boot import refusals
from provisioner.boot.refusals import Refusals
from provisioner.model.boot import Arch, Asker, BootClient
from provisioner.model.net import Mac

MAC = Mac("52:54:00:77:00:18")
UEFI = BootClient(MAC, Asker.PXE, Arch.EFI_X64)
HTTP = BootClient(MAC, Asker.HTTP, Arch.EFI_X64_HTTP)
BIOS = BootClient(MAC, Asker.PXE, Arch.X86_BIOS)
IPXE = BootClient(MAC, Asker.IPXE, Arch.EFI_X64)
OVER_IPV6 = BootClient(MAC, Asker.OS, Arch.EFI_X64_HTTP)
ARM64 = BootClient(MAC, Asker.HTTP, Arch.EFI_ARM64_HTTP)
FETCHES, SCRIPT, KERNEL, CD = "fetches", "script", "kernel", "cd"
"""What a machine does beside asking by DHCP."""

STORIES: dict[str, tuple[list[tuple[BootClient, str]], bool]] = {
    "it never fetched anything": ([(UEFI, ""), (UEFI, "")], False),
    "it fetched and asks again": ([(UEFI, ""), (UEFI, FETCHES), (UEFI, "")], True),
    "it fetched by PXE and then tries HTTP boot": ([(UEFI, FETCHES), (HTTP, "")], True),
    "it fetched by HTTP and asks again": ([(HTTP, FETCHES), (HTTP, "")], True),
    "it asks as a system does before it fetches, over IPv6": (
        [(HTTP, ""), (OVER_IPV6, ""), (OVER_IPV6, FETCHES), (HTTP, "")], True),
    "the loader asks": ([(UEFI, FETCHES), (IPXE, ""), (UEFI, "")], False),
    "the loader fetches its script": ([(UEFI, FETCHES), (UEFI, SCRIPT), (UEFI, "")], False),
    "what GRUB fetches comes after the script": ([(UEFI, FETCHES), (UEFI, SCRIPT), (UEFI, KERNEL), (UEFI, "")], False),
    "a CD with a signed loader tells nothing": ([(ARM64, CD), (ARM64, "")], False),
    "BIOS knows no signatures": ([(BIOS, FETCHES), (BIOS, "")], False),
    "what iPXE fetches is no loader of the firmware": ([(IPXE, FETCHES), (UEFI, "")], False),
    "the signed loader runs: it stays the right one": (
        [(UEFI, FETCHES), (UEFI, ""), (UEFI, FETCHES), (UEFI, SCRIPT), (UEFI, "")], True),
}  # fmt: skip


@pytest.mark.parametrize(("story", "refused"), STORIES.values(), ids=STORIES.keys())
def test_stories(story: list[tuple[BootClient, str]], refused: bool) -> None:
    seen = Refusals()
    for client, does in story:
        match does:
            case "fetches":
                seen.fetched(client, "snponly.efi")
            case "cd":
                seen.fetched(client, "cdaa64.iso")
            case "kernel":
                seen.fetched(client, "artifacts/discovery/arm64/vmlinuz")
            case "script":
                seen.started(client.mac)
            case _:
                seen.asks(client)
    assert seen.has_refused(MAC) is refused


def test_it_is_told_once() -> None:
    seen = Refusals()
    seen.fetched(UEFI, "snponly.efi")
    assert [seen.asks(UEFI), seen.asks(UEFI)] == [True, False]


def test_no_flood_makes_it_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "LIMIT", 3)
    seen = Refusals()
    for number in range(5):
        seen.fetched(UEFI._replace(mac=Mac(f"52:54:00:77:00:{number:02x}")), "snponly.efi")
    assert [seen.asks(UEFI._replace(mac=Mac(f"52:54:00:77:00:{number:02x}"))) for number in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip

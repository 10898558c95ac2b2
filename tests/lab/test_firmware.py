"""Secure Boot and arm64, with real firmware: signed loaders from Debian's packages, GRUB, and the discovery system."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.lab import process
from provisioner.lab.daemon import log_of
from provisioner.lab.hardware import Firmware
from tests.lab.driven import Driven, driven
from tests.lab.racks import Screen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(7200, func_only=True)]

SECURE = "node17"
ARM64, BY_HTTP = "node17", "node18"
BOOT_S = 2000.0


@pytest.fixture(scope="module")
def racked() -> Iterator[Driven]:
    """The rack with its daemon, which has the discovery system and loaders."""
    with driven("provlab-firmware", "--kinds", Firmware.UEFI_SECURE, "--machines", "1") as lab:
        lab.loaders("amd64")
        lab.discovery()
        lab.control("discover", SECURE)
        yield lab


@pytest.fixture(scope="module")
def varied() -> Iterator[Driven]:
    """The same of two architectures, for machines that take more time."""
    kinds = f"{Firmware.UEFI_ARM64},{Firmware.UEFI_SECURE_HTTP}"
    with driven("provlab-firmwares", "--kinds", kinds, "--machines", "2") as lab:
        lab.loaders("amd64", "arm64")
        lab.discovery()
        lab.discovery("arm64")
        lab.control("discover", f"{ARM64},{BY_HTTP}")
        yield lab


def discovered(lab: Driven, name: str) -> None:
    """Wait for the end of a discovery that is under way."""
    ended = process.wait_until(lambda: lab.machine(name)["state"] != "inspecting", BOOT_S, tick_s=2.0)
    assert ended, lab.control("why", name)
    assert lab.machine(name)["state"] == "ready", lab.control("why", name) + log_of(lab.spec).read_text()[-4000:]


def texts(lab: Driven, name: str, event: str) -> list[str]:
    return [line["text"] for line in lab.trace(name) if line["event"] == event]


def refused(lab: Driven, name: str, fetched: str) -> None:
    """The daemon is not told of Secure Boot: that the firmware refused iPXE is what tells it. The next test goes on."""
    Screen(lab.spec, name).expect("Access Denied|Security Violation|Secure Boot", limit_s=BOOT_S)
    assert any("snponly.efi" in text for text in texts(lab, name, fetched))
    lab.control("lab", "power", name, "reset", "--name", lab.name)


def test_secure_boot_refuses_what_nobody_signed(racked: Driven) -> None:
    refused(racked, SECURE, "tftp.done")


def test_the_signed_chain_by_tftp(racked: Driven) -> None:
    discovered(racked, SECURE)
    assert racked.machine(SECURE)["facts"]["secure_boot"] is True
    assert texts(racked, SECURE, "boot.refused")
    fetched = " ".join(texts(racked, SECURE, "tftp.done"))
    for name in ("shimx64.efi", "grubx64.efi", "artifacts/discovery/amd64/vmlinuz", "artifacts/discovery/amd64/initrd"):
        assert name in fetched
    said = Screen(racked.spec, SECURE).text()
    assert "secureboot: Secure boot enabled" in said or "lockdown" in said.lower()


@pytest.mark.long
def test_secure_boot_by_http_refuses_what_nobody_signed(varied: Driven) -> None:
    refused(varied, BY_HTTP, "http.sent")


@pytest.mark.long
def test_the_signed_chain_by_http_is_on_a_cd(varied: Driven) -> None:
    """GRUB as Debian signs it has no module for HTTP: it finds all that it starts on the CD that came before it."""
    screen = Screen(varied.spec, BY_HTTP)
    screen.expect("Secure boot enabled|[Ll]ock(?:ed )?down", limit_s=BOOT_S)
    screen.expect("discovery system", limit_s=BOOT_S)
    assert any("cdx64.iso" in text for text in texts(varied, BY_HTTP, "boot.refused"))
    assert any("cdx64.iso" in text for text in texts(varied, BY_HTTP, "http.sent"))
    assert not texts(varied, BY_HTTP, "tftp.done"), "nothing of it came by TFTP"


@pytest.mark.long
def test_arm64_reaches_the_discovery_system(varied: Driven) -> None:
    discovered(varied, ARM64)
    facts = varied.machine(ARM64)["facts"]
    assert facts["cpu"]["architecture"] == "aarch64"
    assert "grubaa64.efi" in " ".join(texts(varied, ARM64, "tftp.done"))

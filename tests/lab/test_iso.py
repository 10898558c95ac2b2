"""UEFI HTTP boot straight to an ISO, which the firmware keeps in memory, and to an EFI image. No loader of ours.
By HTTP, and by HTTPS where the firmware trusts the daemon's CA; where it does not, it says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.lab import daemon, process
from provisioner.lab.daemon import log_of
from provisioner.lab.hardware import Firmware
from provisioner.store.authority import Authority
from tests.lab import isos
from tests.lab.driven import CALL_S, Driven, driven
from tests.lab.racks import Screen

NODE = "node17"
BOOT_S = 2000.0
pytestmark = [pytest.mark.lab, pytest.mark.timeout(3 * BOOT_S + 10 * CALL_S, func_only=True)]


@pytest.fixture(scope="module")
def racked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """The rack with one machine, and its daemon, which has the image."""
    folder = tmp_path_factory.mktemp("isos")
    with driven("provlab-iso", "--kinds", Firmware.UEFI_HTTP, "--machines", "1") as lab:
        lab.control("artifacts", "import", "memtest/memtest64.efi", str(isos.image(folder / "x.efi")))
        yield lab


def trusts(lab: Driven, who: str) -> None:
    """Say who on the machine trusts the daemon's CA."""
    lab.control("dhcp", "reserve", lab.spec.machine(NODE).identity.macs[0], "--https", who)


def seen(lab: Driven) -> list[tuple[str, str]]:
    return [(line["event"], line["text"]) for line in lab.trace(NODE)]


def test_firmware_refuses_whom_it_does_not_trust(racked: Driven, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", time.time()).certificate_file.read_text()
    daemon.trust(racked.spec, other)
    trusts(racked, "firmware")
    racked.control("boot", NODE, "memtest")
    told = process.wait_until(lambda: "http.tls-refused" in dict(seen(racked)), BOOT_S, tick_s=1.0)
    assert told, Screen(racked.spec, NODE).text()[-2000:] + log_of(racked.spec).read_text()[-4000:]
    assert "does not trust our CA" in dict(seen(racked))["http.tls-refused"]
    assert "shakes no hands with us" in racked.control("why", NODE)
    racked.control("cancel", NODE)
    daemon.trust(racked.spec, racked.control("ca", "export"))


def test_firmware_starts_an_efi_image_by_https(racked: Driven) -> None:
    starts(racked, "memtest", "memtest64.efi", "EFI", "firmware")


@pytest.mark.long
def test_firmware_starts_an_iso_by_http(racked: Driven, tmp_path: Path) -> None:
    built = racked.discovery()
    whole = isos.iso(tmp_path / "x.iso", built["vmlinuz"], built["initrd.img"], "console=ttyS0 panic=30")
    racked.control("artifacts", "import", "iso/image.iso", str(whole))
    starts(racked, "iso", "image.iso", "ISO", "nobody").expect("discovery system", limit_s=BOOT_S)


def starts(racked: Driven, bootenv: str, name: str, kind: str, who: str) -> Screen:
    """The firmware starts what a bootenv has by itself, by HTTPS where it trusts our CA; its screen from then on."""
    trusts(racked, who)
    screen = Screen(racked.spec, NODE)
    screen.skip()
    said = racked.control("boot", NODE, bootenv, "--wait", limit_s=BOOT_S)
    screen.expect(f"{isos.HELLO}: {kind}", limit_s=BOOT_S)
    lines = seen(racked)
    assert any(event == "http.sent" and f"artifacts/{bootenv}/amd64/{name}" in text for event, text in lines), (
        said + log_of(racked.spec).read_text()[-4000:]
    )
    ack = [text for event, text in lines if event == "dhcp.ack" and bootenv in text][-1]
    assert ack.endswith("; by HTTPS, as it trusts our CA") is (who == "firmware")
    assert not any("snponly.efi" in text for _, text in lines)
    return screen

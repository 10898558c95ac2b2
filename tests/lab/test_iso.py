"""UEFI HTTP boot straight to an ISO, which the firmware keeps in memory, and to an EFI image. No loader of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.lab.daemon import log_of
from provisioner.lab.hardware import Firmware
from tests.lab import isos
from tests.lab.driven import Driven, driven
from tests.lab.racks import Screen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

NODE = "node17"
BOOT_S = 240.0


@pytest.fixture(scope="module")
def racked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """The rack with one machine, and its daemon, which has the ISO and the image."""
    folder = tmp_path_factory.mktemp("isos")
    with driven("provlab-iso", "--kinds", Firmware.UEFI_HTTP, "--machines", "1") as lab:
        built = lab.store("discovery", "--kernel", "virtual")
        whole = isos.iso(folder / "x.iso", built["vmlinuz"], built["initrd.img"], "console=ttyS0 panic=30")
        lab.control("artifacts", "import", "iso/image.iso", str(whole))
        lab.control("artifacts", "import", "memtest/memtest64.efi", str(isos.image(folder / "x.efi")))
        yield lab


STARTS = {
    "an ISO": ("iso", "image.iso", "ISO", "discovery system"),
    "an EFI image": ("memtest", "memtest64.efi", "EFI", ""),
}


@pytest.mark.parametrize(("bootenv", "name", "kind", "then"), STARTS.values(), ids=STARTS.keys())
def test_firmware_starts_it_by_itself(racked: Driven, bootenv: str, name: str, kind: str, then: str) -> None:
    screen = Screen(racked.spec, NODE)
    screen.skip()
    said = racked.control("boot", NODE, bootenv, "--wait", limit_s=BOOT_S)
    screen.expect(f"{isos.HELLO}: {kind}", limit_s=BOOT_S)
    screen.expect(then, limit_s=BOOT_S)
    lines = [(line["event"], line["text"]) for line in racked.trace(NODE)]
    assert any(event == "http.sent" and f"artifacts/{bootenv}/amd64/{name}" in text for event, text in lines), (
        said + log_of(racked.spec).read_text()[-4000:]
    )
    assert not any("snponly.efi" in text for _, text in lines)

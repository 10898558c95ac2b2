"""Real firmware boots over IPv6 alone: PXE by TFTP, HTTP, HTTPS; iPXE and the discovery system. No IPv4 is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.lab.daemon import log_of
from provisioner.lab.hardware import Firmware
from tests.lab import isos
from tests.lab.driven import CALL_S, Driven, driven
from tests.lab.racks import Screen

BOOT_S = 2000.0
pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(2 * BOOT_S + 10 * CALL_S, func_only=True)]
STEPS = {
    "node17": (Firmware.UEFI_PXE6, "tftp.done"),
    "node18": (Firmware.UEFI_HTTP6, "http.sent"),
}


@pytest.fixture(scope="module")
def racked() -> Iterator[Driven]:
    """The rack with its daemon, which has the discovery system; machines have been discovered."""
    kinds = ",".join(firmware for firmware, _ in STEPS.values())
    with driven("provlab-ipv6", "--kinds", kinds, "--machines", str(len(STEPS))) as lab:
        lab.discovery()
        lab.control("discover", ",".join(STEPS), "--wait", limit_s=BOOT_S)
        yield lab


@pytest.mark.parametrize("name", STEPS)
def test_machines_are_discovered_over_ipv6_alone(racked: Driven, name: str) -> None:
    assert racked.spec.machine(name).identity.firmware is STEPS[name][0]
    Screen(racked.spec, name).expect("discovery system", limit_s=1.0)
    machine = racked.machine(name)
    assert machine["state"] == "ready", log_of(racked.spec).read_text()[-4000:]
    assert machine["facts"]["serial"] == f"LAB00{name[-2:]}"


@pytest.mark.parametrize("name", STEPS)
def test_the_trace_tells_who_asked_and_what_was_answered(racked: Driven, name: str) -> None:
    """Firmware and iPXE write the machine's UUID in different orders, and are the same machine."""
    seen = [(line["event"], line["text"]) for line in racked.trace(name)]
    assert any(event == STEPS[name][1] and "snponly.efi" in text for event, text in seen), seen
    assert {"dhcp6.advertise", "dhcp6.reply", "http.script"} <= {event for event, _ in seen}
    assert not any(event.startswith("dhcp.") for event, _ in seen)
    booted = [text.split()[4].rstrip(",") for event, text in seen if event == "dhcp6.reply" and "inspecting" in text]
    assert len(set(booted)) == 1, "firmware, loader and system have one address"


def test_an_efi_image_is_started_by_https_over_ipv6_alone(racked: Driven, tmp_path: Path) -> None:
    racked.control("dhcp", "reserve", racked.spec.machine("node18").identity.macs[0], "--https", "firmware")
    racked.control("artifacts", "import", "memtest/memtest64.efi", str(isos.image(tmp_path / "x.efi")))
    screen = Screen(racked.spec, "node18")
    screen.skip()
    racked.control("boot", "node18", "memtest", "--wait", limit_s=BOOT_S)
    screen.expect(f"{isos.HELLO}: EFI", limit_s=BOOT_S)
    sent = [line["text"] for line in racked.trace("node18") if line["event"] == "http.sent"]
    assert "artifacts/memtest/amd64/memtest64.efi" in sent[-1]
    told = [
        line["text"] for line in racked.trace("node18") if line["event"] == "dhcp6.reply" and "memtest" in line["text"]
    ]
    assert told[-1].endswith("; by HTTPS, as it trusts our CA")

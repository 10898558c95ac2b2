"""The Protocol itself: what it names, and that the fake is one."""

from __future__ import annotations

from provisioner.bmc.verbs import Bmc, Press
from tests.bmc.fake import FakeBmc


def test_the_fake_is_a_bmc() -> None:
    bmc: Bmc = FakeBmc()
    assert bmc.address.host


def test_presses_are_named_like_capabilities() -> None:
    assert {f"power.{press}" for press in Press} == {
        "power.on", "power.off", "power.soft-off", "power.cycle", "power.reset", "power.nmi",
    }  # fmt: skip

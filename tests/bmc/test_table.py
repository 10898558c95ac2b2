"""The table of verbs: names, and what may be retried."""

from __future__ import annotations

import re

from provisioner.bmc.table import VERBS

ONCE_ONLY = {
    "power.soft-off", "power.cycle", "power.reset", "power.nmi", "accounts.create", "accounts.password", "network.set",
    "certificate.request", "certificate.replace", "firmware.update", "firmware.push", "volumes.create", "drive.erase",
}  # fmt: skip


def test_names_are_capabilities() -> None:
    assert all(re.fullmatch(r"[a-z]+(\.[a-z-]+){0,2}", name) for name in VERBS)
    assert {"power.cycle", "boot.once.pxe", "boot.always.bios-setup", "vmedia.insert"} <= set(VERBS)


def test_what_does_another_thing_the_second_time_is_never_retried() -> None:
    assert {verb.name for verb in VERBS.values() if not verb.again} == ONCE_ONLY


def test_reads_may_be_retried_and_everything_has_an_end() -> None:
    assert all(verb.again for verb in VERBS.values() if not verb.changes)
    assert all(0 < verb.limit_s <= 12 * 3600 for verb in VERBS.values())

"""The quirks table: read, matched, and every entry backed by a test that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.bmc.pool import load_quirks
from provisioner.bmc.quirks import PLAIN, Quirks, parse_quirks, quirks_of
from provisioner.errors import ConfigError
from provisioner.model.bmc import BmcIdentity, Driver

ROOT = Path(__file__).parents[2]

GOOD: dict[str, Any] = {
    "match": {"driver": "redfish", "vendor": "Acme*", "firmware": "1.*"},
    "set": {"once_reads_always": True, "distrust_power_s": 20},
    "reason": "r",
    "reference": "r",
    "test": "t",
}
LATER: dict[str, Any] = GOOD | {"match": {"driver": "redfish", "vendor": "Acme*"}, "set": {"distrust_power_s": 5.0}}

BOARDS = {
    "fits": (
        [GOOD],
        Driver.REDFISH,
        BmcIdentity(vendor="Acme Inc.", firmware="1.7"),
        Quirks(once_reads_always=True, distrust_power_s=20),
    ),
    "another firmware": ([GOOD], Driver.REDFISH, BmcIdentity(vendor="Acme Inc.", firmware="2.0"), PLAIN),
    "another driver": ([GOOD], Driver.IPMI, BmcIdentity(vendor="Acme Inc.", firmware="1.7"), PLAIN),
    "case counts": ([GOOD], Driver.REDFISH, BmcIdentity(vendor="ACME", firmware="1.7"), PLAIN),
    "a later entry wins": (
        [GOOD, LATER],
        Driver.REDFISH,
        BmcIdentity(vendor="Acme", firmware="1.7"),
        Quirks(once_reads_always=True, distrust_power_s=5.0),
    ),
}


@pytest.mark.parametrize(("entries", "driver", "board", "quirks"), BOARDS.values(), ids=BOARDS.keys())
def test_quirks_of(entries: list[Any], driver: Driver, board: BmcIdentity, quirks: Quirks) -> None:
    assert quirks_of(parse_quirks({"quirks": entries}, "x.yaml"), driver, board) == quirks


FAULTY = {
    "no list": ({"quirks": "x"}, "no list"),
    "an entry that is no mapping": ({"quirks": [1]}, "quirks[0]: not a mapping"),
    "no reason": ({"quirks": [GOOD | {"reason": None}]}, "quirks[0]: reason: missing"),
    "an unknown key": ({"quirks": [GOOD | {"why": "x"}]}, "quirks[0]: why: unknown key"),
    "an unknown driver": ({"quirks": [GOOD | {"match": {"driver": "telnet"}}]}, "needs a driver"),
    "an unknown pattern": ({"quirks": [GOOD | {"match": {"driver": "ipmi", "colour": "x"}}]}, "colour"),
    "an unknown setting": ({"quirks": [GOOD | {"set": {"magic": True}}]}, "magic: unknown"),
    "a setting of the wrong type": ({"quirks": [GOOD | {"set": {"boot_readback": 1}}]}, "boot_readback"),
    "nothing set": ({"quirks": [GOOD | {"set": {}}]}, "set: missing"),
}


@pytest.mark.parametrize(("value", "fault"), FAULTY.values(), ids=FAULTY.keys())
def test_a_faulty_table_is_refused(value: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_quirks(value, "x.yaml")
    assert fault in str(caught.value)


def test_every_entry_of_ours_names_a_test_that_exists() -> None:
    table = load_quirks()
    assert table
    for quirk in table:
        path, _, name = quirk.test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), quirk.test

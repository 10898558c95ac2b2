"""One JSON shape for each thing, with no secret in it."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from provisioner.model.machine import Failure, State
from provisioner.web import views
from tests.web.fakes import NODE17, NOW

TIMES = {
    "never": (0.0, None),
    "the epoch's first second": (1.0, "1970-01-01T00:00:01.000Z"),
    "milliseconds": (1_800_000_000.5, "2027-01-15T08:00:00.500Z"),
}


@pytest.mark.parametrize(("at", "written"), TIMES.values(), ids=TIMES.keys())
def test_when(at: float, written: str | None) -> None:
    assert views.when(at) == written


MASKED = {
    "a password": ("root_password", "x", views.MASK),
    "its hash": ("root_password_hash", "$6$", views.MASK),
    "a join token": ("JOIN_TOKEN", "x", views.MASK),
    "whatever lies under such a name": ("secrets", {"a": 1}, views.MASK),
    "an API key": ("api_key", "x", views.MASK),
    "public keys are for reading": ("ssh_keys", ["ssh-ed25519 AAAA"], ["ssh-ed25519 AAAA"]),
    "a keyboard is none": ("keyboard", "de", "de"),
    "not set": ("root_password", "", ""),
    "deep inside": ("users", [{"name": "a", "password": "x"}], [{"name": "a", "password": views.MASK}]),
}


@pytest.mark.parametrize(("name", "value", "shown"), MASKED.values(), ids=MASKED.keys())
def test_masked(name: str, value: object, shown: object) -> None:
    assert views.masked({name: value}) == {name: shown}


def test_machine_view() -> None:
    failure = Failure("no DHCP request within 300 s", "dhcp", NOW, State.READY, "check the cable")
    view = json.loads(msgspec.json.encode(views.machine_view(replace(NODE17, failure=failure))))
    assert view["profile"] == {"name": "small", "reason": "memory below 4 GiB"}
    assert view["bmc"]["url"] == "ipmi://admin@192.0.2.17:623"
    assert view["facts"]["disks"][0]["size_bytes"] == 8 << 30
    assert view["failure"]["hint"] == "check the cable"
    assert view["run"] is None
    assert view["params"] == {"hostname": "node17", "root_password": "(set)"}

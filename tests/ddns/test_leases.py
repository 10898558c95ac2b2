"""What leases say of names."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.ddns.leases import Holder, LeaseNames
from provisioner.ddns.names import HTYPE, Owner, Wanted
from provisioner.ddns.settings import Clients, Dns
from provisioner.dhcp.leases import Lease, LeaseState

KEY = b"\x52\x54\0\0\0\1"
LEASE = Lease(0x0A000005, KEY, "p", until=200.0, name="node1")
ADDRESS = b"\x0a\0\0\5"
NAMED = Wanted("node1.rack.example.", Owner(HTYPE, b"\1" + KEY), 200.0)


class Kept:
    def __init__(self) -> None:
        self.said: list[tuple[bytes, Wanted | None]] = []

    def hold(self, address: bytes, wanted: Wanted) -> None:
        self.said.append((address, wanted))

    def drop(self, address: bytes) -> None:
        self.said.append((address, None))


CASES: dict[str, tuple[dict[str, Any], bool, Clients, Wanted | None]] = {
    "a known machine": ({}, True, Clients.KNOWN, NAMED),
    "an unknown machine": ({}, False, Clients.KNOWN, None),
    "an unknown machine, where all have names": ({}, False, Clients.ALL, NAMED),
    "a lease that was given back": ({"state": LeaseState.RELEASED}, True, Clients.KNOWN, None),
    "an address that was declined": ({"state": LeaseState.DECLINED, "key": b""}, True, Clients.KNOWN, None),
    "a lease that is over": ({"until": 100.0}, True, Clients.KNOWN, None),
    "no name": ({"name": ""}, True, Clients.KNOWN, None),
    "a name that is none": ({"name": "a b"}, True, Clients.KNOWN, None),
}


def test_the_name_that_a_machine_has_now_counts() -> None:
    kept, settings = Kept(), Dns(server="127.0.0.1", forward=("rack.example",))
    LeaseNames(settings, kept, lambda _: Holder(True, "", "", "later"), lambda: 100.0)(LEASE)
    assert kept.said == [(ADDRESS, NAMED._replace(name="later.rack.example."))]


@pytest.mark.parametrize(("change", "known", "clients", "wanted"), CASES.values(), ids=CASES.keys())
def test_leases(change: dict[str, Any], known: bool, clients: Clients, wanted: Wanted | None) -> None:
    kept, settings = Kept(), Dns(server="127.0.0.1", forward=("rack.example",), clients=clients)
    LeaseNames(settings, kept, lambda _: Holder(known, "", ""), lambda: 100.0)(LEASE._replace(**change))
    assert kept.said == [(ADDRESS, wanted)]


def test_a_lease_of_v6_is_the_same_machines() -> None:
    """DHCPv6 numbers the associations of a machine behind its hardware address."""
    kept, settings = Kept(), Dns(server="127.0.0.1", forward=("rack.example",))
    lease = LEASE._replace(ip=5, key=KEY + b"\1")
    LeaseNames(settings, kept, lambda _: Holder(True, "", ""), lambda: 100.0, size=16)(lease)
    assert kept.said == [(bytes(15) + b"\5", NAMED)]

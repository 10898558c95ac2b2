"""By which subnets `doctor` judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.cli.client import Client
from provisioner.cli.doctor_served import served
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.dhcp.v6.subnets import Mode6
from provisioner.model.boot import Unknown
from tests.cli.conftest import Do
from tests.dhcp.clients import subnet
from tests.dhcp.v6.clients import subnet as subnet6
from tests.web.dhcp import Desk

FILE = Dhcp(
    subnets=(subnet(name="rack1", interface="eth1", mode=Mode.OFF, router=()),),
    subnets6=(subnet6(name="rack6", interface="eth1", mode=Mode6.OFF),),
    allowed_servers=("10.0.0.66",),
)
TAKEN = replace(FILE.subnets[0], mode=Mode.AUTHORITATIVE, unknown=Unknown.IGNORE, options={"tftp-server-name": "é"})
TAKEN6 = replace(FILE.subnets6[0], mode=Mode6.AUTHORITATIVE)
LAB = Subnet(network="10.7.0.0/24", name="lab", interface="eth7", pools=("10.7.0.10-10.7.0.20",))


@pytest.fixture
def desk(loop: Do, tmp_path: Path) -> Iterator[Desk]:
    async def make() -> Desk:
        return await Desk(tmp_path, FILE).open()

    made = loop(make())
    yield made
    loop(made.close())


def asked(desk: Desk) -> Dhcp:
    return served(Client(str(desk.socket)), FILE)


def test_what_operators_have_changed_holds(desk: Desk, loop: Do) -> None:
    """As a take-over goes: the file has what was there before, until the next restart."""
    assert asked(desk) == FILE
    loop(desk.book.subnets.set(TAKEN, LAB))
    loop(desk.book6.subnets.set(TAKEN6))
    assert asked(desk) == replace(FILE, subnets=(TAKEN, LAB), subnets6=(TAKEN6,))


def test_where_a_fallback_is_in_force_we_are_a_proxy(desk: Desk, loop: Do) -> None:
    loop(desk.book.subnets.set(TAKEN))
    desk.fallen = {"rack1": "10.0.0.66"}
    assert [each.mode for each in asked(desk).subnets] == [Mode.PROXY]


def test_where_no_daemon_answers_the_file_holds(tmp_path: Path) -> None:
    assert served(Client(str(tmp_path / "none.sock")), FILE) == FILE


def test_a_daemon_on_another_host_has_other_interfaces() -> None:
    assert served(Client("https://192.0.2.1:8443"), FILE) == FILE

"""Machines in memory are found by everything that names them, and only by what names them now."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from provisioner.errors import NotFoundError
from provisioner.lifecycle.inputs import Begin, Cancel
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.facts import Facts, Nic
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac

A, B = Mac("52:54:00:00:00:0a"), Mac("52:54:00:00:00:0b")
U1, U2 = "4c4c4544-0042-3510-8051-b7c04f4e3132", "4c4c4544-0043-3610-8052-b8c04f4e3133"
NODE = Machine("m1", "node17", State.READY, macs=(A,), uuid=U1)


def test_found_by_name_id_mac_and_uuid() -> None:
    machines = Machines([NODE])
    assert machines.get("node17") is machines.get("m1") is machines.by_mac(A) is machines.by_uuid(U1) is NODE
    assert machines.by_mac(B) is None
    assert (len(machines), machines.all()) == (1, [NODE])


def test_a_change_moves_the_index_with_it() -> None:
    machines = Machines([NODE])
    renamed = replace(NODE, name="node18", macs=(B,), uuid=U2)
    machines.put(renamed)
    assert machines.get("node18") is machines.by_mac(B) is machines.by_uuid(U2) is renamed
    assert machines.find("node17") is machines.by_mac(A) is machines.by_uuid(U1) is None


def test_who_is_forgotten_by_an_older_word_of_it_leaves_nothing() -> None:
    machines = Machines([NODE])
    machines.put(replace(NODE, name="node18", macs=(B,)))
    machines.remove(NODE)
    assert machines.all() == []
    assert machines.find("node18") is machines.by_mac(B) is None


def test_those_without_a_port_are_told_apart() -> None:
    machines = Machines([NODE, replace(NODE, id="m2", name="node18", macs=())])
    assert machines.without_ports == {"m2"}
    machines.put(replace(NODE, macs=()))
    machines.put(replace(NODE, id="m2", name="node18", macs=(B,)))
    assert machines.without_ports == {"m1"}
    machines.remove(machines.get("m1"))
    assert machines.without_ports == set()


def test_a_port_of_two_machines_is_of_the_first_until_that_has_it_no_more() -> None:
    machines = Machines([NODE])
    other = Machine("m2", "node18", State.READY, macs=(A,))
    machines.put(other)
    machines.put(replace(other, state=State.ACTIVE))
    assert machines.by_mac(A) is NODE
    machines.put(replace(NODE, macs=()))
    assert machines.by_mac(A) is machines.get("node18")


REPORTS: dict[str, tuple[Facts, list[str]]] = {
    "the UUID": (Facts(uuid=U1), ["node17"]),
    "the serial number, however short": (Facts(serial="s7"), ["node18"]),
    "a port, on the USB bus, too": (Facts(nics=(Nic("usb0", B, usb=True),)), ["node18"]),
    "each with another": (Facts(uuid=U1, nics=(Nic("eth0", B),)), ["node17", "node18"]),
    "nothing": (Facts(uuid=U2, serial="S8"), []),
}


@pytest.mark.parametrize(("facts", "names"), REPORTS.values(), ids=REPORTS.keys())
def test_what_a_report_may_be_about_has_something_in_common_with_it(facts: Facts, names: list[str]) -> None:
    machines = Machines([NODE, Machine("m2", "node18", State.READY, macs=(B,), serial="S7")])
    assert [machine.name for machine in machines.alike(facts)] == names


BMC = BmcAddress(Driver.REDFISH, "bmc17.example", 443, "admin")
IPMI = BmcAddress(Driver.IPMI, "BMC17.Example.", 623, "admin")
ONE_BOARD: dict[str, tuple[BmcAddress, str]] = {
    "the same": (BMC, "board"),
    "by another user": (replace(BMC, username="root", fingerprint="ab"), "board"),
    "spelled otherwise": (replace(BMC, host="BMC17.Example."), "board"),
    "with its only system named": (replace(BMC, system="1"), "board"),
    "by another driver": (IPMI, "host"),
    "by another driver, with its only system named": (replace(IPMI, driver=Driver.LIBVIRT, system="vm1"), "host"),
    "at another port": (replace(BMC, port=8443), ""),
    "on another host": (replace(BMC, host="bmc18.example"), ""),
    "by another driver on another host": (replace(IPMI, host="bmc18.example"), ""),
}


@pytest.mark.parametrize(("asked", "same"), ONE_BOARD.values(), ids=ONE_BOARD.keys())
def test_found_by_the_address_of_its_board(asked: BmcAddress, same: str) -> None:
    machines = Machines([replace(NODE, bmc=BMC), replace(NODE, id="m2", name="node18", macs=(B,))])
    found = [machines.get("node17")]
    assert machines.by_bmc(asked) == (found if same == "board" else [])
    assert machines.by_bmc_host(asked) == (found if same == "host" else [])
    assert (BMC.same_board(asked), asked.same_board(BMC)) == (same == "board", same == "board")
    assert (BMC.same_host(asked), asked.same_host(BMC)) == (same == "host", same == "host")


def test_systems_of_one_controller_are_told_apart_and_other_ways_found() -> None:
    one, other = (replace(BMC, host="fd00:0::1", system=system) for system in ("a", "b"))
    ipmi = replace(BMC, driver=Driver.IPMI)
    machines = Machines([
        replace(NODE, bmc=one), replace(NODE, id="m2", name="node18", bmc=other), replace(NODE, id="m3", name="node19"),
    ])  # fmt: skip
    assert [each.name for each in machines.by_bmc(replace(other, host="FD00::1"))] == ["node18"]
    assert [each.name for each in machines.by_bmc(replace(one, system=""))] == ["node17", "node18"]
    assert not one.same_board(other)
    domain = replace(one, driver=Driver.LIBVIRT, system="vm1")
    assert not one.same_host(domain)
    assert machines.by_bmc_host(domain) == []
    assert [each.name for each in machines.by_bmc_host(replace(domain, system=""))] == ["node17", "node18"]
    machines.put(replace(NODE, bmc=one, more_bmcs=(ipmi,)))
    assert [each.name for each in machines.by_bmc(ipmi)] == ["node17"]
    machines.put(replace(NODE, bmc=ipmi))
    assert machines.by_bmc(one) == []
    machines.remove(machines.get("node17"))
    assert machines.by_bmc(ipmi) == []
    assert machines.by_bmc_host(one) == []


def test_moving_are_those_with_a_run_under_way() -> None:
    machines = Machines([NODE])
    moving, _ = advance(NODE, Begin("r1", Verb.INSPECT, "discovery"), 0.0)
    machines.put(moving)
    assert machines.moving() == [moving]
    ended, _ = advance(moving, Cancel(), 1.0)
    machines.put(ended)
    assert machines.moving() == []


SLIPS = {
    "a letter too few": "nod17",
    "a letter too many": "nodes17",
    "a wrong one": "node27",
    "two swapped": "node71",
    "capitals": "Node17",
}


@pytest.mark.parametrize("ref", SLIPS.values(), ids=SLIPS.keys())
def test_what_is_not_there_is_said_with_what_is_near(ref: str) -> None:
    machines = Machines([NODE])
    with pytest.raises(NotFoundError, match=r"did you mean node17\?"):
        machines.get(ref)
    with pytest.raises(NotFoundError, match="`provisionctl machines` lists them"):
        machines.get("x" * 100_000)
    machines.remove(NODE)
    with pytest.raises(NotFoundError, match="provisionctl machines"):
        machines.get("node17")


BY_UUID: dict[str, tuple[str, list[Machine], str]] = {
    "in the other byte order": (str(UUID(bytes=UUID(U1).bytes_le)), [NODE], "node17"),
    "in capitals": (U1.upper(), [NODE], "node17"),
    "of two machines, each of which it may be": (U1, [NODE, replace(NODE, id="m2", name="node18")], ""),
    "that is none": ("11111111-2222-3333-4444-555555555555",
                     [replace(NODE, uuid="11111111-2222-3333-4444-555555555555")], ""),
}  # fmt: skip


@pytest.mark.parametrize(("uuid", "known", "name"), BY_UUID.values(), ids=BY_UUID.keys())
def test_found_by_a_uuid(uuid: str, known: list[Machine], name: str) -> None:
    found = Machines(known).by_uuid(uuid)
    assert (found.name if found else "") == name

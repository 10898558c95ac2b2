"""Which known machine a report is about."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from provisioner.discovery.identity import doubt, identify, meaningful
from provisioner.errors import ConflictError
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver
from provisioner.model.facts import Facts, Nic
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac, parse_mac

U1, U2 = "4c4c4544-0042-3510-8051-b7c04f4e3132", "4c4c4544-0043-3610-8052-b8c04f4e3133"
M1, M2, M3 = (parse_mac(f"52:54:00:77:00:0{n}") for n in (1, 2, 3))
JUNK = "03000200-0400-0500-0006-000700080009"


def machine(name: str, uuid: str = "", serial: str = "", *macs: str) -> Machine:
    return Machine(name, name, State.READY, uuid=uuid, serial=serial, macs=tuple(parse_mac(mac) for mac in macs))


def report(uuid: str = "", serial: str = "", *macs: str) -> Facts:
    return Facts(uuid=uuid, serial=serial, nics=tuple(Nic(f"eth{n}", parse_mac(mac)) for n, mac in enumerate(macs)))


A, B = machine("a", U1, "S1", M1), machine("b", U2, "S2", M2)

FOUND = {
    "nothing in common: a new machine": (report("", "S9", M3), [A, B], None),
    "no machine known": (report(U1, "S1", M1), [], None),
    "everything fits": (report(U1, "S1", M1), [B, A], "a"),
    "the serial number in other letters": (report("", "s1", M1), [A], "a"),
    "enrolled by MAC alone": (report(U1, "S1", M3), [machine("c", "", "", M3)], "c"),
    "enrolled by serial alone": (report(U1, "S7", M3), [machine("c", "", "S7")], "c"),
    "the UUID in the other byte order, as its BMC spelled it": (
        report(U1, "", M3),
        [machine("c", str(UUID(bytes=UUID(U1).bytes_le)))],
        "c",
    ),
    "all cards were replaced": (report(U1, "S1", M3), [A, B], "a"),
    "the mainboard was replaced, serial written again, card kept": (report(U2.replace("4c", "5c"), "S1", M1), [A], "a"),
    "a card moved from a to b": (report(U2, "S2", M1, M2), [A, B], "b"),
    "a card moved from a to b and b's own is gone": (report(U2, "S2", M1), [A, B], "b"),
    "UUID shared by a whole batch, MAC decides": (
        report(U1, "", M2),
        [machine("a", U1, "", M1), machine("c", U1, "", M2)],
        "c",
    ),
    "a maker's placeholder UUID counts for nothing": (report(JUNK, "", M3), [machine("a", JUNK, "", M1)], None),
    "placeholder serials count for nothing": (
        report("", "To be filled by O.E.M.", M3),
        [machine("a", "", "To Be Filled By O.E.M.", M1)],
        None,
    ),
}


@pytest.mark.parametrize(("facts", "machines", "name"), FOUND.values(), ids=FOUND.keys())
def test_identify(facts: Facts, machines: list[Machine], name: str | None) -> None:
    found = identify(facts, machines)
    assert (found.name if found else None) == name


REFUSED = {
    "a known card in another machine": (report(U2, "S9", M1), [A], "UUID is"),
    "same UUID, all else differs: a copied board": (report(U1, "S9", M3), [A], "serial number is S9, not S1"),
    "same UUID, no MAC in common, no serial": (report(U1, "", M3), [machine("a", U1, "", M1)], "no MAC in common"),
    "a MAC of each of two machines": (
        report("", "", M1, M2),
        [machine("c", "", "", M1), machine("d", "", "", M2)],
        "several machines: c: same MAC .* / d: same MAC",
    ),
    "one machine enrolled twice": (
        report(U1, "S1", M1),
        [A, machine("again", U1, "S1", M1)],
        "several machines",
    ),
}


@pytest.mark.parametrize(("facts", "machines", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_doubt_is_refused_with_its_reason(facts: Facts, machines: list[Machine], reason: str) -> None:
    with pytest.raises(ConflictError, match=reason):
        identify(facts, machines)


USB = Mac("02:00:00:00:00:02")
IPMI = BmcAddress(Driver.IPMI, "192.0.2.1", 623, "admin")
U3 = "4c4c4544-0044-3610-8052-b8c04f4e3134"


def with_usb(facts: Facts) -> Facts:
    return replace(facts, nics=(*facts.nics, Nic("usb0", USB, usb=True)))


DOUBTS = {
    "it is that machine": (report(U1, "S1", M1), A, [A, B], ""),
    "nothing is known of it yet but the port": (report(U1, "S1", M1), machine("c", "", "", M1), [], ""),
    "nothing is known of it at all": (report(U1, "S1", M1), machine("c"), [], ""),
    "its mainboard was replaced, serial written again, card kept": (report(U2, "S1", M1), A, [A], ""),
    "its card is in a machine that nobody knows": (report(U2, "S9", M1, M3), A, [A], f"UUID is {U2}, not {U1}"),
    "its card is in another machine": (report(U2, "S2", M1, M2), A, [A, B], "UUID is"),
    "its port is another's, and that is all that is known of it": (
        report(U2, "S2", M1, M2), machine("c", "", "", M1), [B], "it is b: same UUID; same serial number; same MAC",
    ),
    "found by a UUID that its board said, with another serial number": (
        report(U1, "S9", M3), machine("c", U1, "S7"), [], "",
    ),
    "its BMC spelled its UUID in the other byte order": (
        report(U1, "", M1), machine("c", str(UUID(bytes=UUID(U1).bytes_le)), "", M1), [], "",
    ),
    "its BMC has a UUID of its own": (
        report(U2, "S1", M1), replace(machine("c", U1, "", M1), bmc=IPMI, boards={"ipmi": BmcIdentity(U1)}), [], "",
    ),
    "its BMC said another UUID than the one on record": (
        report(U2, "S1", M1), replace(machine("c", U1, "", M1), bmc=IPMI, boards={"ipmi": BmcIdentity(U3)}), [],
        "UUID is",
    ),
    "its BMC said the serial number of its chassis": (report(U1, "S1", M1), machine("c", "", "CH7", M1), [], ""),
    "it said another serial number itself": (
        report("", "S9", M1), replace(machine("c", "", "S1", M1), facts=Facts()), [], "serial number is S9, not S1",
    ),
    "put on record by the adapter that it boots by": (
        with_usb(report("", "", M3)), machine("c", "", "", USB), [], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "named", "known", "why"), DOUBTS.values(), ids=DOUBTS.keys())
def test_who_was_booted_as_a_machine_is_doubted(facts: Facts, named: Machine, known: list[Machine], why: str) -> None:
    said = doubt(facts, named, known, USB)
    assert said.startswith(why) if why else said == ""


def test_what_a_bmc_shows_all_its_boards_alike_tells_none_from_others() -> None:
    first = replace(A, macs=(M1, USB))
    assert identify(with_usb(report(U2, "S2", M2)), [first]) is None
    assert identify(with_usb(report(U1, "S1", M3)), [first, replace(B, macs=(M2, USB))]) is first


def test_the_order_of_machines_does_not_matter() -> None:
    for facts, machines, name in FOUND.values():
        found = identify(facts, machines[::-1])
        assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "text",
    ["To be filled by O.E.M.", "Not Specified", "Default string", "System Serial Number", "0000000000", "xxxxxxx",
     "0123456789", "None", "..............", " ", "N/A", "OEM", "123456789", "Chassis Serial Number", "-"],
)  # fmt: skip
def test_placeholders_say_nothing(text: str) -> None:
    assert meaningful(text) == ""


@pytest.mark.parametrize(
    "text", ["7JX2R83", "CZJ1234567", "PF0ABCDE", "VMware-56 4d 12", "S-LAB-0017", "A1", "LAB0001"]
)
def test_real_serial_numbers_are_kept(text: str) -> None:
    assert meaningful(f" {text} ") == text

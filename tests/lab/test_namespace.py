"""The commands that make the rack's network."""

from __future__ import annotations

import pytest

from provisioner.errors import LabError
from provisioner.lab import namespace
from tests.lab.test_spec import rack


def test_everything_is_made_inside_the_namespace() -> None:
    first, *others = namespace.commands(rack())
    assert first == ["ip", "netns", "add", "provlab"]
    assert {tuple(command[:3]) for command in others} == {("ip", "-n", "provlab")}


def test_nothing_leads_out() -> None:
    words = {word for command in namespace.commands(rack()) for word in command}
    assert not words & {"veth", "peer", "macvlan", "ipvlan", "netns"} - {"netns"}
    kinds = [command[command.index("type") + 1] for command in namespace.commands(rack()) if "type" in command]
    assert set(kinds) == {"bridge"}


def test_each_machine_has_its_tap_and_its_bmc() -> None:
    text = "\n".join(" ".join(command) for command in namespace.commands(rack()))
    for number in (17, 18, 19):
        assert f"address add 10.77.1.{number}/24 dev bmc0" in text
        assert f"link set tap{number} master br0 up" in text


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(LabError, match="no-such-program is not installed"):
        namespace.run("no-such-program")


def test_what_a_program_said_is_told() -> None:
    with pytest.raises(LabError, match=r"ls: .*nothing-here"):
        namespace.run("ls", "/nothing-here")

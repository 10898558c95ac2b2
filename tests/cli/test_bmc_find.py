"""`provisionctl bmc find`: what is said on the way, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from provisioner.bmc.find import Found
from provisioner.cli.bmc_find import asking_from, show_found
from provisioner.cli.root import run
from provisioner.cli.session import Session

OWN = {"lo": [0x7F000001], "eth0": [0x0A000001], "oob": [0x0A4D0101, 0x0A4D0201]}
FROM = {
    "all that others can reach": ("", ["10.0.0.1", "10.77.1.1", "10.77.2.1"]),
    "an interface": ("oob", ["10.77.1.1", "10.77.2.1"]),
    "the loopback, where it is meant": ("lo", ["127.0.0.1"]),
    "an address": ("10.77.2.1", ["10.77.2.1"]),
}


@pytest.mark.parametrize(("interface", "addresses"), FROM.values(), ids=FROM.keys())
def test_where_services_are_asked(interface: str, addresses: list[str]) -> None:
    assert asking_from(OWN, interface) == addresses


@pytest.mark.parametrize("interface", ["eth9", "10.0.0.2"])
def test_an_interface_that_is_not_ours(interface: str) -> None:
    with pytest.raises(click.UsageError, match=rf"--interface '{interface}': .*eth0, oob, 10.0.0.1, .* are"):
        asking_from(OWN, interface)


WRONG = {
    "nothing to look through": ([], "name a network"),
    "a rate of nothing": (["--rate", "0", "127.0.0.1"], "0.0 is not in the range 0<x<=1000"),
    "where to ask, but nothing to be asked": (["10.77.1.16/30", "--interface", "eth0"], "--interface: it says where"),
    "an interface that is none": (["--ssdp", "--interface", "no-such"], "--interface 'no-such': no interface"),
}


@pytest.mark.parametrize(("args", "says"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bmc", "find", *args]) == 2
    assert says in capsys.readouterr().err


def test_what_is_found_is_said_at_once_and_listed_where_nobody_waits_for_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def look(say: Callable[[Found], None]) -> None:
        say(Found("10.0.0.17", ipmi=True, redfish=True, product="Acme"))
        assert capsys.readouterr().err == "10.0.0.17 speaks ipmi, redfish\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_found(Session(), look)
    assert capsys.readouterr().out.splitlines()[1].split() == ["10.0.0.17", "ipmi,redfish", "Acme"]


def test_that_nobody_answers_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def look(say: Callable[[Found], None]) -> None:
        pass

    show_found(Session(), look)
    assert capsys.readouterr().err == "no BMC answered\n"

"""What to do where a port cannot be listened on."""

from __future__ import annotations

import errno

import pytest

from provisioner.cli.doctor_loaders import where
from provisioner.listening import hint_for, spelled

HINTS = {
    "TCP that is taken": (errno.EADDRINUSE, "TCP", "`ss -ltnp 'sport = :69'` says who holds it"),
    "UDP that is taken": (errno.EADDRINUSE, "UDP", "`ss -lunp 'sport = :69'` says who holds it"),
    "an address of another machine": (errno.EADDRNOTAVAIL, "UDP", "this machine has no address 10.0.0.1"),
    "a low port and no right to it": (errno.EACCES, "UDP", "port 69 needs CAP_NET_BIND_SERVICE"),
}


HERE = {"::": "::1"}
SPELLED = {"10.0.0.1": "10.0.0.1:69", "::": "[::]:69", "fd00::1": "[fd00::1]:69"}


@pytest.mark.parametrize("host", SPELLED)
def test_an_address_is_spelled_as_it_can_be_read_again(host: str) -> None:
    """`doctor` reads it (`cli/doctor_loaders.where`)."""
    assert spelled(host, 69) == SPELLED[host]
    assert where(f"udp {spelled(host, 69)}") == ("tftp", HERE.get(host, host), 69)


@pytest.mark.parametrize(("number", "protocol", "hint"), HINTS.values(), ids=HINTS.keys())
def test_the_hint_is_for_the_error(number: int, protocol: str, hint: str) -> None:
    assert hint_for(OSError(number, "x"), protocol, "10.0.0.1", 69).startswith(hint)


def test_what_is_not_known_gets_none() -> None:
    assert hint_for(OSError(errno.ENOMEM, "x"), "TCP", "10.0.0.1", 69) == ""

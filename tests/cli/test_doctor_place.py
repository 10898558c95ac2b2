"""Where a daemon's addresses may be asked: never where whoever answers is somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.cli.doctor_place import Elsewhere, Place, is_ours, place_of

OF_ANOTHER = "192.0.2.1"
"""Of no host at all (RFC 5737); nothing is sent there."""
LEFT = Path("/proc/0/ns/net")
"""The namespace of a process that has ended meanwhile."""

ASKED = {
    "loopback of a daemon on this host": (Place(near=True), "127.0.0.1", ""),
    "another loopback address": (Place(near=True), "127.0.0.53", ""),
    "loopback of a daemon behind a URL": (Place(near=False), "127.0.0.1", "127.0.0.1 not asked: it is no address"),
    "an address of another network": (Place(near=True), OF_ANOTHER, "192.0.2.1 not asked: it is no address"),
    "an address that no way leads to": (Place(near=True), "255.255.255.255", "it is no address of this host"),
    "a namespace that cannot be entered": (Place(near=True, entry=LEFT), "10.77.0.1", "in another network namespace"),
}


@pytest.mark.parametrize(("place", "host", "refused"), ASKED.values(), ids=ASKED.keys())
def test_who_is_asked(place: Place, host: str, refused: str) -> None:
    asked: list[str] = []
    if refused:
        with pytest.raises(Elsewhere, match=refused):
            place.run(host, lambda: asked.append(host))
        assert asked == []
    else:
        place.run(host, lambda: asked.append(host))
        assert asked == [host]


PROCESSES = {
    "behind a URL": (0, Place(near=False)),
    "in our own network": (os.getpid(), Place(near=True)),
    "gone meanwhile": (2**30, Place(near=True)),
}


@pytest.mark.parametrize(("pid", "place"), PROCESSES.values(), ids=PROCESSES.keys())
def test_where_a_daemon_is(pid: int, place: Place) -> None:
    assert place_of(pid) == place


def test_which_addresses_are_ours() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours(OF_ANOTHER)
    assert not is_ours("2001:db8::1")

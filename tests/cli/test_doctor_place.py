"""Where a daemon's addresses may be asked: never where whoever answers is somebody else."""

from __future__ import annotations

import os
from errno import EACCES, ENOENT
from pathlib import Path

import pytest

from provisioner.cli.doctor_place import Elsewhere, Place, is_ours, place_by, place_of

OF_ANOTHER = "192.0.2.1"
"""Of no host at all (RFC 5737); nothing is sent there."""
UNSEEN = Place(near=True, unseen="Permission denied")
LEFT = Path("/proc/0/ns/net")
"""The namespace of a process that has ended meanwhile."""

ASKED = {
    "loopback of a daemon on this host": (Place(near=True), "127.0.0.1", ""),
    "another loopback address": (Place(near=True), "127.0.0.53", ""),
    "loopback of a daemon behind a URL": (Place(near=False), "127.0.0.1", "127.0.0.1 not asked: it is no address"),
    "loopback of a daemon that is not shown": (
        UNSEEN,
        "127.0.0.1",
        "which has a 127.0.0.1 of its own: Permission denied",
    ),
    "loopback by IPv6 of a daemon that is not shown": (UNSEEN, "::1", "the daemon may be in another network namespace"),
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


OF_77 = Path("/proc/77/ns/net")
SEEN: dict[str, tuple[int, bool | OSError, Place]] = {
    "behind a URL": (0, True, Place(near=False)),
    "in our own network": (77, True, Place(near=True)),
    "in another network": (77, False, Place(near=True, entry=OF_77)),
    "not shown to an ordinary user": (
        77, PermissionError(EACCES, "Permission denied"), Place(near=True, unseen=f"{OF_77}: Permission denied")),
    "gone meanwhile": (
        77, FileNotFoundError(ENOENT, "No such file or directory"),
        Place(near=True, unseen=f"{OF_77}: No such file or directory")),
}  # fmt: skip


@pytest.mark.parametrize(("pid", "seen", "place"), SEEN.values(), ids=SEEN.keys())
def test_where_a_daemon_is_by_what_was_seen(pid: int, seen: bool | OSError, place: Place) -> None:
    assert place_by(pid, OF_77, seen) == place


PROCESSES = {
    "behind a URL": (0, Place(near=False)),
    "in our own network": (os.getpid(), Place(near=True)),
    "gone meanwhile": (2**30, Place(near=True, unseen=f"/proc/{2**30}/ns/net: No such file or directory")),
}


@pytest.mark.parametrize(("pid", "place"), PROCESSES.values(), ids=PROCESSES.keys())
def test_where_a_daemon_is(pid: int, place: Place) -> None:
    assert place_of(pid) == place


def test_which_addresses_are_ours() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours(OF_ANOTHER)
    assert not is_ours("2001:db8::1")

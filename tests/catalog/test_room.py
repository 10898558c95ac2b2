"""Room that stays free on the disk: looked at before anything comes, and again while it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.catalog import room
from provisioner.catalog.room import LOOK_EVERY_BYTES, Room, room_for
from provisioner.errors import FullError

FULL = 1 << 62
"""More than any disk has: as if all of it were kept free."""


def test_what_leaves_room_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEEP_FREE_BYTES", 0)
    room_for(tmp_path, 1)
    with pytest.raises(FullError, match=r" MB wanted, .*\d\.\d MB free") as refused:
        room_for(tmp_path, FULL)
    assert str(tmp_path) in refused.value.message


def test_a_disk_that_fills_up_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEEP_FREE_BYTES", 0)
    taken = Room(tmp_path)
    taken.take(LOOK_EVERY_BYTES)
    monkeypatch.setattr(room, "KEEP_FREE_BYTES", FULL)
    taken.take(LOOK_EVERY_BYTES - 1)
    with pytest.raises(FullError, match="MB free"):
        taken.take(1)


def test_a_full_disk_is_noticed_at_the_first_octet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEEP_FREE_BYTES", FULL)
    with pytest.raises(FullError, match="MB free"):
        Room(tmp_path).take(1)

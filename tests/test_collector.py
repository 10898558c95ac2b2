"""What is there at the start is not looked through again."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from provisioner.collector import AGAIN, ALL, EVERY, importing, settle


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_is_there_is_left_alone_and_what_comes_is_not() -> None:
    kept = [[] for _ in range(1000)]
    settle()
    assert gc.get_freeze_count() >= len(kept)
    assert gc.get_threshold() == (EVERY, AGAIN, ALL)
    loop: list[object] = []
    loop.append(loop)
    del loop
    assert gc.collect() >= 1


@pytest.mark.usefixtures("collector")
def test_what_is_imported_is_not_looked_through_while_or_after_it_is() -> None:
    kept: list[list[object]] = []
    with pytest.raises(ImportError), importing():  # noqa: PT012 - what it does while it fails is the point
        assert not gc.isenabled()
        kept += [[] for _ in range(1000)]
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(kept)

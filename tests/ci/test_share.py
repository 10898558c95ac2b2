"""Points are dealt to the ways of breaking: none is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.share import Share

DEALT = {
    "one way has all": (["a"], {"a": [0, 1, 2, 3, 4, 5, 6]}),
    "two ways take turns": (["a", "b"], {"a": [0, 2, 4, 6], "b": [1, 3, 5]}),
    "three have a third each": (["a", "b", "c"], {"a": [0, 3, 6], "b": [1, 4], "c": [2, 5]}),
    "the fourth has what the first has": (["a", "b", "c", "d"], {"d": [0, 3, 6], "c": [2, 5]}),
}


@pytest.mark.parametrize(("ways", "had"), DEALT.values(), ids=DEALT.keys())
def test_who_has_which(ways: list[str], had: dict[str, list[int]]) -> None:
    for way, points in had.items():
        assert Share().of("ABCDEFG", way, ways) == [(at, "ABCDEFG"[at]) for at in points]
        assert Share(every=True).of("ABCDEFG", way, ways) == list(enumerate("ABCDEFG"))


@given(st.integers(0, 40), st.integers(1, 9))
def test_every_point_is_met(points: int, ways: int) -> None:
    met = [at for way in range(ways) for at, _ in Share().of(range(points), way, range(ways))]
    assert set(met) == set(range(points))

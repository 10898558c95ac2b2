"""What the gate has of what multiplies, and `scripts/test --long` whole (docs/decisions/0013-what-the-gate-runs.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

T = TypeVar("T")
W = TypeVar("W")
STRIDE = 3


def in_gate(names: Iterable[str], *some: str) -> list[ParameterSet]:
    """Parameters of a test: some stand for the others in the gate."""
    return [pytest.param(name, id=name, marks=() if name in some else pytest.mark.long) for name in names]


@dataclass(frozen=True)
class Share:
    """Deals the points of a life to the ways in which it is broken there: each point meets some of the ways.

    A way has every third point (of two ways, every second): what it finds at one, others mostly find as well. With
    `every`, each way has all.
    """

    every: bool = False

    def of(self, points: Iterable[T], way: W, ways: Sequence[W]) -> list[tuple[int, T]]:
        """The points for this one of the ways, each with its number, from 0."""
        numbered = list(enumerate(points))
        stride = min(len(ways), STRIDE)
        return numbered if self.every else numbered[ways.index(way) % stride :: stride]

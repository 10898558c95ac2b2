"""Lines of the trace that have to wait until there is time to tell them: bounded, and like ones together. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple, Protocol

from provisioner.model.trace import TraceLine

LIMIT = 16_384
"""Lines of strangers that wait, and lines of known machines: 400 octets each, 13 MB."""


class Waiting(Protocol):
    """What is kept of one line, of the first of its like, until there is time for words."""

    @property
    def who(self) -> bytes:
        """Whose it is."""

    def line(self) -> TraceLine:
        """Put it into words."""


class Worded(NamedTuple):
    """A line that has its words already."""

    who: bytes
    words: TraceLine

    def line(self) -> TraceLine:
        """Give them."""
        return self.words


class Backlog:
    """What waits, in the order in which it came. What strangers do never costs a known machine its line."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.known: OrderedDict[Hashable, Waiting] = OrderedDict()
        self.strangers: OrderedDict[Hashable, Waiting] = OrderedDict()
        self.whose: dict[bytes, int] = {}
        """Who has lines here, and how many."""
        self._times: dict[Hashable, int] = {}
        """How often, of what came more than once."""

    def __len__(self) -> int:
        return len(self.known) + len(self.strangers)

    def again(self, key: Hashable) -> bool:
        """Say whether a line like this waits already: it is counted with that one then."""
        if key not in self.strangers and key not in self.known:
            return False
        self._times[key] = self._times.get(key, 1) + 1
        return True

    def has_room(self, *, known: bool) -> bool:
        """Say whether one more line may wait."""
        return len(self.known if known else self.strangers) < self.limit

    def keep(self, key: Hashable, waiting: Waiting, times: int = 1, *, known: bool) -> None:
        """Have a line wait, behind all others."""
        (self.known if known else self.strangers)[key] = waiting
        self.whose[waiting.who] = self.whose.get(waiting.who, 0) + 1
        if times > 1:
            self._times[key] = times

    def take(self) -> tuple[Hashable, Waiting, int] | None:
        """Take out the oldest line, of known machines first, and how often it was said."""
        for lines in (self.known, self.strangers):
            if lines:
                key, waiting = lines.popitem(last=False)
                self.whose[waiting.who] -= 1
                if not self.whose[waiting.who]:
                    del self.whose[waiting.who]
                return key, waiting, self._times.pop(key, 1)
        return None

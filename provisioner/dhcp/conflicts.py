"""Who answers on addresses that were to be offered: a host on its own address, or one that answers for all. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

LOOKS = 8
"""Addresses that are looked at for one question: 2.4 s where nobody answers ARP, and a client asks again after 4 s
(RFC 2131 section 4.1)."""
SEVERAL = 3
"""From so many addresses a host is believed for a minute only: a router that answers ARP for others (RFC 1027), or a
port that is looped back, answers for all; a host with as many of its own is found again."""
PAUSE_S = 30.0
"""What is found after so long without a conflict is counted anew. Shorter than any address stays out of use."""
HOSTS_LIMIT = 1024
"""Hosts remembered, 200 octets each; made-up ones push out the one found longest ago, which is then believed."""


class _Found(NamedTuple):
    times: int
    last: float


class Conflicts:
    """How often each host was found in a row."""

    def __init__(self, limit: int = HOSTS_LIMIT) -> None:
        self._limit = limit
        self._found: OrderedDict[str, _Found] = OrderedDict()

    def answers_for_several(self, user: str, now: float) -> bool:
        """Note that this host answered on one more address; say whether it does so on many."""
        before = self._found.pop(user, None)
        times = before.times + 1 if before is not None and now < before.last + PAUSE_S else 1
        self._found[user] = _Found(times, now)
        if len(self._found) > self._limit:
            self._found.popitem(last=False)
        return times >= SEVERAL

"""How fast strangers may take addresses: token buckets, themselves bounded. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

BUCKETS_LIMIT = 4096
"""Sources remembered, about 1 MB. A made-up one pushes out the one unheard of for longest, which is then full again."""


class Limiter:
    """One bucket for each source."""

    def __init__(self, limit: int = BUCKETS_LIMIT) -> None:
        self._limit = limit
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, source: Hashable, per_s: float, burst: int, now: float) -> bool:
        """Take one token of `source`; False where it has none left."""
        tokens, at = self._buckets.pop(source, (float(burst), now))
        tokens = min(float(burst), tokens + (now - at) * per_s)
        allowed = tokens >= 1.0
        self._buckets[source] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)
        return allowed

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
        self._buckets: OrderedDict[Hashable, list[float]] = OrderedDict()
        """Tokens left, and when that was."""

    def take(self, source: Hashable, per_s: float, burst: int, now: float) -> bool:
        """Take one token of `source`; False where it has none left."""
        buckets = self._buckets
        bucket = buckets.get(source)
        if bucket is None:
            bucket = buckets[source] = [float(burst), now]
            if len(buckets) > self._limit:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(source)
        before, since = bucket
        tokens = before + (now - since) * per_s
        if tokens > burst:
            tokens = float(burst)
        bucket[1] = now
        if tokens >= 1.0:
            bucket[0] = tokens - 1.0
            return True
        bucket[0] = tokens
        return False

"""Addresses that machines say they have of another DHCP server: what leases are where we give none. No I/O.

A machine broadcasts which address it takes (RFC 2131 section 4.4.1), and names it on port 4011. Whoever lies about it
could as well lie about its hardware address, so this proves what a lease of ours would prove.
"""

from __future__ import annotations

from collections import OrderedDict

LIMIT = 8192
"""Addresses remembered, 300 octets each; the one claimed longest ago goes first."""


class Claims:
    """One address for each machine, one machine for each address: the latest word counts."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._by_ip: OrderedDict[int, bytes] = OrderedDict()
        self._by_key: dict[bytes, int] = {}

    def put(self, ip: int, key: bytes) -> None:
        """A machine says that this is its address."""
        if not ip:
            return
        self.drop(key)
        if (former := self._by_ip.pop(ip, None)) is not None:
            del self._by_key[former]
        self._by_ip[ip] = key
        self._by_key[key] = ip
        if len(self._by_ip) > self._limit:
            _, oldest = self._by_ip.popitem(last=False)
            del self._by_key[oldest]

    def drop(self, key: bytes) -> None:
        """A machine gives its address back."""
        ip = self._by_key.pop(key, None)
        if ip is not None:
            del self._by_ip[ip]

    def get(self, ip: int) -> bytes | None:
        """Say which machine has the address."""
        return self._by_ip.get(ip)

"""SSH host keys of BMCs: pinned on first use, and another one is never taken for it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostKey:
    """The key that answers at a port of a BMC, by its fingerprint ("SHA256:..."); empty: forgotten."""

    host: str
    port: int
    fingerprint: str


class HostKeys:
    """What is pinned."""

    def __init__(self) -> None:
        self._pins: dict[tuple[str, int], str] = {}
        self.first_use = True
        """Whether a key that nobody has seen before is trusted, and pinned then."""
        self.kept: Callable[[HostKey], None] | None = None
        """Told of what was pinned, and of what was forgotten."""

    def load(self, known: Iterable[HostKey]) -> None:
        """Take up what was pinned before."""
        self._pins |= {(one.host, one.port): one.fingerprint for one in known}

    def pinned(self, host: str, port: int) -> str:
        """Return the fingerprint to expect; empty where none is known."""
        return self._pins.get((host, port), "")

    def pin(self, host: str, port: int, fingerprint: str) -> None:
        """Expect this key there from now on."""
        if self.pinned(host, port) != fingerprint:
            self._pins[host, port] = fingerprint
            self._tell(HostKey(host, port, fingerprint))

    def forget(self, host: str) -> None:
        """Forget the keys of a BMC that is no longer ours, or is put on record anew."""
        for at in [at for at in self._pins if at[0] == host]:
            del self._pins[at]
            self._tell(HostKey(*at, ""))

    def _tell(self, change: HostKey) -> None:
        if self.kept is not None:
            self.kept(change)

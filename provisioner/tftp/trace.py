"""What the TFTP server says of its work: lines within a budget, for anybody may write any sender. No I/O."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from provisioner.clock import SteadyClock
from provisioner.dhcp.backlog import Worded
from provisioner.dhcp.budget import Budget, Each
from provisioner.dhcp.teller import Teller
from provisioner.model.net import Mac
from provisioner.model.trace import Channel, Observe, TraceLine

log = logging.getLogger("provisioner.tftp")

EACH = Each(per_s=0.5, burst=200)
"""Lines of one address: a boot makes about 10, GRUB that fetches its modules one by one some 150."""
WAITING = 16
"""Lines of one address that wait in their own words; what comes then is told as one for each event."""

Whose = Callable[[str], Mac | None]
"""Which machine holds this address, as the leases know it."""
Fetched = Callable[[Mac, str], None]
"""Who has to know that a machine has a file of this name."""


class Client(NamedTuple):
    """Who asks, and which machine that was then: firmware gives its address back as soon as it has its file."""

    host: str
    mac: Mac | None


class Trace:
    """Counts, and tells what the budget allows; `whose` names the machine, `fetched` hears at once of each file."""

    def __init__(
        self,
        observe: Observe,
        whose: Whose = lambda _address: None,
        clock: SteadyClock | None = None,
        fetched: Fetched = lambda _mac, _name: None,
    ) -> None:
        self._observe, self._whose, self._clock, self._fetched = observe, whose, clock or SteadyClock(), fetched
        self.counts: Counter[str] = Counter()
        """Outcomes of transfers and reasons of refusals, for metrics."""
        self.budget = Budget(self._say, lambda who: whose(who.decode()) is not None, EACH, self.counts, "untold")
        self._teller = Teller(self.budget, self._clock)

    def client(self, host: str) -> Client:
        """Name who asks now."""
        return Client(host, self._whose(host))

    def add(self, client: Client, event: str, text: str, *, ok: bool = True) -> None:
        """Tell of a client's request or transfer."""
        who, now = client.host.encode(), self._clock.now()
        what: tuple[str, ...] = event, text
        if self.budget.late.whose.get(who, 0) >= WAITING:
            what, text = (event,), "further ones of this address, left out"
        self.budget.add(Worded(who, TraceLine(now, Channel.TFTP, event, text, client.mac, ok=ok)), what, now)
        self._teller.wake()

    def done(self, client: Client, name: str, about: str) -> None:
        """Tell that a client has a file. What goes by that does not wait until there is room for a line."""
        if client.mac is not None:
            self._fetched(client.mac, name)
        self.add(client, "tftp.done", f"{name}: {about}")

    def stop(self) -> None:
        """Tell the last."""
        self._teller.stop()

    def _say(self, who: bytes, line: TraceLine) -> None:
        log.info("%s client=%s mac=%s %s", line.event, who.decode(), line.mac, line.text)
        self._observe(line)

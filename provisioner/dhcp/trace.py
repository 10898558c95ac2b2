"""What the DHCP server says of its work: one line per step and machine, bounded, and counters. No I/O.

A flood of packets must not become a flood of lines: each machine and all of them together have a budget. What is beyond
it is told later, like lines of one machine as one, with how often it was; only of strangers beyond thousands that wait
is the rest merely counted.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from provisioner.dhcp.backlog import Backlog, Waiting, Worded
from provisioner.dhcp.boards import Boards, BoardSeen
from provisioner.dhcp.case import PROXY_PORT, Arrival, Reply, Silence
from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.packet import Packet, address
from provisioner.model.net import Mac, mac_from_bytes
from provisioner.model.trace import Channel, Observe, TraceLine

log = logging.getLogger("provisioner.dhcp")

LINES_PER_S, LINES_BURST = 200.0, 500
"""Of all machines together, at once: a line takes 30 microseconds from whoever waits for an answer."""
MAC_PER_S, MAC_BURST = 0.5, 20
"""Of one machine: a whole boot makes about 8."""
LATE_EVERY_S, LATE_COUNT = 0.1, 40
"""How often lines that wait are told, and how many at once (a millisecond): the 4,000 of a rack of 1,000 machines that
power on together take ten seconds."""
BAD_EVENTS = frozenset({"dhcp.nak", "dhcp.silence", "dhcp.pool-empty", "dhcp.decline", "dhcp.malformed", "dhcp.unsent"})
LOUD = frozenset({"dhcp.malformed", "dhcp.fault"})
OUR_FAULT = "a fault of the daemon, whose log has the traceback: no answer"
_new = tuple.__new__
KINDS = {0: "BOOTP", 1: "DISCOVER", 3: "REQUEST", 4: "DECLINE", 7: "RELEASE", 8: "INFORM"}


class Seen(NamedTuple):
    """What of a packet and its answer is kept until there is time for words."""

    now: float
    who: bytes
    kind: int
    giaddr: int
    arrival: Arrival
    event: str
    ip: int
    reason: str

    def line(self) -> TraceLine:
        """Put it into words."""
        now, who, kind, giaddr, arrival, event, ip, reason = self
        asked = KINDS.get(kind, f"type {kind}")
        came = f"by relay {address(giaddr)}" if giaddr else f"on {arrival.interface}"
        what = f" {address(ip)}" if ip else ""
        text = f"{asked} {came}:{what} {reason}".rstrip(": ")
        channel = Channel.PROXY if arrival.port == PROXY_PORT else Channel.DHCP
        return TraceLine(now, channel, event, text, mac_from_bytes(who), ok=event not in BAD_EVENTS)


class Unread(NamedTuple):
    """The same of bytes that are no DHCP message, or that the daemon fails at."""

    now: float
    who: bytes
    arrival: Arrival
    event: str
    mac: Mac | None
    why: str

    def line(self) -> TraceLine:
        """Put it into words."""
        text = f"from {self.arrival.source[0]}: {self.why}"
        return TraceLine(self.now, Channel.DHCP, self.event, text, self.mac, ok=False)


class Trace:
    """Counts everything, and tells it at once or late."""

    def __init__(
        self,
        observe: Observe,
        boards: Boards | None = None,
        known: Callable[[bytes], bool] = lambda _key: False,
    ) -> None:
        self._observe = observe
        self.boards = boards or Boards()
        self._known = known
        """Says whether a hardware address is a known machine's."""
        self._all = Limiter(1)
        self._each = Limiter()
        self._silent_until = 0.0
        self.late = Backlog()
        self.counts: defaultdict[str, int] = defaultdict(int)
        """Events by their id, since the start."""

    def allows(self, key: bytes, now: float) -> bool:
        """Say whether one more line about this machine may be told at once: none of its own waits."""
        if now < self._silent_until or key in self.late.whose:
            return False
        if not self._all.take(0, LINES_PER_S, LINES_BURST, now):
            self._silent_until = now + 1 / LINES_PER_S  # no token until then: spare the look
            return False
        return self._each.take(key, MAC_PER_S, MAC_BURST, now)

    def keep(self, waiting: Waiting, what: tuple[object, ...]) -> None:
        """Tell a line late; `what` is the same for lines that are as good as one."""
        who = waiting.who
        key = (who, *what)
        if self.late.again(key):
            return
        known = self._known(who)
        if self.late.has_room(known=known):
            self.late.keep(key, waiting, known=known)
        else:
            self.counts["dhcp.untold"] += 1

    def tell_late(self, now: float, count: int = LATE_COUNT) -> None:
        """Tell of what waits, as much as there is time for."""
        for _ in range(min(count, len(self.late))):
            taken = self.late.take()
            if taken is None:
                return
            key, waiting, times = taken
            if self._each.take(waiting.who, MAC_PER_S, MAC_BURST, now):
                self.tell(waiting.line(), times)
            else:
                self.late.keep(key, waiting, times, known=self._known(waiting.who))

    def tell(self, line: TraceLine, times: int = 1) -> None:
        """Log a line and hand it on."""
        if times > 1:
            line = replace(line, text=f"{line.text} ({times} times)")
        log.log(
            logging.INFO if line.event not in LOUD else logging.WARNING, "%s mac=%s %s", line.event, line.mac, line.text
        )
        self._observe(line)

    def answered(self, packet: Packet, arrival: Arrival, found: Reply | Silence, now: float) -> None:
        """Tell of a reply that left, or of a silence."""
        event = found.event
        self.counts[event] += 1
        ip = found.ip if isinstance(found, Reply) else 0
        if ip and event == "dhcp.ack" and (seen := self.boards.note(packet, ip, now)) is not None:
            self._board(packet.chaddr, seen, now)
        who, kind, late = packet.chaddr or packet.key, packet.type, self.late
        if who in late.whose and late.again((who, kind, event, found.reason)):
            return
        if now < self._silent_until and len(late.strangers) >= late.limit and not self._known(who):
            self.counts["dhcp.untold"] += 1  # as `keep` would find: spare the words
            return
        what = _new(Seen, (now, who, kind, packet.giaddr, arrival, event, ip, found.reason))
        if self.allows(who, now):
            self.tell(what.line())
        else:
            self.keep(what, (kind, event, found.reason))

    def _board(self, who: bytes, seen: BoardSeen, now: float) -> None:
        """Tell of a BMC that got an address."""
        text = f"{seen.kind or 'a BMC by its range'} is at {seen.address}"
        line = TraceLine(now, Channel.DHCP, "dhcp.bmc", text, seen.mac)
        if self.allows(who, now):
            self.tell(line)
        else:
            self.keep(Worded(who, line), ("dhcp.bmc", text))

    def malformed(self, data: bytes, arrival: Arrival, why: str, now: float) -> None:
        """Tell of bytes that are no DHCP message."""
        self._unanswered("dhcp.malformed", arrival.source[0].encode(), data, arrival, why, now)

    def fault(self, data: bytes, arrival: Arrival, now: float) -> None:
        """Tell of a packet that the daemon fails at."""
        self._unanswered("dhcp.fault", data[28:34], data, arrival, OUR_FAULT, now)

    def _unanswered(self, event: str, who: bytes, data: bytes, arrival: Arrival, why: str, now: float) -> None:
        self.counts[event] += 1
        mac = mac_from_bytes(data[28:34]) if len(data) >= 34 else None
        what = Unread(now, who, arrival, event, mac, why)
        if self.allows(who, now):
            self.tell(what.line())
        else:
            self.keep(what, (event,))

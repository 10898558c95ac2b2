"""What the DHCP server says of its work: one line per step and machine, within a budget, and counters. No I/O."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from typing import NamedTuple

from provisioner.dhcp.backlog import Worded
from provisioner.dhcp.boards import Boards, BoardSeen
from provisioner.dhcp.budget import Budget, Each
from provisioner.dhcp.case import PROXY_PORT, Arrival, Reply, Silence
from provisioner.dhcp.packet import Packet, address
from provisioner.model.net import Mac, mac_from_bytes
from provisioner.model.trace import Channel, Observe, TraceLine

log = logging.getLogger("provisioner.dhcp")

EACH = Each(per_s=0.5, burst=20)
"""Lines of one machine: a whole boot makes about 8."""
BAD_EVENTS = frozenset({"dhcp.nak", "dhcp.silence", "dhcp.pool-empty", "dhcp.decline", "dhcp.malformed", "dhcp.unsent"})
LEVELS = {"dhcp.malformed": logging.WARNING, "dhcp.fault": logging.WARNING}
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


def budget_of(observe: Observe, known: Callable[[bytes], bool], counts: MutableMapping[str, int]) -> Budget:
    """Make the budget of one family: what it tells is logged and handed on."""

    def say(_who: bytes, line: TraceLine) -> None:
        log.log(LEVELS.get(line.event, logging.INFO), "%s mac=%s %s", line.event, line.mac, line.text)
        observe(line)

    return Budget(say, known, EACH, counts, "dhcp.untold")


class Trace:
    """Counts everything, and tells what the budget allows."""

    def __init__(
        self,
        observe: Observe,
        boards: Boards | None = None,
        known: Callable[[bytes], bool] = lambda _key: False,
    ) -> None:
        self.boards = boards or Boards()
        self.counts: defaultdict[str, int] = defaultdict(int)
        """Events by their id, since the start."""
        self.budget = budget_of(observe, known, self.counts)

    def answered(self, packet: Packet, arrival: Arrival, found: Reply | Silence, now: float) -> None:
        """Tell of a reply that left, or of a silence."""
        event = found.event
        self.counts[event] += 1
        ip = found.ip if isinstance(found, Reply) else 0
        if ip and event == "dhcp.ack" and (seen := self.boards.note(packet, ip, now)) is not None:
            self._board(packet.chaddr, seen, now)
        who, kind, late = packet.chaddr or packet.key, packet.type, self.budget.late
        if who in late.whose and late.again((who, kind, event, found.reason)):
            return
        if self.budget.is_full(who, now):
            return
        what = _new(Seen, (now, who, kind, packet.giaddr, arrival, event, ip, found.reason))
        self.budget.add(what, (kind, event, found.reason), now)

    def _board(self, who: bytes, seen: BoardSeen, now: float) -> None:
        """Tell of a BMC that got an address."""
        text = f"{seen.kind or 'a BMC by its range'} is at {seen.address}"
        line = TraceLine(now, Channel.DHCP, "dhcp.bmc", text, seen.mac)
        self.budget.add(Worded(who, line), ("dhcp.bmc", text), now)

    def malformed(self, data: bytes, arrival: Arrival, why: str, now: float) -> None:
        """Tell of bytes that are no DHCP message."""
        self._unanswered("dhcp.malformed", arrival.source[0].encode(), data, arrival, why, now)

    def fault(self, data: bytes, arrival: Arrival, now: float) -> None:
        """Tell of a packet that the daemon fails at."""
        self._unanswered("dhcp.fault", data[28:34], data, arrival, OUR_FAULT, now)

    def _unanswered(self, event: str, who: bytes, data: bytes, arrival: Arrival, why: str, now: float) -> None:
        self.counts[event] += 1
        mac = mac_from_bytes(data[28:34]) if len(data) >= 34 else None
        self.budget.add(Unread(now, who, arrival, event, mac, why), (event,), now)

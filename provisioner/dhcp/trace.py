"""What the DHCP server says of its work: one line per step and machine, bounded, and counters. No I/O.

A flood of packets must not become a flood of lines: each machine and all of them together have a budget, and what is
left out is counted. A rack that powers on stays far below both.
"""

from __future__ import annotations

import logging
from collections import defaultdict

from provisioner.dhcp.boards import Boards
from provisioner.dhcp.case import Arrival, Reply, Silence
from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.packet import Packet, address
from provisioner.model.net import mac_from_bytes
from provisioner.model.trace import Channel, Observe, TraceLine

log = logging.getLogger("provisioner.dhcp")

LINES_PER_S, LINES_BURST = 200.0, 2000
"""Of all machines together. 1,000 machines that power on at once make 4,000 lines in some ten seconds."""
MAC_PER_S, MAC_BURST = 0.5, 20
"""Of one machine: a whole boot makes about 8."""
BAD_EVENTS = frozenset({"dhcp.nak", "dhcp.silence", "dhcp.pool-empty", "dhcp.decline", "dhcp.malformed"})
KINDS = {0: "BOOTP", 1: "DISCOVER", 3: "REQUEST", 4: "DECLINE", 7: "RELEASE", 8: "INFORM"}


class Trace:
    """Counts everything, tells what the budgets allow."""

    def __init__(self, observe: Observe, boards: Boards | None = None) -> None:
        self._observe = observe
        self.boards = boards or Boards()
        self._all = Limiter(1)
        self._each = Limiter()
        self._silent_until = 0.0
        self.counts: defaultdict[str, int] = defaultdict(int)
        """Events by their id, since the start."""

    def allows(self, key: bytes, now: float) -> bool:
        """Say whether one more line about this machine may be told."""
        if now >= self._silent_until:
            if not self._all.take(0, LINES_PER_S, LINES_BURST, now):
                self._silent_until = now + 1 / LINES_PER_S  # no token until then: spare the look
            elif self._each.take(key, MAC_PER_S, MAC_BURST, now):
                return True
        self.counts["dhcp.untold"] += 1
        return False

    def answered(self, packet: Packet, arrival: Arrival, found: Reply | Silence, now: float) -> None:
        """Tell of a reply that left, or of a silence."""
        self.counts[found.event] += 1
        if found.event == "dhcp.ack" and isinstance(found, Reply) and found.ip:
            self._board(packet, found.ip, now)
        if not self.allows(packet.key, now):
            return
        kind = KINDS.get(packet.type, f"type {packet.type}")
        came = f"by relay {address(packet.giaddr)}" if packet.giaddr else f"on {arrival.interface}"
        what = f" {address(found.ip)}" if isinstance(found, Reply) and found.ip else ""
        text = f"{kind} {came}:{what} {found.reason}".rstrip(": ")
        channel = Channel.PROXY if arrival.port == 4011 else Channel.DHCP
        line = TraceLine(now, channel, found.event, text, packet.mac, ok=found.event not in BAD_EVENTS)
        log.info("%s mac=%s %s", line.event, line.mac, line.text)
        self._observe(line)

    def _board(self, packet: Packet, ip: int, now: float) -> None:
        """Tell of a BMC that got an address, when that is news."""
        seen = self.boards.note(packet, ip, now)
        if seen is not None and self.allows(packet.key, now):
            text = f"{seen.kind or 'a BMC by its range'} is at {seen.address}"
            log.info("dhcp.bmc mac=%s %s", seen.mac, text)
            self._observe(TraceLine(now, Channel.DHCP, "dhcp.bmc", text, seen.mac))

    def malformed(self, data: bytes, arrival: Arrival, why: str, now: float) -> None:
        """Tell of bytes that are no DHCP message."""
        self.counts["dhcp.malformed"] += 1
        source = arrival.source[0]
        if not self.allows(source.encode(), now):
            return
        mac = mac_from_bytes(data[28:34]) if len(data) >= 34 else None
        log.warning("dhcp.malformed from=%s on=%s mac=%s %s", source, arrival.interface, mac, why)
        self._observe(TraceLine(now, Channel.DHCP, "dhcp.malformed", f"from {source}: {why}", mac, ok=False))

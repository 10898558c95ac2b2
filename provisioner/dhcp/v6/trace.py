"""What the DHCPv6 server says of its work: one line per step and machine, within the budgets of DHCPv4's. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from provisioner.dhcp.backlog import Worded
from provisioner.dhcp.case import Silence
from provisioner.dhcp.trace import OUR_FAULT, budget_of
from provisioner.dhcp.v6.case import Arrival6, Reply6
from provisioner.dhcp.v6.identify import NO_HARDWARE, Identity, identity_of
from provisioner.dhcp.v6.message import Message, Type, address
from provisioner.errors import WireError
from provisioner.model.net import Mac, mac_from_bytes
from provisioner.model.trace import Channel, Observe, TraceLine

BAD_EVENTS = frozenset(
    {"dhcp6.refused", "dhcp6.silence", "dhcp6.pool-empty", "dhcp6.limited", "dhcp6.decline", "dhcp6.unsent"}
)


class Trace6:
    """Counts everything, tells what the budgets allow."""

    def __init__(self, observe: Observe, known: Callable[[bytes], bool] = lambda _key: False) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        """Events by their id, since the start."""
        self.budget = budget_of(observe, known, self.counts)

    def answered(self, message: Message, arrival: Arrival6, found: Reply6 | Silence, now: float) -> None:
        """Tell of a reply that left, or of a silence."""
        self.counts[found.event] += 1
        who = _who(message, arrival)
        kind = Type(message.type).name if message.type in set(Type) else f"type {message.type}"
        relay = next((hop.link for hop in reversed(message.hops) if hop.link), 0)
        came = f"by relay {address(relay)}" if relay else f"on {arrival.interface}"
        text = f"{kind} {came}:{_told(found)} {found.reason}".rstrip(": ")
        mac = None if who.key.startswith(NO_HARDWARE) else who.mac
        if mac is None:
            text += f" (DUID {who.duid.hex(':')})"
        line = TraceLine(now, Channel.DHCP6, found.event, text, mac, ok=found.event not in BAD_EVENTS)
        self.budget.add(Worded(who.key, line), (message.type, found.event, found.reason), now)

    def malformed(self, arrival: Arrival6, why: str, now: float) -> None:
        """Tell of bytes that are no DHCPv6 message."""
        self._unanswered("dhcp6.malformed", None, arrival, why, now)

    def fault(self, data: bytes, arrival: Arrival6, now: float) -> None:
        """Tell of a message that the daemon fails at, also in reading it; a relay's frame does not say whose it is."""
        relayed = data[:1] == bytes((Type.RELAY_FORWARD,))
        mac = mac_from_bytes(arrival.mac) if arrival.mac and not relayed else None
        self._unanswered("dhcp6.fault", mac, arrival, OUR_FAULT, now)

    def _unanswered(self, event: str, mac: Mac | None, arrival: Arrival6, why: str, now: float) -> None:
        self.counts[event] += 1
        text = f"from {address(arrival.source)} on {arrival.interface}: {why}"
        line = TraceLine(now, Channel.DHCP6, event, text, mac, ok=False)
        self.budget.add(Worded(arrival.source.to_bytes(16, "big"), line), (event,), now)


def _who(message: Message, arrival: Arrival6) -> Identity:
    """Say who asked; what was not answered for its type may have an identifier that is none."""
    try:
        return identity_of(message, arrival.source, arrival.mac)
    except WireError:
        key = NO_HARDWARE + arrival.source.to_bytes(16, "big")
        return Identity(key, b"", mac_from_bytes(key))


def _told(found: Reply6 | Silence) -> str:
    if isinstance(found, Silence):
        return ""
    return "".join(f" {each}" for each in (found.name, ", ".join(map(address, found.ips))) if each) + ","

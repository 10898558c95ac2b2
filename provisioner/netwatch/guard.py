"""Guards the subnets that are to be ours alone: asks for an address now and then, hears who answers, says so, and makes
us the other server's proxy where that is wanted, until it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, ip_address
from typing import Any, Protocol

from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.packet import address
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.dhcp.subnets import Rogue as Policy
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import StoreError
from provisioner.model.intent import Tell
from provisioner.model.net import Mac, mac_from_bytes
from provisioner.model.trace import Channel, Observe, TraceLine
from provisioner.netwatch.messages import Asked, Heard, Heard6, Kind
from provisioner.netwatch.rogues import How, Rogue, Rogues, Sighting
from provisioner.netwatch.supervisor import Netwatch
from provisioner.netwatch.watch6 import Watch6

log = logging.getLogger(__name__)

SOON_S = 2.0
"""Questions are at least so far apart. A server that was only heard of is asked soon whether it answers us, too."""
QUIET_ROUND_S = 60.0
"""How often to look for what is over where no questions are asked."""
LINES_PER_S, LINES_BURST = 0.1, 4
"""Lines in one machine's trace on what other servers tell it."""
HOWS = {Kind.OFFER: How.OFFER, Kind.ACK: How.ACK, Kind.NAK: How.NAK}
TELLS = {Kind.OFFER: "offers it", Kind.ACK: "gave it", Kind.NAK: "refused it"}


class Server(Protocol):
    """The DHCP server, as far as it is changed here (`dhcp.server.DhcpServer`)."""

    config: Dhcp

    def is_ours(self, ip: int) -> bool: ...

    def subnets(self) -> Sequence[Subnet]: ...

    def set_subnet(self, subnet: Subnet) -> None: ...


class Memory(Protocol):
    """Keeps through restarts in which subnets we are a proxy only, and whose (`store.fallbacks.FallbackStore`)."""

    async def load(self) -> Mapping[str, str]: ...

    async def put(self, subnet: str, server: str) -> None: ...

    async def remove(self, subnet: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Fallen:
    """A subnet in which we are a proxy only: as it is configured, as it is served, and whose proxy we are."""

    subnet: Subnet
    served: Subnet
    server: str


class Guard:
    """Watches for rogue servers. `open` comes before the DHCP server's start; `run` until cancelled."""

    def __init__(  # noqa: PLR0913  the daemon joins the parts here
        self,
        server: Server,
        netwatch: Netwatch,
        tell: Tell,
        observe: Observe,
        now: Callable[[], float],
        *,
        memory: Memory,
        subnets6: Callable[[], Sequence[Subnet6]] = tuple,
    ) -> None:
        self._server = server
        self._netwatch = netwatch
        self._tell = tell
        self._observe = observe
        self._now = now
        self._memory = memory
        self._allowed = frozenset(str(ip_address(each)) for each in server.config.allowed_servers)
        self._watch6 = Watch6(subnets6, self._allowed)
        self._rogues = Rogues()
        self._wake = asyncio.Event()
        self._next = self._soonest = 0.0
        """When the next question is asked, and before when none is."""
        self._news: asyncio.Queue[tuple[str, Callable[[], Awaitable[None]]]] = asyncio.Queue()
        """What is to be written, in order, with the event that it is about."""
        self._limiter = Limiter()
        self._fallen: dict[str, Fallen] = {}
        netwatch.on_heard = self.hear
        netwatch.on_heard6 = self.hear6
        netwatch.on_asked = self.asked
        netwatch.on_up = self._ask_soon

    async def open(self) -> None:
        """Be the proxy again that we were when the daemon ended: a moment beside the other server is a moment too long.

        Raises `StoreError`.
        """
        subnets = {subnet.title: subnet for subnet in self.subnets() if subnet.rogue is Policy.FALLBACK}
        for name, server in (await self._memory.load()).items():
            subnet = subnets.get(name)
            if subnet is None or self._is_friend(int(IPv4Address(server))):  # an operator or the file says otherwise
                await self._memory.remove(name)
            else:
                self._rogues.remember(subnet.interface, server, self._now())
                self._serve(subnet, server)

    def fallen(self) -> dict[str, str]:
        """Name the subnets in which we are a proxy only, and whose."""
        return {name: each.server for name, each in self._fallen.items()}

    def rogues(self) -> list[Rogue]:
        """Name the servers that should not be there."""
        return list(self._rogues)

    def subnets(self) -> list[Subnet]:
        """Give the subnets that are to be ours alone, as they are configured."""
        current = (self._configured(subnet) for subnet in self._server.subnets())
        return [subnet for subnet in current if subnet.mode is Mode.AUTHORITATIVE]

    def _configured(self, subnet: Subnet) -> Subnet:
        fallen = self._fallen.get(subnet.title)
        return fallen.subnet if fallen is not None and fallen.served is subnet else subnet

    def _at(self, place: str) -> list[Subnet]:
        """Give the subnets of an interface, or the one of this name."""
        return [subnet for subnet in self.subnets() if place in (subnet.interface, subnet.title)]

    async def run(self) -> None:
        """Ask, judge and tell until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_news(), name="rogue news")
            while True:
                self._ask_if_due()
                self._judge()
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, self._next - self._now())):
                        await self._wake.wait()

    def _ask_if_due(self) -> None:
        now, every_s = self._now(), self._server.config.watch_s
        if now < self._next:
            return
        self._next = now + (every_s or QUIET_ROUND_S)
        self._soonest = now + SOON_S
        places, places6 = self._places(), self._watch6.places()
        both = sorted({*places, *places6})
        self._netwatch.listen(both, sorted(places6))
        for place in both if every_s and not self._netwatch.fault else ():
            if place in places:
                self._netwatch.ask(place)
            if place in places6:
                self._netwatch.ask6(place)

    def _ask_soon(self) -> None:
        """Ask earlier than planned: something changed."""
        self._next = min(self._next, self._soonest)
        self._wake.set()

    def changed(self, subnets: Sequence[object]) -> None:
        """Subnets were changed: look at them anew."""
        self._ask_soon()

    # what is seen

    def hear(self, heard: Heard) -> None:
        """A DHCP server's message came in."""
        subnets = self._at(heard.interface)
        if not subnets or self._is_friend(heard.server):
            return
        how = How.BOOT if heard.kind is Kind.OFFER and not heard.address else HOWS[heard.kind]
        mac = mac_from_bytes(heard.mac) if len(heard.mac) == 6 else Mac("")
        sighting = Sighting(heard.interface, address(heard.server), how, mac, heard.asked)
        self._seen(sighting, [subnet.title for subnet in subnets])
        if not heard.asked and len(heard.client) == 6:
            self._trace(heard, mac)

    def asked(self, asked: Asked) -> None:
        """A question of ours has left: who answered before is to answer it, too."""
        self._rogues.asked(asked.interface, six=asked.six)
        self._wake.set()

    def hear6(self, heard: Heard6) -> None:
        """A DHCPv6 server's message or a router's advertisement came in."""
        judged = self._watch6.judge(heard)
        if judged is not None:
            self._seen(*judged)

    def chosen(self, name: str, server: int, client: Mac) -> None:
        """A machine on the subnet of this name chose another server."""
        subnets = self._at(name)
        if not subnets or self._is_friend(server):
            return
        place = subnets[0].interface or name
        self._seen(Sighting(place, address(server), How.CHOSEN), [subnet.title for subnet in subnets])

    def _is_friend(self, server: int) -> bool:
        return self._server.is_ours(server) or address(server) in self._allowed

    def _seen(self, sighting: Sighting, names: list[str]) -> None:
        new = self._rogues.seen(sighting, self._now())
        if new is not None:
            log.error("dhcp.rogue server=%s mac=%s on=%s how=%s", new.server, new.mac, new.place, new.how)
            self._report("dhcp.rogue", **_data(new), subnets=names, how=str(new.how))
            self._ask_soon()
        elif sighting.asked:
            self._wake.set()

    def _trace(self, heard: Heard, mac: Mac) -> None:
        if not self._limiter.take(heard.client, LINES_PER_S, LINES_BURST, self._now()):
            return
        text = f"another DHCP server, {address(heard.server)} ({mac}), {TELLS[heard.kind]} {address(heard.address)}"
        now = self._now()
        self._observe(TraceLine(now, Channel.DHCP, "dhcp.other-server", text, mac_from_bytes(heard.client), ok=False))

    # what follows

    def _judge(self) -> None:
        for rogue in self._rogues.gone(self._now()):
            log.warning("dhcp.rogue-gone server=%s mac=%s on=%s", rogue.server, rogue.mac, rogue.place)
            self._report("dhcp.rogue-gone", **_data(rogue))
        subnets = {subnet.title: subnet for subnet in self.subnets()}
        for name in self._fallen.keys() - subnets.keys():
            self._stand_up(name)  # an operator changed its mode, or removed it
        for subnet in subnets.values():
            self._serve(subnet, self._giver(subnet) if subnet.rogue is Policy.FALLBACK else "")

    def _giver(self, subnet: Subnet) -> str:
        """Name the server that gives addresses there; empty where there is none."""
        return next((rogue.server for rogue in self._rogues if rogue.gives and rogue.place == subnet.interface), "")

    def _serve(self, subnet: Subnet, giver: str) -> None:
        """Be the proxy of `giver`; where there is none, serve as it is configured."""
        fallen = self._fallen.get(subnet.title)
        if giver and (fallen is None or fallen.subnet is not subnet):
            served = replace(subnet, mode=Mode.PROXY)
            self._fallen[subnet.title] = Fallen(subnet, served, giver)
            self._write("dhcp.fallback", partial(self._memory.put, subnet.title, giver))
            self._server.set_subnet(served)
            log.error("dhcp.fallback subnet=%s server=%s mode=%s", subnet.title, giver, served.mode)
            self._report("dhcp.fallback", subnet=subnet.title, server=giver, mode=str(served.mode))
        elif fallen is not None and not giver:
            self._stand_up(subnet.title)
            self._server.set_subnet(subnet)
            log.warning("dhcp.restored subnet=%s server=%s mode=%s", subnet.title, fallen.server, subnet.mode)
            self._report("dhcp.restored", subnet=subnet.title, server=fallen.server, mode=str(subnet.mode))

    def _stand_up(self, name: str) -> None:
        del self._fallen[name]
        self._write("dhcp.restored", partial(self._memory.remove, name))

    def _report(self, kind: str, **data: Any) -> None:
        self._write(kind, partial(self._tell, kind, data))

    def _write(self, kind: str, write: Callable[[], Awaitable[None]]) -> None:
        self._news.put_nowait((kind, write))

    async def _tell_news(self) -> None:
        """Write what happened, most of it into the outbox, in order; a full disk delays it and loses nothing."""
        while True:
            kind, write = await self._news.get()
            while True:
                try:
                    await write()
                    break
                except StoreError as error:
                    log.error("dhcp.rogue-untold event=%s error=%s", kind, error)
                    await asyncio.sleep(SOON_S)

    def _places(self) -> list[str]:
        return sorted({subnet.interface for subnet in self.subnets() if subnet.interface})


def _data(rogue: Rogue) -> dict[str, Any]:
    return {"server": rogue.server, "mac": rogue.mac, "place": rogue.place}

"""All interfaces that one DHCP server listens on: opened together, kept up with our addresses, closed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from provisioner.dhcp.addresses import interface_index, reachable
from provisioner.dhcp.places import Places, places_of
from provisioner.errors import ListenError

log = logging.getLogger(__name__)

TICK_S = 10.0
"""How often our own addresses are looked at, and interfaces that are new."""


class Socket(Protocol):
    """What is listened on."""

    interface: str
    index: int
    """The interface's number when this was opened."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


L = TypeVar("L", bound=Socket)


class Links(Generic[L]):
    """The links of one server. `opener` opens those of an interface, `look` gives our addresses by interface."""

    def __init__(
        self,
        opener: Callable[[str], Iterator[L]],
        on_readable: Callable[[L], None],
        look: Callable[[], Mapping[str, Sequence[int]]],
        named: Sequence[str],
    ) -> None:
        self._opener = opener
        self._on_readable = on_readable
        self._look = look
        self._named = named
        self._links: list[L] = []
        self._relayed = False
        self._refused: set[str] = set()
        """Interfaces that relays may reach us on, and where we cannot listen: said once."""
        self._ticker: asyncio.TimerHandle | None = None
        self._ours: Mapping[str, Sequence[int]] = {}
        self.followers: list[Callable[[], None]] = []
        """Told when our addresses have become others."""

    def __iter__(self) -> Iterator[L]:
        return iter(self._links)

    def start(self, wires: Iterable[str]) -> None:
        """Listen where these subnets are (empty: behind relays). Raises `ListenError`, and nothing is open then."""
        places = self._places(wires)
        self._open(places)
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def add(self, wire: str) -> None:
        """Listen for one subnet more, once started. Raises `ListenError`, and nothing changed then."""
        if self._ticker is not None:
            self._open(self._places((wire,)))

    def stop_reading(self) -> bool:
        """Take no more packets; say whether there were any to be taken."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for link in self._links:
            asyncio.get_running_loop().remove_reader(link.fileno())
        return bool(self._links)

    def close(self) -> None:
        """Let go of all ports."""
        self.stop_reading()
        for link in self._links:
            link.close()
        self._links.clear()

    def _places(self, wires: Iterable[str]) -> Places:
        there, wires = self._looked(), tuple(wires)
        places = places_of(wires, self._named, there)
        self._relayed = self._relayed or "" in wires
        if "" in wires and not places.needed and not places.spare:
            hint = "give one an address, or name it in dhcp.interfaces"
            raise ListenError("subnets behind relays are served, and no interface has an address", hint=hint)
        return places

    def _open(self, places: Places) -> None:
        fresh: list[L] = []
        here = {link.interface for link in self._links}
        try:
            for name in places.needed:
                if name not in here:
                    fresh += self._opened(name)
            fresh += self._spare(name for name in places.spare if name not in here)
            if places.spare and not fresh and not here:
                raise ListenError(f"none of {', '.join(places.spare)} can be listened on for relays")
        except ListenError:
            for link in fresh:
                link.close()
            raise
        self._listen(fresh)

    def _listen(self, fresh: Iterable[L]) -> None:
        for link in fresh:
            self._links.append(link)
            asyncio.get_running_loop().add_reader(link.fileno(), self._on_readable, link)

    def _spare(self, names: Iterable[str]) -> Iterator[L]:
        """Open what can be opened: a bridge of virtual machines may have a DHCP server of its own, and that is well."""
        for name in names:
            try:
                yield from self._opened(name)
            except ListenError as error:
                if name not in self._refused:
                    self._refused.add(name)
                    log.warning("dhcp.unheard interface=%s error=%s", name, error.message)

    def _opened(self, name: str) -> list[L]:
        found: list[L] = []
        try:
            found.extend(self._opener(name))
        except ListenError:
            for link in found:
                link.close()
            raise
        return found

    def keep_up(self) -> None:
        """Follow what became of our addresses and interfaces since the last look. Raises `OSError`."""
        before, there = self._ours, self._looked()
        for name in dict.fromkeys(link.interface for link in self._links):
            self._renew(name)
        if self._relayed:
            self._open(Places(spare=places_of(("",), self._named, there).spare))
        for follower in self.followers if self._ours != before else ():
            follower()

    def _looked(self) -> list[str]:
        """Look at our addresses; give the interfaces that others reach us on."""
        self._ours = self._look()
        return reachable(self._ours)

    def _renew(self, name: str) -> None:
        """Listen anew on an interface that was deleted and made again: its number is another one, and the sockets of
        the one before hear nothing more. While it is away they stay."""
        index = interface_index(name)
        old = [link for link in self._links if link.interface == name and link.index != index]
        if not index or not old:
            return
        try:
            fresh = self._opened(name)
        except ListenError as error:
            log.warning("dhcp.link-broken interface=%s error=%s", name, error.message)
            return
        for link in old:
            asyncio.get_running_loop().remove_reader(link.fileno())
            link.close()
            self._links.remove(link)
        self._listen(fresh)
        log.info("dhcp.link-renewed interface=%s", name)

    def _tick(self) -> None:
        try:
            self.keep_up()
        except OSError as error:
            log.warning("dhcp.addresses-unknown error=%s", error)
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

"""Subnets of one family as operators change them while the server runs: live and durable, one entry each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import product
from typing import Generic, NamedTuple, Protocol, TypeVar

from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.sound import extent, stranded
from provisioner.errors import ConfigError, ListenError, NotFoundError, ProvisionerError
from provisioner.uncut import uncut

log = logging.getLogger(__name__)


class Titled(Protocol):
    """What the settings of a subnet of either family have."""

    @property
    def network(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def title(self) -> str: ...


S = TypeVar("S", bound=Titled)


class Server(Protocol[S]):
    """The server of one family, as far as it is changed here."""

    def subnets(self) -> Sequence[S]: ...
    def leases(self) -> Sequence[Lease]: ...
    def set_subnet(self, subnet: S, leases: Iterable[Lease] = ()) -> None: ...
    def remove_subnet(self, name: str) -> None: ...


class Rules(NamedTuple, Generic[S]):
    """What differs between the families."""

    of_file: Sequence[S]
    """As the configuration file has them."""
    faults: Callable[[Sequence[S], Sequence[S]], Sequence[str]]
    """Say what is wrong with some beside others that are right."""
    fixed: Callable[[], Iterable[int]]
    """Give the addresses that are fixed for machines."""
    put: Callable[[Sequence[S]], Awaitable[None]]
    forget: Callable[[str], Awaitable[None]]
    leases_in: Callable[[S], Awaitable[list[Lease]]]
    """Read what is stored of its addresses."""


class Serving(NamedTuple, Generic[S]):
    """How a subnet is served: not at all, where it has no settings."""

    name: str
    subnet: S | None
    leases: list[Lease]
    """Those of addresses that are new to it."""


class SubnetBook(Generic[S]):
    """Changes the subnets of one server. What is said stands over the configuration file, until it is taken back."""

    def __init__(self, server: Server[S], rules: Rules[S], lock: asyncio.Lock) -> None:
        self._server = server
        self._rules = rules
        self._lock = lock
        self._said: dict[str, S] = {}
        """Those that were said here, by title."""
        self._unfit: set[str] = set()
        """Those that are stored, and were left out at the start."""
        self._followers: list[Callable[[Sequence[S]], None]] = []

    def open(self, subnets: Iterable[S]) -> None:
        """Take up what was said before: all of it, then each is judged beside the others.

        One that does not fit the configuration any more is logged and left out, until it is taken back or said anew.
        """
        self._said = {each.title: each for each in subnets}
        while not all(map(self._fits, list(self._said.values()))):
            pass  # where one is left out the file's holds again, beside which another may not fit
        for subnet in list(self._said.values()):
            try:
                self._server.set_subnet(subnet)
            except ProvisionerError as error:
                self._leave_out(subnet, error)

    def _fits(self, said: S) -> bool:
        try:
            self._check(said)
        except ConfigError as error:
            self._leave_out(said, error)
            return False
        return True

    def _leave_out(self, said: S, error: ProvisionerError) -> None:
        log.error("dhcp.setting-unfit subnet=%s error=%s", said.title, error.message)
        self._unfit.add(said.title)
        del self._said[said.title]

    def all(self) -> list[tuple[S, Origin]]:
        """List all that are served, each with who says so."""
        of_file = [(each, Origin.FILE) for each in self._rules.of_file if each.title not in self._said]
        return of_file + [(each, Origin.OPERATOR) for each in self._said.values()]

    def follow(self, follower: Callable[[Sequence[S]], None]) -> None:
        """Tell all subnets now, and whenever one has changed."""
        self._followers.append(follower)
        follower([subnet for subnet, _ in self.all()])

    async def set(self, *subnets: S) -> None:
        """Add or change some, all or none; stored leases of their addresses count again.

        Raises `ConfigError`, `ListenError`.
        """
        async with self._lock:
            self._check(*subnets)
            served = {each.title: each for each in self._server.subnets()}
            olds = [served.get(each.title) for each in subnets]
            self._check_hands(subnets, [old for old in olds if old is not None])
            for old, subnet in zip(olds, subnets, strict=True):
                self._check_fixed(old, subnet)
            stored = [await self._stored(*each) for each in zip(subnets, olds, strict=True)]
            after = [Serving(each.title, each, leases) for each, leases in zip(subnets, stored, strict=True)]
            before = [Serving(new.title, old, self._lost(new, old)) for new, old in zip(subnets, olds, strict=True)]
            self._serve_all(after, before)
            with uncut() as whole:
                try:
                    await whole(self._rules.put(subnets))
                except ProvisionerError:
                    self._serve_all(before, after)
                    raise
                self._said |= {each.title: each for each in subnets}
                self._unfit.difference_update(self._said)
                self.tell()
        for subnet in subnets:
            log.info("dhcp.subnet-set subnet=%s network=%s mode=%s", subnet.title, subnet.network, subnet.mode)

    async def remove(self, name: str) -> None:
        """Take back what was said here of a subnet: what the configuration file says of it holds again.

        Raises `NotFoundError`, `ConfigError` where that does not go together with what was said since, `ListenError`.
        """
        async with self._lock:
            if name in self._unfit:
                with uncut() as whole:
                    await whole(self._rules.forget(name))
                    self._unfit.discard(name)
                return
            if name not in self._said:
                raise NotFoundError(f"no subnet {name!r} was made here", hint="those of the file are changed there")
            before = self._said[name]
            of_file = next((each for each in self._rules.of_file if each.title == name), None)
            if of_file is not None:
                self._check(of_file)  # beside what was said since then
            self._check_fixed(before, of_file)
            stored = await self._stored(of_file, before) if of_file is not None else []
            lost = self._lost(of_file, before)
            self._serve(Serving(name, of_file, stored))
            with uncut() as whole:
                try:
                    await whole(self._rules.forget(name))
                except ProvisionerError:
                    self._serve(Serving(name, before, lost))
                    raise
                del self._said[name]
                self.tell()
        log.info("dhcp.subnet-removed subnet=%s", name)

    async def _stored(self, subnet: S, before: S | None) -> list[Lease]:
        """Read what is stored of the addresses that become this subnet's; of those it has, memory knows more."""
        low, high = extent(before.network) if before is not None else (0, -1)
        first, last = extent(subnet.network)
        if low <= first and last <= high:
            return []
        return [lease for lease in await self._rules.leases_in(subnet) if not low <= lease.ip <= high]

    def _serve(self, wanted: Serving[S]) -> None:
        """Serve a subnet so from now on. Raises `ListenError`, and nothing changed then."""
        if wanted.subnet is None:
            self._server.remove_subnet(wanted.name)
        else:
            self._server.set_subnet(wanted.subnet, wanted.leases)

    def _serve_all(self, wanted: Sequence[Serving[S]], before: Sequence[Serving[S]]) -> None:
        """Serve subnets so from now on. Raises `ListenError`, and all are served as before then."""
        for at, each in enumerate(wanted):
            try:
                self._serve(each)
            except ListenError:
                for changed in before[:at]:
                    self._serve(changed)
                raise

    def _lost(self, subnet: S | None, before: S | None) -> list[Lease]:
        """Give the leases of addresses that are this subnet's no more: what memory forgets with the change."""
        if before is None:
            return []
        low, high = extent(before.network)
        first, last = extent(subnet.network) if subnet is not None else (0, -1)
        if first <= low and high <= last:
            return []
        return [each for each in self._server.leases() if low <= each.ip <= high and not first <= each.ip <= last]

    def _check(self, *subnets: S) -> None:
        titles = [each.title for each in subnets]
        faults = self._rules.faults(subnets, [each for each, _ in self.all() if each.title not in titles])
        if faults:
            raise ConfigError(_called(subnets), faults=faults)

    def _check_hands(self, new: Sequence[S], old: Sequence[S]) -> None:
        """Raise `ConfigError` where addresses would change hands: one after the other says whose leases are."""
        faults = [
            f"{after.title} is to have addresses of {before.title}: change {before.title} first, by itself"
            for after, before in product(new, old)
            if after.title != before.title and _overlap(extent(after.network), extent(before.network))
        ]
        if faults:
            raise ConfigError(_called(new), faults=faults)

    def _check_fixed(self, before: S | None, after: S | None) -> None:
        """Raise `ConfigError` where a fixed address would be in no subnet any more."""
        faults = stranded(self._rules.fixed(), before.network, after.network if after else "") if before else []
        if before is not None and faults:
            hint = "`provisionctl dhcp unreserve MAC` (`unreserve6 ADDRESS`), or take it out of the configuration file"
            raise ConfigError(f"subnet {before.title}", faults=faults, hint=hint)

    def tell(self) -> None:
        """Tell who follows subnets of all of them again."""
        subnets = [subnet for subnet, _ in self.all()]
        for follower in self._followers:
            follower(subnets)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _called(subnets: Sequence[Titled]) -> str:
    return f"subnet{'s' if len(subnets) > 1 else ''} {', '.join(each.title for each in subnets)}"

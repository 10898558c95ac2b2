"""Sends router advertisements wherever a subnet of either family wants them, and follows when subnets change."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.dhcp.places import Terms, terms_of
from provisioner.dhcp.subnets import Subnet
from provisioner.dhcp.v6.ra import RouterAdvertiser
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import ListenError


class Advertising:
    """All advertisers of the daemon. Nothing is sent before `start`."""

    def __init__(self) -> None:
        self._subnets: tuple[Subnet, ...] = ()
        self._subnets6: tuple[Subnet6, ...] = ()
        self._started = False
        self._running: dict[str, tuple[Terms, RouterAdvertiser]] = {}

    def start(self) -> None:
        """Begin. Raises `ListenError`, and nothing is open then."""
        self._started = True
        self._go_by(self._subnets, self._subnets6)

    def stop(self) -> None:
        """End."""
        self._started = False
        for _, advertiser in self._running.values():
            advertiser.stop()
        self._running.clear()

    def terms(self) -> dict[str, Terms]:
        """What is said now, by interface."""
        return {name: terms for name, (terms, _) in self._running.items()}

    def follow(self, subnets: Iterable[Subnet]) -> None:
        """Go by these IPv4 subnets. Raises `ListenError`, and nothing changed then."""
        self._go_by(tuple(subnets), self._subnets6)

    def follow6(self, subnets6: Iterable[Subnet6]) -> None:
        """Go by these IPv6 subnets. Raises `ListenError`, and nothing changed then."""
        self._go_by(self._subnets, tuple(subnets6))

    def _go_by(self, subnets: tuple[Subnet, ...], subnets6: tuple[Subnet6, ...]) -> None:
        wanted = terms_of(subnets, subnets6) if self._started else {}
        same = {name: each for name, each in self._running.items() if wanted.get(name) == each[0]}
        fresh: dict[str, tuple[Terms, RouterAdvertiser]] = {}
        try:
            for name in wanted.keys() - same.keys():
                terms = wanted[name]
                advertiser = RouterAdvertiser(
                    name, lifetime_s=terms.lifetime_s, managed=terms.managed, networks=terms.networks
                )
                advertiser.start()
                fresh[name] = terms, advertiser
        except ListenError:
            for name, (_, advertiser) in fresh.items():
                advertiser.stop(ceases=name not in self._running)
            raise
        for name in self._running.keys() - same.keys():
            self._running[name][1].stop(ceases=name not in fresh)
        self._running = same | fresh
        self._subnets, self._subnets6 = subnets, subnets6

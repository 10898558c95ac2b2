"""Which interfaces a DHCP server of either family has to listen on, and which to advertise itself on. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from provisioner.dhcp.subnets import Mode, Subnet
from provisioner.dhcp.v6.subnets import Mode6, Subnet6


class Places(NamedTuple):
    """Interfaces by name."""

    needed: tuple[str, ...] = ()
    """Without one of these there is no service."""
    spare: tuple[str, ...] = ()
    """Relays may reach us on any of these."""


def places_of(wires: Iterable[str], named: Sequence[str], there: Iterable[str]) -> Places:
    """Say where to listen for subnets on these interfaces (empty: they are behind relays).

    `named` is `dhcp.interfaces`, `there` the interfaces that have an address. A relay sends to an address of ours, on
    whichever interface leads there: where nobody says which, all may.
    """
    wires = tuple(wires)
    relayed = "" in wires
    needed = tuple(dict.fromkeys(name for name in (*(named if relayed else ()), *wires) if name))
    spare = there if relayed and not named else ()
    return Places(needed, tuple(name for name in spare if name not in needed))


class Terms(NamedTuple):
    """What router advertisements say on one interface."""

    lifetime_s: int
    managed: bool = False
    networks: tuple[str, ...] = ()


def terms_of(subnets: Iterable[Subnet], subnets6: Iterable[Subnet6]) -> dict[str, Terms]:
    """Say what to advertise, by interface. Two that differ would have clients ask and forget: those of IPv6 count.

    A subnet that is off says nothing.
    """
    served = (each for each in subnets if each.mode is not Mode.OFF)
    found = {each.interface: Terms(each.ra_lifetime_s) for each in served if each.router_advertisements}
    subnets6 = tuple(each for each in subnets6 if each.mode is not Mode6.OFF)
    for each in subnets6:
        found.pop(each.interface, None)
    for each in subnets6:
        if each.router_advertisements:
            networks = tuple(other.network for other in subnets6 if other.interface == each.interface)
            found[each.interface] = Terms(each.ra_lifetime_s, True, networks)
    return found

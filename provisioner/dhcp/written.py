"""Where in a configuration file the setting stands that a fault of DHCP is about. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from provisioner.dhcp import called
from provisioner.dhcp.subnets import Dhcp
from provisioner.yamlfile import Path as Place


def places_in(config: Dhcp) -> Callable[[str], Place]:
    """Give what finds the place of a fault, as `validate` words it: `subnet NAME: pools: ...`, `watch_s: ...`.

    What is wrong between two subnets (`subnets NAME and OTHER: ...`) is told at the second of them.
    """
    named = _named(config)
    lasts = {
        "subnets": _lasts((each.title, each.network) for each in config.subnets),
        called.SUBNETS6: _lasts((each.title, each.network) for each in config.subnets6),
    }

    def place_of(fault: str) -> Place:
        who, _, rest = fault.partition(": ")
        if who in named:
            return ("dhcp", *named[who], rest.partition(":")[0])
        kind, _, pair = who.partition(" ")
        second = _second(pair, lasts[kind]) if kind in lasts else None
        return ("dhcp", who) if second is None else ("dhcp", kind, second)

    return place_of


def _second(pair: str, lasts: Mapping[str, int]) -> int | None:
    """Find the second of two subnets; a name may hold an "and" of its own."""
    words = pair.split(" and ")
    for at in range(1, len(words)):
        first, second = " and ".join(words[:at]), " and ".join(words[at:])
        if first in lasts and second in lasts:
            return lasts[second]
    return None


def _lasts(subnets: Iterable[tuple[str, str]]) -> Mapping[str, int]:
    """Number subnets by title and by network; of some with the same the last one, which is one too many."""
    titles, networks = dict[str, int](), dict[str, int]()
    for index, (title, network) in enumerate(subnets):
        titles[title] = networks[network] = index
    return networks | titles


def _named(config: Dhcp) -> Mapping[str, Place]:
    """Say what the settings are called in a fault, and where each stands."""
    names = {
        "subnets": called.subnets(config.subnets),
        "subnets6": called.subnets6(config.subnets6),
        "reservations": called.reservations(config.reservations),
        "reservations6": called.reservations6(config.reservations6),
    }
    found: dict[str, Place] = {}
    for key, each in names.items():
        found |= {name: (key, index) for index, name in enumerate(each)}
    found |= {f"profile {name}": ("profiles", name) for name in config.profiles}
    found |= {f"ports[{index}]": ("ports", index) for index in range(len(config.ports))}
    return found

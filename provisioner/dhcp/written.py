"""Where in a configuration file the setting stands that a fault of DHCP is about. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.dhcp.subnets import Dhcp
from provisioner.yamlfile import Path as Place


def places_in(config: Dhcp) -> Callable[[str], Place]:
    """Give what finds the place of a fault, as `validate` words it: `subnet NAME: pools: ...`, `watch_s: ...`.

    What is wrong between two subnets (`subnets NAME and OTHER: ...`) is told at the second of them.
    """
    named = _named(config)

    def place_of(fault: str) -> Place:
        who, _, rest = fault.partition(": ")
        if who in named:
            return ("dhcp", *named[who], rest.partition(":")[0])
        return "dhcp", *_second(who, named)

    return place_of


def _second(who: str, named: Mapping[str, Place]) -> Place:
    """Find the second of two subnets; a name may hold an "and" of its own."""
    words = who.removeprefix("subnets ").split(" and ")
    for at in range(1, len(words)):
        first, second = (f"subnet {' and '.join(part)}" for part in (words[:at], words[at:]))
        if first in named and second in named:
            return named[second]
    return (who,)


def _named(config: Dhcp) -> Mapping[str, Place]:
    """Say what the settings are called in a fault, and where each stands."""
    subnets = (
        ("subnets", [(each.title, each.network) for each in config.subnets]),
        ("subnets6", [(each.title, each.network) for each in config.subnets6]),
    )
    found: dict[str, Place] = {}
    for key, titles in subnets:
        for index, (title, network) in enumerate(titles):
            found[f"subnet {title}" if title else f"{key}[{index}]"] = (key, index)
            found.setdefault(f"subnet {network}", (key, index))
    found |= {f"profile {name}": ("profiles", name) for name in config.profiles}
    found |= {f"ports[{index}]": ("ports", index) for index in range(len(config.ports))}
    for index, each in enumerate(config.reservations):
        found.setdefault(f"reservation {each.mac or each.name}", ("reservations", index))
    for index, each6 in enumerate(config.reservations6):
        found.setdefault(f"reservation6 {each6.address or each6.name}", ("reservations6", index))
    return found

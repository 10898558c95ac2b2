"""Where in a configuration file the setting stands that a fault of DHCP is about. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.dhcp.subnets import Dhcp
from provisioner.yamlfile import Path as Place


def places_in(config: Dhcp) -> Callable[[str], Place]:
    """Give what finds the place of a fault, as `validate` words it: `subnet NAME: pools: ...`, `watch_s: ...`."""
    named = _named(config)

    def place_of(fault: str) -> Place:
        who, _, rest = fault.partition(": ")
        if who in named:
            return ("dhcp", *named[who], rest.partition(":")[0])
        return "dhcp", who

    return place_of


def _named(config: Dhcp) -> Mapping[str, Place]:
    """Say what the settings are called in a fault, and where each stands."""
    subnets: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("subnets", tuple(each.title for each in config.subnets)),
        ("subnets6", tuple(each.title for each in config.subnets6)),
    )
    found: dict[str, Place] = {}
    for key, titles in subnets:
        for index, title in enumerate(titles):
            found[f"subnet {title}" if title else f"{key}[{index}]"] = (key, index)
    found |= {f"profile {name}": ("profiles", name) for name in config.profiles}
    found |= {f"ports[{index}]": ("ports", index) for index in range(len(config.ports))}
    for index, each in enumerate(config.reservations):
        found.setdefault(f"reservation {each.mac or each.name}", ("reservations", index))
    for index, each6 in enumerate(config.reservations6):
        found.setdefault(f"reservation6 {each6.address or each6.name}", ("reservations6", index))
    return found

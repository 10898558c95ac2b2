"""Which subnets `doctor` asks on: those that the daemon serves now, whatever the file said when it started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from provisioner import yamlfile
from provisioner.cli.client import Client
from provisioner.cli.doctor_place import place_of
from provisioner.cli.exits import Forbidden, Unreachable
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.fields import Faults
from provisioner.settings import decode

S = TypeVar("S", Subnet, Subnet6)


def served(client: Client, of_file: Dhcp) -> Dhcp:
    """Give the settings of DHCP with the subnets as they are served now.

    Those of the file where no daemon answers, or one whose interfaces are not those that are seen from here.
    """
    try:
        place = place_of(client.peer())
        if not place.near or place.entry is not None:
            return of_file
        subnets, subnets6 = (client.get(f"/v1/dhcp/{word}")[word] for word in ("subnets", "subnets6"))
    except (Unreachable, Forbidden):
        return of_file
    return replace(
        of_file, subnets=tuple(map(_subnet, subnets)), subnets6=tuple(_read(Subnet6, row) for row in subnets6)
    )


def _subnet(row: Mapping[str, Any]) -> Subnet:
    """Read a subnet as it is served: as a proxy, while `rogue: fallback` is in force there."""
    subnet = _read(Subnet, row)
    return replace(subnet, mode=Mode.PROXY) if row["fallback"] else subnet


def _read(kind: type[S], row: Mapping[str, Any]) -> S:
    said = {field.name: row[field.name] for field in fields(kind)}
    faults = Faults()
    found = decode(kind, yamlfile.load(json.dumps(said, ensure_ascii=False), "the daemon's subnets"), faults)
    faults.check("the daemon's subnets")
    return found

"""Previews over the catalogue that we ship, rendered in this process: what the tests of API and command line ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from provisioner.boot.plan import BootPolicy
from provisioner.catalog.context import Stored
from provisioner.lifecycle.ports import Bmcs, Discovery, Network, Ports
from provisioner.lifecycle.preview import Known, Previews
from provisioner.model.catalog import Bootenv
from provisioner.wiring import SiteCatalogue
from tests.lifecycle.shelf import FakeArtifacts
from tests.shipped import catalogue


class Stock(FakeArtifacts):
    """Every artefact is in store."""

    def stored(self, bootenv: Bootenv, arch: str) -> Mapping[str, Stored]:
        files = bootenv.arch.get(arch)
        return {each.name: Stored("ab" * 32, 4096) for each in files.artifacts} if files else {}


class Direct:
    """Renders here."""

    async def render(self, template: str, context: Mapping[str, Any]) -> str:
        return catalogue().content.renderer.render(template, context)


def previews(machines: Known, address: str = "10.77.0.117") -> Previews:
    """Previews of these machines, which hold `address`."""
    network = Network(lambda at: f"http://{at or 'here'}:8080", lambda _: None, lambda _: BootPolicy())
    nobody, nothing = cast(Bmcs, None), cast(Discovery, None)  # never asked: nothing is touched
    ports = Ports(nobody, SiteCatalogue(catalogue(), Direct()), Stock(), nothing, network)
    return Previews(machines, ports, lambda: catalogue().content.params, lambda _: address)

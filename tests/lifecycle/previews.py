"""Previews over the catalogue that we ship, rendered in this process: what the tests of API and command line ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, cast

from provisioner.boot.files import FileTable, ServedFile
from provisioner.boot.plan import BootPolicy
from provisioner.catalog.context import Stored
from provisioner.catalog.site import SiteCatalogue
from provisioner.dhcp.foretell import foretell
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Reservation, Subnet
from provisioner.dhcp.topology import Net
from provisioner.errors import BmcError
from provisioner.lifecycle.ports import Bmcs, Discovery, Network, Ports
from provisioner.lifecycle.preview import Known, Previews
from provisioner.lifecycle.readiness import Readiness
from provisioner.model.bmc import BmcAddress, BootTarget
from provisioner.model.boot import LocalDisk
from provisioner.model.catalog import Bootenv
from provisioner.model.machine import Machine
from tests.lifecycle.shelf import FakeArtifacts
from tests.shipped import catalogue


class Stock(FakeArtifacts):
    """Every artefact is in store."""

    def stored(self, bootenv: Bootenv, arch: str) -> Mapping[str, Stored]:
        files = bootenv.arch.get(arch)
        return {each.name: Stored("ab" * 32, 4096) for each in files.artifacts} if files else {}


class Empty(FakeArtifacts):
    """Nothing is in store."""

    def missing(self, bootenv: Bootenv, arch: str) -> Sequence[str]:
        return [f"{bootenv.name}: {each.name} is missing" for each in bootenv.arch[arch].artifacts]


class Direct:
    """Renders here."""

    async def render(self, template: str, context: Mapping[str, Any]) -> str:
        return catalogue().content.renderer.render(template, context)


SUBNET = Subnet(network="10.77.0.0/24", interface="eth1", pools=("10.77.0.100-10.77.0.199",))
LOADERS = ("undionly.kpxe", "snponly.efi", "shimx64.efi")


def dhcp_of(machine: Machine, subnet: Subnet = SUBNET) -> Site:
    """A DHCP server on one subnet, which knows this machine."""
    site = Site(lambda _: LocalDisk("nothing was asked for it"))
    site.addresses = {"eth1": (int(IPv4Address("10.77.0.1")),)}
    site.set_net(Net(subnet))
    for mac in machine.macs:
        site.set_reservation(Reservation(mac=mac, name=machine.name))
    return site


def network(address: str = "10.77.0.117", dhcp: Site | None = None, loaders: Sequence[str] = LOADERS) -> Network:
    """A network on which every machine holds `address`, with the loaders of a usual host."""
    file = {name: ServedFile(name, Path(f"/usr/lib/{name}"), 4096, "cd" * 32, "a package") for name in loaders}
    return Network(
        lambda at: f"http://{at or 'here'}:8080",
        lambda _: None,
        lambda _: BootPolicy(),
        serves=FileTable(file.values()).serves,
        address_of=lambda _: address,
        file=file.get,
        foretell=(lambda ask, decide: foretell(dhcp, ask, decide, 0.0)) if dhcp is not None else None,
    )


class Obedient:
    """A board that can all but what it is told it cannot; `fault` is what it answers a login with, `targets` what it
    lists to boot from.
    """

    def __init__(
        self, cannot: Sequence[str] = (), fault: BmcError | None = None, targets: Sequence[BootTarget] = ()
    ) -> None:
        self._targets = targets
        self._cannot = cannot
        self._fault = fault

    async def look(self, machine: Machine) -> None:
        if self._fault is not None:
            raise self._fault

    async def all(self, machine: Machine) -> list[tuple[BmcAddress, str]]:
        return [(machine.bmc, "secret")] if machine.bmc else []

    async def order(self, verb: str, logins: Sequence[tuple[BmcAddress, str]]) -> Sequence[tuple[BmcAddress, str]]:
        return [] if verb in self._cannot else logins

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: Any) -> Any:
        assert name == "boot.targets"
        return tuple(self._targets)


def _ports(network: Network, board: Obedient, stock: FakeArtifacts | None = None, secret: str = "secret") -> Ports:
    nothing = cast(Discovery, None)  # never asked: nothing is touched

    async def look_up(references: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(references, secret)

    shelves = SiteCatalogue(catalogue(), Direct()), stock or Stock()
    return Ports(cast(Bmcs, board), *shelves, nothing, network, look_up)


def previews(machines: Known, address: str = "10.77.0.117") -> Previews:
    """Previews of these machines, which hold `address`."""
    return Previews(machines, _ports(network(address), Obedient()), lambda: catalogue().content.params)


def readiness(
    machines: Known,
    on: Network | None = None,
    board: Obedient | None = None,
    stock: FakeArtifacts | None = None,
    secret: str = "secret",
) -> Readiness:
    """Forecasts and checks of these machines, whose board is this one, and of what is in store; all secrets are one."""
    board = board or Obedient()
    return Readiness(machines, _ports(on or network(), board, stock, secret), lambda _: "amd64", board)

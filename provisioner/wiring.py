"""What joins the parts: small adapters between the conductor and the catalogue, the artefacts, the leases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from provisioner.bmc.boardlog import BoardLogs
from provisioner.bmc.capabilities import ConsoleLine
from provisioner.bmc.consoles import Consoles
from provisioner.bmc.hostkeys import HostKey
from provisioner.bmc.pool import Bmcs
from provisioner.bmc.recorder import Recorder, settle
from provisioner.bmc.resolve import Evidence
from provisioner.bmc.rotation import NEXT, Rotation
from provisioner.boot.files import FileTable, Make
from provisioner.boot.loaders import Loaders
from provisioner.boot.names import machine_file
from provisioner.boot.plan import BootPolicy
from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.context import Stored
from provisioner.catalog.download import Source
from provisioner.catalog.fetch import Fetcher
from provisioner.catalog.load import Catalog
from provisioner.catalog.secretsource import SecretSources, Vault
from provisioner.config import Config, Webhook
from provisioner.dhcp.layers import Origin
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Reservation, Subnet
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import ConfigError, NotFoundError, StoreError
from provisioner.lifecycle.boots import DISCOVERY
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Ports
from provisioner.lifecycle.preview import Previews
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.symptoms import console_shows
from provisioner.model.artifact import Inspected
from provisioner.model.bmc import PASSWORDS, owner_of
from provisioner.model.board import LogEntry
from provisioner.model.catalog import Artifact, Bootenv
from provisioner.model.intent import Tell
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.netwatch.guard import Guard
from provisioner.netwatch.supervisor import Netwatch
from provisioner.services import Apart
from provisioner.store.db import Database
from provisioner.store.events import EventStore
from provisioner.store.evidence import EvidenceStore
from provisioner.store.fallbacks import FallbackStore
from provisioner.store.hostkeys import HostKeyStore
from provisioner.store.secrets import Secrets
from provisioner.web.artifacts import ArtifactApi
from provisioner.web.bmc import BmcApi, Boards
from provisioner.web.cloudevents import secret_of
from provisioner.web.hooks import Hook
from provisioner.web.ports import BootenvStatus
from provisioner.web.preview import PreviewApi
from provisioner.web.spool import Spool
from provisioner.web.underway import UnderWay


class SiteArtifacts:
    """The artefact store as the conductor asks it."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def stored(self, bootenv: Bootenv, arch: str) -> Mapping[str, Stored]:
        """Say what is in store of a bootenv: the very same mapping as long as nothing of it differs."""
        return self._store.stored(bootenv, arch)

    async def inspect(self, bootenv: Bootenv, arch: str) -> Sequence[Inspected]:
        """List what a boot needs, as it is in store now."""
        lacking = {item.name: item for item in self._store.missing(bootenv, arch)}
        files, found = bootenv.arch.get(arch), []
        for artifact in files.artifacts if files is not None else ():
            blob = self._store.lookup(bootenv.name, arch, artifact.name)
            name = f"{bootenv.name}/{arch}/{artifact.name}"
            if artifact.name in lacking or blob is None:
                fault = f"missing: {how_to_get(bootenv.name, arch, artifact)}"
                found.append(Inspected(name, "artefact", origin=artifact.url or artifact.supplied, fault=fault))
                continue
            damaged = not await self._store.is_whole(blob)
            fault = f"{name}: its content is not what its hash says" if damaged else ""
            found.append(Inspected(name, "artefact", blob.size_bytes, blob.sha256, blob.origin, fault, damaged))
        return found

    def missing(self, bootenv: Bootenv, arch: str) -> Sequence[str]:
        """Name what is missing, each with the command that gets it."""
        if not bootenv.arch:  # a machine's own disk: it starts without any file of ours
            return []
        if arch not in bootenv.arch:
            return [f"{bootenv.name} has nothing for {arch}, only {', '.join(bootenv.arch)}"]
        return [
            f"{bootenv.name}: {artifact.name} for {arch} is missing: {how_to_get(bootenv.name, arch, artifact)}"
            for artifact in self._store.missing(bootenv, arch)
        ]

    def statuses(self, catalog: Catalog) -> list[BootenvStatus]:
        """Say of every bootenv what it lacks."""
        found = []
        for name in catalog.names():
            bootenv = catalog.bootenv(name)
            arch = "amd64" if "amd64" in bootenv.arch else next(iter(bootenv.arch), "")
            found.append(BootenvStatus(bootenv, tuple(self.missing(bootenv, arch))))
        return found


def how_to_get(bootenv: str, arch: str, artifact: Artifact) -> str:
    """Say which command brings an artefact into the store. What people supply has no URL to fetch it from."""
    if artifact.supplied:
        return f"run `provisionctl artifacts import {bootenv}/{arch}/{artifact.name} FILE`: {artifact.supplied}"
    return f"run `{artifact.build or f'provisionctl artifacts fetch {bootenv}'}`"


def artifact_api(
    config: Config,
    store: ArtifactStore,
    table: FileTable,
    bootenv: Callable[[str], Bootenv],
    machines: Callable[[], Iterable[Machine]],
) -> ArtifactApi:
    """Put the API of artefacts and loaders together. The loaders are not yet installed.

    What `machines` boot is neither removed from the store nor replaced in it from now on.
    """
    store.users = lambda name: booting(machines(), name, bootenv)
    settings = config.catalogue
    fetcher = Fetcher(store, source=Source(proxy=settings.proxy), keyrings=[Path(path) for path in settings.keyrings])
    loaders = Loaders(table, config.state_dir, [Path(path) for path in settings.loaders])
    return ArtifactApi(store, fetcher, loaders, bootenv=bootenv)


def booting(machines: Iterable[Machine], system: str, bootenv: Callable[[str], Bootenv]) -> list[str]:
    """Name the machines that are in a run with this bootenv, or with one that `system` brings onto them."""
    runs = [(machine.name, machine.run.bootenv) for machine in machines if machine.run and machine.run.step]
    with_it = {name for name in {name for _, name in runs} if system in _systems(name or DISCOVERY, bootenv)}
    return [machine for machine, name in runs if name in with_it]


def _systems(name: str, bootenv: Callable[[str], Bootenv]) -> tuple[str, ...]:
    """Name what a run of this bootenv boots; a bootenv that is in the catalogue no more stands for itself alone."""
    try:
        found = bootenv(name)
    except NotFoundError:
        return (name,)
    return found.name, found.installs_with


class MachineFiles:
    """Makes, for TFTP, the configuration that a loader asks for: of the machine that holds the asking address."""

    def __init__(self, conductor: Conductor, lease_of: Callable[[str], Mac | None]) -> None:
        self._conductor, self._lease_of = conductor, lease_of

    def __call__(self, name: str, address: str) -> Make | None:
        """Say how the file is made; None where the name is no machine's own. The conductor checks MAC and address."""
        found = machine_file(name)
        if found is None:
            return None
        dialect, asked = found
        mac = asked or self._lease_of(address)
        return None if mac is None else lambda: self._conductor.booter.boot_script(mac, address, dialect)


FOUND_LIMIT = 1 << 14
"""Addresses whose subnet is remembered, some 100 octets each."""
Placed = tuple[IPv4Network | IPv6Network, Subnet | Subnet6]


class Addresses:
    """Which address of ours a machine reaches us at, and what is set for its subnet."""

    def __init__(
        self,
        subnets: Iterable[Subnet],
        own: Callable[[str], str],
        port: int,
        subnets6: Iterable[Subnet6] = (),
        tls_port: int = 0,
    ) -> None:
        self._own = own
        self._port, self._tls_port = port, tls_port
        self._found: dict[str, Subnet | Subnet6 | None] = {}
        """Subnets that were looked for, by address."""
        self.follow6(subnets6)
        self.follow(subnets)

    def follow(self, subnets: Iterable[Subnet]) -> None:
        """Go by these IPv4 subnets from now on."""
        self._found.clear()
        self._subnets: list[Placed] = [(ip_network(subnet.network), subnet) for subnet in subnets]

    def follow6(self, subnets6: Iterable[Subnet6]) -> None:
        """Go by these IPv6 subnets from now on."""
        self._found.clear()
        self._subnets6: list[Placed] = [(ip_network(subnet.network), subnet) for subnet in subnets6]

    def subnet_of(self, address: str) -> Subnet | Subnet6 | None:
        """Find the subnet that an address is in; the narrowest where several fit."""
        if address not in self._found:
            if len(self._found) >= FOUND_LIMIT:
                self._found.clear()
            self._found[address] = self._look_for(address)
        return self._found[address]

    def _look_for(self, address: str) -> Subnet | Subnet6 | None:
        try:
            ip = ip_address(address)
        except ValueError:
            return None
        fitting = [
            (network.prefixlen, subnet) for network, subnet in (*self._subnets, *self._subnets6) if ip in network
        ]
        return max(fitting, key=lambda item: item[0])[1] if fitting else None

    def base_url(self, address: str) -> str:
        """Return our URL as a machine at `address` reaches it."""
        subnet = self.subnet_of(address)
        return f"http://{self._host(address)}:{subnet.http_port if subnet and subnet.http_port else self._port}"

    def tls_url(self, address: str) -> str:
        """Return the same by HTTPS."""
        return f"https://{self._host(address)}:{self._tls_port}"

    def _host(self, address: str) -> str:
        subnet = self.subnet_of(address)
        host = subnet.server_address if subnet is not None and subnet.server_address else self._own(address)
        return f"[{host}]" if ":" in host else host

    def policy(self, address: str) -> BootPolicy:
        """Return what is set about booting for the subnet of an address; the default where it is in none."""
        subnet = self.subnet_of(address)
        return BootPolicy() if subnet is None else BootPolicy(unknown=subnet.unknown)


def previews_of(conductor: Conductor, ports: Ports, catalog: Catalog) -> PreviewApi:
    """Put previews of what machines would get behind the API."""
    return PreviewApi(Previews(conductor.machines, ports, lambda: catalog.content.params), conductor.forecast)


def hooks_of(webhooks: Mapping[str, Webhook]) -> list[Hook]:
    """Read the secrets of the configured webhooks; raise `ConfigError`. Blocks."""
    return [Hook(name, webhook.url, hook_secret(name, webhook), webhook.types) for name, webhook in webhooks.items()]


def hook_secret(name: str, webhook: Webhook) -> bytes:
    """Read the secret of one webhook; raise `ConfigError`. Blocks."""
    where = f"webhooks.{name}.secret_file: {webhook.secret_file!r}"
    try:
        return secret_of(Path(webhook.secret_file).read_text(), where)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{where}: {getattr(error, 'strerror', None) or 'not text'}") from error


class KnownMachines:
    """Tells DHCP which hardware addresses belong to machines that we know: one entry each, as they change."""

    def __init__(self, dhcp: DhcpServer) -> None:
        self._dhcp = dhcp

    def __call__(self, before: Machine | None, after: Machine | None) -> None:
        """Bring DHCP's entries from one state of a machine to the next."""
        if before is not None and after is not None and _told(before) == _told(after):
            return
        old = reservations(before) if before else {}
        new = reservations(after) if after else {}
        for mac in old.keys() - new.keys():
            self._dhcp.remove_reservation(mac, Origin.MACHINE)
        for mac, reservation in new.items():
            if old.get(mac) != reservation:
                self._dhcp.set_reservation(reservation, Origin.MACHINE)


def _told(machine: Machine) -> tuple[object, ...]:
    return machine.macs, machine.name, machine.uuid, machine.profile


def reservations(machine: Machine) -> dict[Mac, Reservation]:
    """Say what DHCP is told of a machine, by hardware address."""
    found = {}
    for mac in machine.macs:
        found[mac] = Reservation(mac=mac, name=machine.name, uuid=machine.uuid, profile=machine.profile)
    return found


async def kept(saving: Awaitable[None]) -> None:
    """Keep what was seen of a board; a full disk costs the memory of it, not the verb."""
    with contextlib.suppress(StoreError):
        await saving


def cut_short(secrets: Iterable[str], machines: Machines) -> list[Machine]:
    """List the machines that a rotation of their board's password was under way at when the daemon ended."""
    found = {owner_of(name): machines.find(owner_of(name)) for name in secrets if name.endswith(NEXT)}
    return [machine for machine in found.values() if machine is not None and machine.bmc is not None]


async def bmc_api(
    stack: AsyncExitStack, bmcs: Bmcs, conductor: Conductor, secrets: Secrets, db: Database, dhcp: DhcpServer
) -> BmcApi:
    """Put the BMCs of machines behind the API, and have consoles recorded while a run is under way."""

    ways = conductor.ways

    async def open_console(machine: Machine) -> ConsoleLine:
        return await ways.ask(machine, "console.open", bmcs.open_console)

    evidence, host_keys = EvidenceStore(db), HostKeyStore(db)
    for one in await evidence.load():
        bmcs.ledger.add(one)
    keeping = await stack.enter_async_context(Apart())

    def keep(one: Evidence) -> None:
        keeping.create_task(kept(evidence.save(one)), "keep evidence")

    def keep_key(one: HostKey) -> None:
        keeping.create_task(kept(host_keys.save(one)), "keep a host key")

    bmcs.kept, bmcs.installed = keep, conductor.doors.repin
    bmcs.host_keys.load(await host_keys.load())
    bmcs.host_keys.kept = keep_key
    consoles = await stack.enter_async_context(Consoles(open_console))
    records = db.path.parent / "consoles"
    await asyncio.to_thread(settle, records, {machine.name: machine.id for machine in conductor.machines.all()})
    recorder = Recorder(consoles, conductor.observe, console_shows, records)
    conductor.follow(await stack.enter_async_context(recorder))

    async def board_log(machine: Machine) -> Sequence[LogEntry]:
        found: Sequence[LogEntry] = await ways.ask(machine, "log.read", lambda to, word: bmcs.do(to, word, "log.read"))
        return found

    conductor.follow(await stack.enter_async_context(BoardLogs(board_log, conductor.observe)))

    def engaged(machine: str) -> str:
        return conductor.engaged(machine, "")

    rotation = Rotation(bmcs, secrets)
    left = cut_short(await secrets.names(PASSWORDS), conductor.machines)
    settling = keeping.create_task(rotation.settle(left), "settle rotations")
    stack.callback(settling.cancel)
    did = conductor.did_by_hand

    async def rotate(machine: Machine) -> None:
        await ways.look_everywhere(machine)
        await rotation.rotate(machine)

    boards = Boards(bmcs, ways, conductor.doors, rotate, did, dhcp.trace.boards.all, engaged)
    await asyncio.to_thread((spool := Spool(db.path.parent / "firmware")).clear)
    return BmcApi(conductor.machines, boards, consoles, await stack.enter_async_context(UnderWay()), spool)


def teller(conductor: Conductor, events: EventStore) -> Tell:
    """Have events of the site written into the outbox, and those woken who wait for one."""

    async def tell(kind: str, data: Mapping[str, Any]) -> None:
        conductor.announce([await events.add(kind, data, conductor.clock.now())])

    return tell


async def guard_of(
    dhcp: DhcpServer, dhcp6: Dhcp6Server, netwatch: Netwatch, conductor: Conductor, db: Database
) -> Guard:
    """Have rogue DHCP servers watched for: what is found is an event of the site. Raises `StoreError`."""
    tell, memory = teller(conductor, EventStore(db)), FallbackStore(db)
    now, six = conductor.clock.now, dhcp6.subnets
    guard = Guard(dhcp, netwatch, tell, conductor.observe, now, memory=memory, subnets6=six)
    dhcp.site.on_other_server = guard.chosen
    await guard.open()
    return guard


def secret_sources(config: Config, secrets: Secrets) -> SecretSources:
    """Say where secrets that parameters point at come from."""
    ours = config.catalogue
    vault = Vault(ours.vault_address, Path(ours.vault_token_file), ours.vault_namespace) if ours.vault_address else None
    return SecretSources(secrets, folder=Path(ours.secrets_dir), vault=vault)

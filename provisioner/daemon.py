"""provisionerd: builds everything, starts and stops it in order. No logic of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from provisioner import config as configuration
from provisioner import fairloop, premises, settings
from provisioner.addressing import Addressing
from provisioner.bmc.pool import Bmcs
from provisioner.boot.files import FileTable
from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.renderer import RenderProcess
from provisioner.catalog.site import SiteCatalogue
from provisioner.checks import absolute, socket_path
from provisioner.collector import settle
from provisioner.config import Config, Written
from provisioner.declaring import Declaring
from provisioner.discovery.facts import decode_facts
from provisioner.discovery.identity import doubt, identify
from provisioner.errors import ConfigError, ProvisionerError
from provisioner.holders import Holders
from provisioner.hosts import hosts_of, own_address_towards
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Discovery, Network, Ports
from provisioner.lifecycle.rollouts import Rollouts
from provisioner.listening import spelled
from provisioner.machinehttp import MachineHttp
from provisioner.measures import Served, measure
from provisioner.naming import Naming
from provisioner.netwatch.privileges import keep_from_children
from provisioner.netwatch.supervisor import Netwatch
from provisioner.premises import group_id
from provisioner.reach import Reach, called_by
from provisioner.services import Service, Services
from provisioner.shelves import generations, shelf_of, tell_lacking
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.backup import tell_origin
from provisioner.store.db import Database
from provisioner.store.declarations import DeclarationStore
from provisioner.store.events import EventStore
from provisioner.store.hooks import HookStore
from provisioner.store.lock import alone
from provisioner.store.retention import Retention
from provisioner.store.secrets import Secrets
from provisioner.tftp.server import TftpServer
from provisioner.tftp.trace import Trace
from provisioner.web.api import Api
from provisioner.web.app import operator_app
from provisioner.web.ca import CaApi
from provisioner.web.dhcp import DhcpApi
from provisioner.web.dhcp6 import Dhcp6Api
from provisioner.web.fleet import FleetApi
from provisioner.web.hooks import Hooks, source_of
from provisioner.web.metrics import MetricsApi
from provisioner.web.network import NetworkApi
from provisioner.web.ports import Listener, Route, Site
from provisioner.web.server import MAX_QUERY_BYTES, Server
from provisioner.web.site import SiteApi
from provisioner.wiring import (
    Addresses,
    MachineFiles,
    SiteArtifacts,
    artifact_api,
    bmc_api,
    hooks_of,
    previews_of,
    secret_sources,
    teller,
)
from provisioner.workflow.site import SiteBoards, site_workflows

log = logging.getLogger("provisioner")


class Daemon:
    """All services of one process, in the order of their start; they are stopped in the opposite order."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._listening: list[Callable[[], Iterable[Listener]]] = []
        self.services = Services()

    def listeners(self) -> list[Listener]:
        """Say who is served where at this moment: subnets, and addresses of ours, come while the daemon runs."""
        return [listener for listening in self._listening for listener in listening()]

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Start everything, call `ready`, serve until `stop` is set, stop everything."""
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            services = await self._start(stack)
            keep = self.services.keep
            running = [group.create_task(keep(name, each), name=name) for name, each in services.items()]
            for listener in self.listeners():
                log.info("daemon.listening service=%s address=%s", listener.service, listener.address)
            settle()
            ready()
            await stop.wait()
            log.info("daemon.stopping")
            notify("STOPPING=1")
            for task in running:
                task.cancel()

    async def _start(self, stack: contextlib.AsyncExitStack) -> dict[str, Service]:
        config = self.config
        db = await self._open_store(stack)
        renderer = await stack.enter_async_context(RenderProcess())
        site_shelf, applied = await shelf_of(config, db)
        catalog = site_shelf.catalog
        artifacts = ArtifactStore(config.state_dir / "artifacts", ArtifactIndex(db))
        await artifacts.open()
        bmcs = await stack.enter_async_context(Bmcs(own=True))
        web, dhcp = config.http, config.dhcp
        addresses = Addresses(dhcp.subnets, own_address_towards, web.port, dhcp.subnets6, web.tls_port)
        table = FileTable(artifacts=artifacts.find)
        network = Network(
            addresses.base_url,
            holders := Holders(),
            addresses.policy,
            serves=table.serves,
            port_of=holders.port_of,
            address_of=holders.address_of,
            file=table.served,
            foretell=holders.foretell,
            place_of=holders.place_of,
            tls_url=addresses.tls_url,
        )
        discovery = Discovery(decode_facts, identify, doubt, site_shelf.classify)
        secrets = await Secrets.opened(db, config.key_file)
        await renderer.load(catalog.content.renderer.codes)
        ports = Ports(
            bmcs,
            SiteCatalogue(catalog, renderer),
            SiteArtifacts(artifacts),
            discovery,
            network,
            secrets=secret_sources(config, secrets).look_up,
        )
        conductor = Conductor(db, secrets, ports, quarantine_after=config.life.quarantine_after)
        conductor.services = self.services
        await conductor.open()
        netwatch = Netwatch()
        naming = await Naming.of(config.dns, db)
        addressing = await Addressing.start(stack, config, conductor=conductor, db=db, netwatch=netwatch, naming=naming)
        holders.v4, holders.v6 = addressing.v4, addressing.v6
        guard = addressing.guard
        addressing.follow(addresses.follow, addresses.follow6)
        addressing.follow(guard.changed, guard.changed)
        shelf = artifact_api(config, artifacts, table, catalog.bootenv, conductor.machines.all)
        await shelf.loaders.open()
        machines = MachineHttp.over(config, conductor, network, artifacts, db)
        served, reach = await self._serve_boot(stack, table, machines, addressing)
        site = Site(
            conductor,
            lambda: SiteArtifacts(artifacts).statuses(catalog),
            self.listeners,
            lambda: [db.failure] if db.failure else [],
            self.services.standings,
            lambda: machines.cache.standing if machines.cache.names else None,
        )
        boards = await bmc_api(stack, bmcs, conductor, secrets, db, addressing.v4)
        rollouts = Rollouts(conductor, db)
        await rollouts.open()
        workflows = await site_workflows(conductor, db, SiteBoards(bmcs, conductor.ways), site_shelf.library)
        await tell_lacking(site_shelf.lacking, teller(conductor, EventStore(db)))
        metrics = MetricsApi(lambda: measure(conductor, addressing.v4, addressing.v6, netwatch, guard, served))
        apis = (
            Api(site),
            shelf,
            boards,
            FleetApi(rollouts),
            previews_of(conductor, ports, catalog),
            NetworkApi(guard, netwatch),
            metrics,
            DhcpApi(addressing.book, addressing.book6, addressing.imports, guard.fallen, naming.keeper),
            Dhcp6Api(addressing.book6),
            workflows.api,
            CaApi(config.state_dir / "tls" / "ca.pem", config.http.tls_port),
            SiteApi(
                Declaring(
                    conductor,
                    ports,
                    secrets,
                    addressing.book,
                    site_shelf,
                    renderer=renderer,
                    store=DeclarationStore(db),
                    generations=generations(config),
                    applied=applied,
                )
            ),
        )
        await self._serve_operators(stack, [route for api in apis for route in api.routes()])
        hooks = await self._hooks(conductor, db)
        return {
            "conductor": conductor.run,
            "mirror": machines.cache.run,
            "rollouts": rollouts.run,
            "webhooks": hooks.run,
            "netwatch": netwatch.run,
            "guard": guard.run,
            "workflows": workflows.engine.run,
            "retention": Retention(db, conductor.clock, config.webhooks).run,
            "names": naming.run,
            "reach": reach.run,
        }

    async def _hooks(self, conductor: Conductor, db: Database) -> Hooks:
        receivers, source = await asyncio.to_thread(hooks_of, self.config.webhooks), source_of(socket.gethostname())
        hooks = Hooks(receivers, conductor, HookStore(db), source, teller(conductor, EventStore(db)))
        hooks.services = self.services
        return hooks

    async def _open_store(self, stack: contextlib.AsyncExitStack) -> Database:
        config = self.config
        db = Database(config.database)
        await db.open(written_out=True)
        stack.push_async_callback(db.close)
        await tell_origin(db, None if config.store.key_file else config.key_file, time.time())
        return db

    async def _serve_boot(
        self, stack: contextlib.AsyncExitStack, table: FileTable, machines: MachineHttp, addressing: Addressing
    ) -> tuple[Served, Reach]:
        """Serve boot files on all interfaces that have subnets, and on those that get one."""
        self._listening.append(addressing.listeners)
        subnets = addressing.served()
        hosts, called = await hosts_of(subnets), called_by((*subnets.subnets, *subnets.subnets6))
        tftp = await self._serve_tftp(stack, machines.conductor, table, machines.network, hosts)
        listeners, doors = await machines.start(stack, table, hosts, called)
        self._listening.append(listeners)
        reach = Reach(self.config, hosts, called, tftp, doors)
        addressing.follow(reach.follow, reach.follow)
        return Served(tftp, machines.sharing), reach

    async def _serve_tftp(
        self,
        stack: contextlib.AsyncExitStack,
        conductor: Conductor,
        table: FileTable,
        network: Network,
        hosts: Sequence[str],
    ) -> TftpServer | None:
        settings = self.config.tftp
        wanted = [(host, settings.port) for host in settings.addresses or hosts]
        if not settings.enabled:
            return None
        trace = Trace(conductor.observe, network.lease_of, conductor.clock, conductor.booter.loader_fetched)
        tftp = TftpServer(wanted, table=table, trace=trace, render=MachineFiles(conductor, network.lease_of))
        await tftp.start()
        stack.push_async_callback(tftp.stop)
        self._listening.append(
            lambda: (Listener("tftp", f"udp {spelled(host, port)}") for host, port, *_ in tftp.addresses)
        )
        return tftp

    async def _serve_operators(self, stack: contextlib.AsyncExitStack, routes: Iterable[Route]) -> None:
        server = Server(operator_app(routes), line_bytes=MAX_QUERY_BYTES)
        stack.push_async_callback(server.close)
        await server.listen_unix(Path(self.config.api.socket), gid=group_id(self.config.api.group))
        self._listening.append(lambda: (Listener("api", address) for address in server.addresses))


def notify(message: str) -> None:
    """Tell systemd (sd_notify(3)); without it, nobody."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)


def parser() -> argparse.ArgumentParser:
    """The command line of the daemon."""
    parser = argparse.ArgumentParser(
        prog="provisionerd",
        description="Serve DHCP, TFTP, HTTP boot and the operator API, in the foreground.",
        epilog="With neither --config nor the default file, only the interfaces named here are served.",
    )
    default = configuration.DEFAULT_PATH
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {default}, if it exists)")
    parser.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this interface's IPv4 network; repeatable",
    )
    parser.add_argument("--state-dir", metavar="DIR", type=_as(absolute), help="where durable state lies")
    parser.add_argument("--api-socket", metavar="PATH", type=_as(socket_path), help="UNIX socket of the operator API")
    example = "print a configuration that lists every key with its default, and what it means"
    parser.add_argument("--example-config", action="store_true", help=example)
    parser.add_argument("--version", action="version", version=f"provisionerd {version('provisioner')}")
    parser.add_argument("--check", action="store_true", help="read the configuration and the catalogue, start nothing")
    return parser


def _as(check: Callable[[str], str]) -> Callable[[str], str]:
    """Hold an argument to the rule of the setting that it takes the place of."""

    def read(value: str) -> str:
        if fault := check(value):
            raise argparse.ArgumentTypeError(fault)
        return value

    return read


def read_config(arguments: argparse.Namespace) -> Written:
    """Put file and arguments together; raise `ConfigError` or `ListenError`."""
    path = arguments.config or configuration.default_path()
    config, where = configuration.read(path) if path else Written(Config(), lambda _: "provisionerd")
    config = configuration.with_interfaces(config, arguments.interface)
    if arguments.state_dir:
        config = replace(config, store=replace(config.store, state_dir=arguments.state_dir))
    if arguments.api_socket:
        config = replace(config, api=replace(config.api, socket=arguments.api_socket))
    if path is None and not arguments.interface:
        raise ConfigError("nothing to serve", hint="give --config FILE, or --interface NAME for a start without one")
    return Written(config, where)


def _on_hangup() -> None:
    log.warning("daemon.hangup it goes on; settings are read at the start only (restart it for others)")


async def serve(config: Config) -> None:
    """Run a daemon until SIGTERM or SIGINT; SIGHUP (a terminal closes, a hand means a reload) ends nothing."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _on_hangup)

    def ready() -> None:
        log.info("daemon.ready pid=%d", os.getpid())
        notify(f"READY=1\nMAINPID={os.getpid()}")

    await Daemon(config).run(ready, stop)
    log.info("daemon.stopped")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: exit status 0 after a clean stop, 1 when it could not start or had to end, 2 for wrong usage."""
    arguments = parser().parse_args(argv)
    try:
        try:
            return _main(arguments)
        except* ProvisionerError as group:
            faults = list(_leaves(group))
    except ProvisionerError as error:
        faults = [error]
    for fault in faults:
        sys.stderr.write(f"provisionerd: {fault}\n")
    return 1


def _main(arguments: argparse.Namespace) -> int:
    if arguments.example_config:
        sys.stdout.write(settings.example(Config))
        return 0
    written = read_config(arguments)
    premises.check(written, catalogue=arguments.check)
    config = written.config
    logging.basicConfig(
        level=config.log.level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if arguments.check:
        sys.stderr.writelines(f"provisionerd: warning: {doubt}\n" for doubt in premises.doubts(written))
        sys.stdout.write("configuration and catalogue are in order\n")
        return 0
    keep_from_children()
    with alone(config.state_dir, "provisionerd", "end it, or give another --state-dir"):
        fairloop.run(serve(config))
    return 0


def _leaves(group: BaseExceptionGroup[ProvisionerError]) -> Iterator[ProvisionerError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each

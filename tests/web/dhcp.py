"""A DHCP server without sockets behind its API: what operators change of it is real, and durable."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from provisioner.clock import SteadyClock
from provisioner.dhcp.book import DhcpBook
from provisioner.dhcp.imports import Imports
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.v6.book import Dhcp6Book
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.store.clock import ClockStore
from provisioner.store.db import Database
from provisioner.store.dhcpbook import DhcpBookStore
from provisioner.store.leases import LeaseStore
from provisioner.store.leases6 import LeaseStore6
from provisioner.web.app import operator_app
from provisioner.web.dhcp import DhcpApi
from provisioner.web.dhcp6 import Dhcp6Api
from provisioner.web.server import Server
from tests.dhcp.clients import NOW, chain, subnet
from tests.dhcp.v6.clients import SERVER_DUID
from tests.dhcp.v6.clients import subnet as subnet6

CONFIG = Dhcp(
    subnets=(subnet(name="rack1", interface=""),),
    reservations=(Reservation(mac="52:54:00:00:00:99", address="10.0.0.99", name="printer"),),
    subnets6=(subnet6(name="rack6", interface=""),),
    reservations6=(Reservation6(address="fd00::99", mac="52:54:00:00:00:99"),),
)


class Desk:
    """One daemon's worth of DHCP on a folder; made again on the same folder, it is the daemon after a restart."""

    database = Database

    def __init__(self, folder: Path, config: Dhcp = CONFIG, clock: SteadyClock | None = None) -> None:
        self.folder = folder
        self.db = self.database(folder / "state.db")
        leases, self.leases6 = LeaseStore(self.db), LeaseStore6(self.db)
        steady = clock or SteadyClock(wall=lambda: NOW, steady=lambda: 0.0)
        self.jumps = ClockStore(self.db)
        self.server = DhcpServer(
            config,
            decide=chain,
            leases=leases,
            observe=lambda _line: None,
            clock=steady,
            on_jump=self.jumps.jumped,
        )
        self.book = DhcpBook(self.server, DhcpBookStore(self.db), leases)
        self.server6 = Dhcp6Server(config, decide=chain, leases=self.leases6, observe=lambda _line: None, clock=steady)
        self.book6 = Dhcp6Book(self.server6, DhcpBookStore(self.db), self.leases6)
        self.fallen: dict[str, str] = {}
        self.imports = Imports(self.book, self.book6, DhcpBookStore(self.db))
        self._stack = AsyncExitStack()

    @property
    def socket(self) -> Path:
        return self.folder / "api.sock"

    async def open(self) -> Desk:
        await self.db.open()
        self._stack.push_async_callback(self.db.close)
        await self.jumps.settle(self.server.now())
        await self.book.open()
        await self.book6.open()
        self.server6.site.duid = SERVER_DUID
        self.server.site.topology.take_over(await LeaseStore(self.db).load(), self.server.now())
        routes = (
            *DhcpApi(self.book, self.book6, self.imports, lambda: self.fallen).routes(),
            *Dhcp6Api(self.book6).routes(),
        )
        api = Server(operator_app(routes), drain_s=0.05)
        self._stack.push_async_callback(api.close)
        await api.listen_unix(self.socket)
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    def holders(self, *addresses: str) -> Sequence[str | None]:
        return [self.server.lease_of(address) for address in addresses]

"""The DHCP servers of both families, put together with their leases, names and router advertisements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from provisioner.clock import SteadyClock
from provisioner.config import Config
from provisioner.dhcp.book import DhcpBook
from provisioner.dhcp.imports import Imports
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Durability, Subnet
from provisioner.dhcp.v6.advertising import Advertising
from provisioner.dhcp.v6.book import Dhcp6Book
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.lifecycle.conductor import Conductor
from provisioner.naming import Naming
from provisioner.netwatch.guard import Guard
from provisioner.netwatch.prober import Prober
from provisioner.netwatch.supervisor import Netwatch
from provisioner.store.clock import ClockStore
from provisioner.store.db import Database
from provisioner.store.dhcpbook import DhcpBookStore
from provisioner.store.leases import LeaseStore
from provisioner.store.leases6 import LeaseStore6
from provisioner.web.ports import Listener
from provisioner.wiring import KnownMachines, guard_of


@dataclass(frozen=True, slots=True)
class Addressing:
    """Both servers, running until the stack that they were started with is closed."""

    v4: DhcpServer
    v6: Dhcp6Server
    book: DhcpBook
    book6: Dhcp6Book
    imports: Imports
    guard: Guard

    @classmethod
    async def start(
        cls,
        stack: AsyncExitStack,
        config: Config,
        *,
        conductor: Conductor,
        db: Database,
        netwatch: Netwatch,
        naming: Naming,
    ) -> Addressing:
        """Take up what is on record, then serve. Raises `ListenError` or `StoreError`."""
        durable, advertising = config.dhcp.durability is Durability.DURABLE, Advertising()
        leases, leases6 = LeaseStore(db, durable=durable), LeaseStore6(db, durable=durable)
        clock, jumps = SteadyClock(), ClockStore(db)
        await jumps.settle(clock.now())
        v4 = DhcpServer(
            config.dhcp,
            decide=conductor.decide,
            leases=leases,
            observe=conductor.observe,
            http_port=config.http.port,
            tls_port=config.http.tls_port,
            probe=Prober(netwatch, lambda: v4.site),
            on_lease=naming.on_lease,
            advertising=advertising,
            clock=clock,
            on_jump=jumps.jumped,
        )
        v6 = Dhcp6Server(
            config.dhcp,
            decide=conductor.decide,
            leases=leases6,
            observe=conductor.observe,
            http_port=config.http.port,
            tls_port=config.http.tls_port,
            on_lease=naming.on_lease6,
            advertising=advertising,
            clock=clock,
        )
        store = DhcpBookStore(db)
        book, book6 = DhcpBook(v4, store, leases), Dhcp6Book(v6, store, leases6)
        await book.open()
        await book6.open()
        guard = await guard_of(v4, v6, netwatch, conductor, db)
        conductor.follow(KnownMachines(v4))
        v4.follow(v6.know)
        stack.callback(advertising.stop)
        await v4.start()
        stack.push_async_callback(v4.stop)
        await naming.open(v4)
        await v6.start()
        stack.push_async_callback(v6.stop)
        v4.links.followers.append(book.subnets.tell)
        v6.links.followers.append(book6.subnets.tell)
        await naming.open6(v6)
        advertising.start()
        return cls(v4, v6, book, book6, Imports(book, book6, store), guard)

    def follow(self, v4: Callable[[Sequence[Subnet]], None], v6: Callable[[Sequence[Subnet6]], None]) -> None:
        """Tell all subnets of each family now, and whenever one has changed, or our addresses have."""
        self.book.subnets.follow(v4)
        self.book6.subnets.follow(v6)

    def served(self) -> Dhcp:
        """The configuration with what operators said since."""
        subnets, subnets6 = tuple(self.v4.subnets()), tuple(self.v6.subnets())
        return replace(self.v4.config, subnets=subnets, subnets6=subnets6)

    def listeners(self) -> Iterator[Listener]:
        """Say which addresses are given, and where."""
        subnets: list[Subnet | Subnet6] = [*self.v4.subnets(), *self.v6.subnets()]
        for subnet in subnets:
            yield Listener(f"dhcp {subnet.mode}", f"{subnet.network} on {subnet.interface or 'relays'}")

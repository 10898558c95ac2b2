"""The daemon's parts that declarations change, over a store on disk: conductor, DHCP, catalogue. Nothing listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from provisioner.catalog.load import Catalog
from provisioner.catalog.secretsource import SecretSources
from provisioner.catalog.site import SiteCatalogue
from provisioner.config import Config
from provisioner.config import Store as StoreSettings
from provisioner.declaring import Declaring
from provisioner.dhcp.book import DhcpBook
from provisioner.dhcp.layers import Origin
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Subnet
from provisioner.discovery.profiles import load_profiles
from provisioner.errors import BmcError, NotFoundError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Bmcs, Discovery, Ports
from provisioner.model.bmc import BmcAddress, BmcIdentity
from provisioner.model.boot import LocalDisk
from provisioner.model.net import Mac
from provisioner.shelves import Shelf, generations, shelf_of
from provisioner.store.db import Database
from provisioner.store.declarations import DeclarationStore
from provisioner.store.dhcpbook import DhcpBookStore
from provisioner.store.leases import LeaseStore
from provisioner.store.secrets import Secrets, load_key
from provisioner.workflow.load import load_workflows
from tests.lifecycle.previews import Direct, Stock, network
from tests.shipped import catalogue

SUBNET = Subnet(network="10.77.0.0/24", interface="eth1", pools=("10.77.0.100-10.77.0.199",))


class Board:
    """BMCs that let everybody in, or say why not."""

    def __init__(self) -> None:
        self.fault: BmcError | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while somebody logs in."""
        self.says: dict[str, BmcIdentity] = {}
        """What those that say something say, by their host."""
        self.let_go: list[BmcAddress] = []
        """Those that the session was ended with."""

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        self.meanwhile()
        if self.fault is not None:
            raise self.fault
        return self.says.get(address.host, BmcIdentity())

    meet = whose = identify

    async def fingerprint(self, address: BmcAddress) -> str:
        return "ab" * 32

    async def forget(self, address: BmcAddress) -> None:
        self.let_go.append(address)

    leave = forget


@dataclass
class Declared:
    """A site whose declarations can be applied."""

    config: Config
    db: Database
    conductor: Conductor
    secrets: Secrets
    server: DhcpServer
    shelf: Shelf
    site: Declaring
    board: Board
    loaded: dict[str, bytes] = field(default_factory=dict)

    def reserved(self) -> dict[Mac, str]:
        """Fixed addresses that were made while it ran."""
        said = [(each, origin) for each, origin in _all(self.server) if origin is Origin.OPERATOR]
        return {Mac(each.mac): each.address for each, _ in said}

    async def fill_disk(self) -> None:
        """Let nothing be written any more."""
        await self.db.submit(
            lambda c: (
                c.execute(
                    "CREATE TRIGGER full BEFORE INSERT ON declaration BEGIN SELECT raise(ABORT, 'disk is full'); END"
                )
                and None
            )
        )


def _all(server: DhcpServer) -> list[Any]:
    macs = server.layers.page("", 1000)
    return [(said, origin) for mac in macs for origin in Origin if (said := server.layers.get(mac, origin))]


class _Loads:
    def __init__(self) -> None:
        self.codes: dict[str, bytes] = {}

    async def load(self, codes: Mapping[str, bytes]) -> None:
        self.codes.clear()
        self.codes.update(codes)


@asynccontextmanager
async def declared(folder: Path) -> AsyncIterator[Declared]:
    """Open a site over the store in `folder`."""
    await asyncio.to_thread((folder / "state").mkdir, exist_ok=True)
    config = Config(store=StoreSettings(state_dir=str(folder / "state")))
    db = Database(folder / "state/state.db")
    await db.open()
    secrets = Secrets(db, await asyncio.to_thread(load_key, folder / "key"))
    shelf = await asyncio.to_thread(lambda: Shelf(Catalog((), catalogue().content), load_profiles(), load_workflows()))
    store = DeclarationStore(db)
    if (await store.last()).folder:  # what was applied before is read as at a start
        shelf, _ = await shelf_of(config, db)
    board, loads = Board(), _Loads()
    ports = Ports(
        cast(Bmcs, board), SiteCatalogue(shelf.catalog, Direct()), Stock(), cast(Discovery, None), network(),
        secrets=_secrets,
    )  # fmt: skip
    conductor = Conductor(db, secrets, ports)
    await conductor.open()
    leases = LeaseStore(db)
    server = DhcpServer(
        Dhcp(subnets=(SUBNET,)), decide=lambda _: LocalDisk("nothing"), leases=leases, observe=lambda _: None
    )
    book = DhcpBook(server, DhcpBookStore(db), leases)
    await book.open()
    site = Declaring(
        conductor, ports, secrets, book, shelf,
        renderer=loads, store=store, generations=generations(config), applied=await store.last(),
    )  # fmt: skip
    try:
        yield Declared(config, db, conductor, secrets, server, shelf, site, board, loads.codes)
    finally:
        await db.close()


class Nothing:
    """A store of our own secrets that has none."""

    version = 0

    async def get(self, name: str) -> str:
        raise NotFoundError(f"there is no secret {name!r}")


async def _secrets(references: Sequence[str]) -> Mapping[str, str]:
    """Know every secret but files, as the real sources say it."""
    files = [each for each in references if each.startswith("file:")]
    if files:
        return await SecretSources(Nothing(), folder=Path("/nonexistent")).look_up(files)
    return {each: f"secret of {each}" for each in references}

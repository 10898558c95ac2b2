"""Subnets made ready to serve, and the search for the one that a packet is about. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Generic, Protocol, TypeVar

from provisioner.dhcp import formats
from provisioner.dhcp.blocks import Block
from provisioner.dhcp.boot import Boot
from provisioner.dhcp.identify import Kind
from provisioner.dhcp.leases import Lease, Pool
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import addresses
from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.subnets import Mode, Subnet
from provisioner.errors import ConfigError
from provisioner.model.boot import Unknown

CACHE_LIMIT = 4096
"""Relay addresses remembered; a site has tens, a flood of made-up ones must not grow us."""


class Net:
    """One subnet: its settings as numbers and bytes, and who holds its addresses."""

    def __init__(self, config: Subnet) -> None:
        network = IPv4Network(config.network)
        self.config = config
        self.lease_s = config.lease_s
        self.limited = bool(config.new_per_s or config.port_per_s)
        """Unknown machines have to pass a limit before they get an address."""
        self.name = config.title
        self.mode = config.mode
        self.proxy = config.mode is Mode.PROXY
        self.network = int(network.network_address)
        self.mask = int(network.netmask)
        self.server = int(IPv4Address(config.server_address)) if config.server_address else 0
        self.options = base_options(config, network)
        self.loader = loaders_by_arch(config.loader)
        self.blocks: dict[tuple[object, ...], Block] = {}
        """Option fields made before, by their `Terms`."""
        self.boots: dict[tuple[Kind, int, str, int], Boot] = {}
        """Boot information made before, by kind of client, our address, file and `Known.serial`."""
        size = sum(high - low + 1 for low, high in parse_ranges(config.pools))
        spare = size * config.known_spare // 100
        self.pool = Pool(self.name, parse_ranges(config.pools), offer_s=config.offer_s, spare=spare)
        self.quarantine = Pool(f"{self.name}/quarantine", parse_ranges(config.quarantine_pools), offer_s=config.offer_s)
        strangers = self.quarantine if config.unknown is Unknown.QUARANTINE else self.pool
        self._pools = (strangers, self.pool)

    def holds(self, ip: int) -> bool:
        """Say whether the address belongs to this network."""
        return ip & self.mask == self.network

    def pool_of(self, lease: Lease) -> Pool:
        """Give the pool that a lease belongs to by its address."""
        return self.quarantine if self.quarantine.covers(lease.ip) else self.pool

    def pool_for(self, known: bool) -> Pool:
        """Give the pool that a known or unknown machine gets its address from."""
        return self._pools[known]


class Place(Protocol):
    """What puts a subnet of either family into its place."""

    @property
    def interface(self) -> str: ...
    @property
    def shared_network(self) -> str: ...


class Located(Protocol):
    """A subnet of either family, as far as it has to be found."""

    name: str

    @property
    def config(self) -> Place: ...
    def holds(self, ip: int) -> bool: ...


N = TypeVar("N", bound=Located)


class Topology(Generic[N]):
    """All subnets, by name, by interface and by address."""

    def __init__(self, nets: Iterable[N] = ()) -> None:
        self._nets: dict[str, N] = {}
        self._by_address: dict[int, tuple[N, ...]] = {}
        self._by_interface: dict[str, tuple[N, ...]] = {}
        for net in nets:
            self.set(net)

    def __iter__(self) -> Iterator[N]:
        return iter(self._nets.values())

    def get(self, name: str) -> N | None:
        """Give a subnet by its name."""
        return self._nets.get(name)

    def set(self, net: N) -> None:
        """Add or replace a subnet."""
        self._nets[net.name] = net
        self._forget()

    def remove(self, name: str) -> None:
        """Serve a subnet no more."""
        self._nets.pop(name, None)
        self._forget()

    def at(self, ip: int) -> tuple[N, ...]:
        """Give the subnet that holds this address, first, and those that share its wire."""
        found = self._by_address.get(ip)
        if found is None:
            found = self._with_shared([net for net in self._nets.values() if net.holds(ip)])
            if len(self._by_address) >= CACHE_LIMIT:
                self._by_address.clear()
            self._by_address[ip] = found
        return found

    def on(self, interface: str) -> tuple[N, ...]:
        """Give the subnets whose clients are on this interface."""
        found = self._by_interface.get(interface)
        if found is None:
            found = self._with_shared([net for net in self._nets.values() if net.config.interface == interface])
            self._by_interface[interface] = found
        return found

    def _with_shared(self, nets: list[N]) -> tuple[N, ...]:
        words = {net.config.shared_network for net in nets} - {""}
        others = [net for net in self._nets.values() if net.config.shared_network in words and net not in nets]
        return (*nets, *others)

    def _forget(self) -> None:
        self._by_address.clear()
        self._by_interface.clear()


def parse_ranges(pools: Iterable[str]) -> list[tuple[int, int]]:
    """Read `10.0.8.100-10.0.8.200` (or a single address, or a network) as numbers; raise `ConfigError`."""
    found = []
    for text in pools:
        low, _, high = (part.strip() for part in text.partition("-"))
        try:
            if "/" in low:
                network = IPv4Network(low)
                found.append((int(network.network_address), int(network.broadcast_address)))
            else:
                found.append((int(IPv4Address(low)), int(IPv4Address(high or low))))
        except ValueError as error:
            raise ConfigError(f"pool {text!r}: {error}", hint="write 10.0.8.100-10.0.8.200") from None
    return found


def base_options(config: Subnet, network: IPv4Network) -> dict[int, bytes]:
    """Write what all clients of a subnet may ask for."""
    found: dict[int, bytes] = {
        Opt.SUBNET_MASK: network.netmask.packed,
        Opt.BROADCAST: network.broadcast_address.packed,
    }
    lists = {Opt.ROUTER: config.router, Opt.DNS: config.dns, Opt.NTP: config.ntp}
    found |= {int(code): addresses(values) for code, values in lists.items() if values}
    if config.domain:
        found[Opt.DOMAIN_NAME] = config.domain.encode("idna")
    if config.search:
        found[Opt.DOMAIN_SEARCH] = formats.domains_value(config.search)
    if config.routes:
        default = [f"0.0.0.0/0 via {router}" for router in config.router[:1]]
        found[Opt.CLASSLESS_ROUTES] = formats.route_value((*config.routes, *default))
    return found | formats.parse_options(config.options)

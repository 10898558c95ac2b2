"""Subnets made ready to serve, and the search for the one that a packet is about. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, Protocol, TypeVar

from provisioner.dhcp import formats
from provisioner.dhcp.blocks import Block
from provisioner.dhcp.boot import Boot
from provisioner.dhcp.identify import Kind
from provisioner.dhcp.leases import Lease, Pool, sound
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import addresses
from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.subnets import Mode, Subnet
from provisioner.errors import ConfigError, NotFoundError
from provisioner.model.boot import Unknown

CACHE_LIMIT = 4096
"""Relay addresses remembered; a site has tens, a flood of made-up ones must not grow us."""


class Given(Protocol):
    """What the settings of a subnet of either family say of its place and its addresses."""

    @property
    def title(self) -> str: ...
    @property
    def interface(self) -> str: ...
    @property
    def shared_network(self) -> str: ...
    @property
    def pools(self) -> Sequence[str]: ...
    @property
    def quarantine_pools(self) -> Sequence[str]: ...
    @property
    def unknown(self) -> Unknown: ...
    @property
    def offer_s(self) -> int: ...
    @property
    def known_spare(self) -> int: ...
    @property
    def new_per_s(self) -> float: ...
    @property
    def port_per_s(self) -> float: ...


class Served:
    """What subnets of both families have: a network, and who holds its addresses."""

    def __init__(self, config: Given, network: IPv4Network | IPv6Network, limit: int | None = None) -> None:
        """Make its pools; of each no more than the first `limit` addresses are used."""
        self.name = config.title
        self.network = int(network.network_address)
        self.mask = int(network.netmask)
        self.limited = bool(config.new_per_s or config.port_per_s)
        """Unknown machines have to pass a limit before they get an address."""
        ranges = cut(parse_ranges(config.pools, type(network)), limit)
        spare = spare_of(sum(high - low + 1 for low, high in ranges), config.known_spare)
        self.pool = Pool(self.name, ranges, offer_s=config.offer_s, spare=spare)
        quarantine = cut(parse_ranges(config.quarantine_pools, type(network)), limit)
        self.quarantine = Pool(f"{self.name}/quarantine", quarantine, offer_s=config.offer_s)
        self.pools = (self.pool, self.quarantine)
        self._separate = config.unknown is Unknown.QUARANTINE
        self._pools = self._by_known()

    def _by_known(self) -> tuple[Pool, Pool]:
        return self.quarantine if self._separate else self.pool, self.pool

    def keep_pools(self, network: int, mask: int, pools: tuple[Pool, Pool]) -> bool:
        """Go on with the pools of the subnet before, where all addresses are the same ones; say whether they are."""
        if (network, mask) != (self.network, self.mask):
            return False
        if [pool.ranges for pool in pools] != [pool.ranges for pool in self.pools]:
            return False
        for kept, new in zip(pools, self.pools, strict=True):
            kept.go_by(new.offer_s, new.spare)
        self.pools = self.pool, self.quarantine = pools
        self._pools = self._by_known()
        return True

    def holds(self, ip: int) -> bool:
        """Say whether the address belongs to this network."""
        return ip & self.mask == self.network

    def inside(self, ips: Iterable[int]) -> list[int]:
        """Give those that belong to this network: of 100,000 in some milliseconds."""
        mask, network = self.mask, self.network
        return [ip for ip in ips if ip & mask == network]

    def pool_at(self, ip: int) -> Pool:
        """Give the pool that keeps the lease of an address."""
        return self.quarantine if self.quarantine.covers(ip) else self.pool

    def pool_for(self, known: bool) -> Pool:
        """Give the pool that a known or unknown machine gets its address from."""
        return self._pools[known]


def spare_of(size: int, percent: int) -> int:
    """Say how many of so many addresses only known machines may use up: rounded up, but one is left for others.

    With 100 percent none is.
    """
    return min(-(-size * percent // 100), size if percent == 100 else max(size - 1, 0))


class Net(Served):
    """One IPv4 subnet: its settings as numbers and bytes, and who holds its addresses."""

    def __init__(self, config: Subnet) -> None:
        network = IPv4Network(config.network)
        super().__init__(config, network)
        self.config = config
        self.lease_s = config.lease_s
        self.mode = config.mode
        self.unknown = config.unknown
        self.proxy = config.mode is Mode.PROXY
        self.server = int(IPv4Address(config.server_address)) if config.server_address else 0
        self.options = base_options(config, network)
        self.loader = loaders_by_arch(config.loader)
        self.blocks: dict[tuple[object, ...], Block] = {}
        """Option fields made before, by their `Terms`."""
        self.boots: dict[tuple[Kind, int, str, int], Boot] = {}
        """Boot information made before, by kind of client, our address, file and `Known.serial`."""


N = TypeVar("N", bound="Located")


class Located(Protocol):
    """A subnet of either family, as far as it has to be found and its leases kept."""

    name: str
    network: int
    mask: int
    pools: tuple[Pool, Pool]
    pool: Pool

    @property
    def config(self) -> Given: ...
    def keep_pools(self, network: int, mask: int, pools: tuple[Pool, Pool]) -> bool: ...
    def holds(self, ip: int) -> bool: ...
    def inside(self, ips: Iterable[int]) -> list[int]: ...
    def pool_at(self, ip: int) -> Pool: ...


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

    def set(self, net: N, fixed: Iterable[int] = ()) -> None:
        """Add or replace a subnet; leases and offers of the one before stay, those of addresses that it has lost go.

        `fixed` are addresses of reservations. A lease that went is still stored, for whoever serves its address next.
        """
        before = self._nets.get(net.name)
        if before is None or not net.keep_pools(before.network, before.mask, before.pools):
            for ip in net.inside(fixed):
                net.pool.fix(ip)
            if before is not None:
                _put(net, (lease for pool in before.pools for lease in pool.by_ip.values() if net.holds(lease.ip)))
                for pool in net.pools:
                    pool.keep_offers(before.pools)
        self._nets[net.name] = net
        self._forget()

    def take_over(self, leases: Iterable[Lease], now: float) -> None:
        """Put stored leases where their addresses are now; their times are made sound (`leases.sound`).

        By address: a subnet may have been renamed, or its pools changed, since they were written.
        """
        found: dict[str, list[Lease]] = {}
        net: N | None = None
        for lease in leases:
            if net is None or not net.holds(lease.ip):  # they come in order
                net = next((each for each in self._nets.values() if each.holds(lease.ip)), None)
            if net is not None:
                found.setdefault(net.name, []).append(sound(lease, now))
        for name, its in found.items():
            _put(self._nets[name], its)

    def pools(self) -> Iterator[Pool]:
        """Give all pools."""
        for net in self._nets.values():
            yield from net.pools

    def leases(self) -> list[Lease]:
        """Give all leases, also those that are over."""
        return [lease for pool in self.pools() for lease in pool.by_ip.values()]

    def leases_at(self, ip: int) -> Iterator[Lease]:
        """Give what is on record of an address."""
        for net in self.at(ip):
            for pool in net.pools:
                if (lease := pool.by_ip.get(ip)) is not None:
                    yield lease

    def leases_of(self, key: bytes) -> Iterator[Lease]:
        """Give what a machine holds or held last, in each pool."""
        for pool in self.pools():
            if (lease := pool.of(key)) is not None:
                yield lease

    def holding(self, ip: int) -> N | None:
        """Give the subnet that an address belongs to."""
        return next((net for net in self.at(ip) if net.holds(ip)), None)

    def forgive(self, ip: int, now: float) -> list[Lease]:
        """Let an address that was declined be given again; give what has to be stored. Raises `NotFoundError`."""
        net = self.holding(ip)
        found = [pool.forgive(ip, now) for pool in net.pools] if net is not None else []
        if not any(found):
            hint = "`provisionctl dhcp leases --state declined`, with -6 for IPv6"
            raise NotFoundError("that address is not out of use", hint=hint)
        return [lease for lease in found if lease is not None]

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


def _put(net: Located, leases: Iterable[Lease]) -> None:
    """Put leases into the pools of a subnet that their addresses are in."""
    found: dict[Pool, list[Lease]] = {pool: [] for pool in net.pools}
    for lease in leases:
        pool = net.pool_at(lease.ip)
        found[pool].append(lease if lease.pool == pool.name else lease._replace(pool=pool.name))
    for pool, its in found.items():
        pool.load(its)


EXAMPLES = {IPv4Network: "10.0.8.100-10.0.8.200", IPv6Network: "fd00:8::1000-fd00:8::ffff"}


def parse_ranges(pools: Iterable[str], family: type[IPv4Network | IPv6Network] = IPv4Network) -> list[tuple[int, int]]:
    """Read `10.0.8.100-10.0.8.200` (or a single address, or a network) as numbers; raise `ConfigError`."""
    found = []
    for text in pools:
        low, _, high = (part.strip() for part in text.partition("-"))
        try:
            if "/" in low:
                network = family(low)
                found.append((int(network.network_address), int(network.broadcast_address)))
            else:
                found.append((_number(low, family), _number(high or low, family)))
        except ValueError as error:
            raise ConfigError(f"pool {text!r}: {error}", hint=f"write {EXAMPLES[family]}") from None
    return found


def _number(text: str, family: type[IPv4Network | IPv6Network]) -> int:
    return int(IPv4Address(text) if family is IPv4Network else IPv6Address(text))


def cut(ranges: Iterable[tuple[int, int]], limit: int | None) -> list[tuple[int, int]]:
    """Leave out what is beyond the first `limit` addresses."""
    if limit is None:
        return list(ranges)
    found = []
    for low, high in ranges:
        if limit <= 0:
            break
        last = min(high, low + limit - 1)
        limit -= last - low + 1
        found.append((low, last))
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

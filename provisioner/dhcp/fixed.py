"""What can be wrong with what is fixed for machines: reservations and rules for switch ports. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from provisioner.dhcp import called, formats
from provisioner.dhcp.proxy import is_unfit
from provisioner.dhcp.reservations import loaders_by_arch, port_key
from provisioner.dhcp.sound import Barred, attempt, port_mac, uuid_faults
from provisioner.dhcp.subnets import Dhcp, Mode, Overrides, PortRule, Reservation, Rogue, Subnet
from provisioner.errors import ConfigError
from provisioner.model.net import parse_mac

GIVES_ADDRESSES = (Mode.AUTHORITATIVE, Mode.RESERVATIONS_ONLY)
OWN = ("router", "server_address")
"""Settings of a subnet whose addresses no machine can have. A name server may well be a machine with a reservation."""


class Ground:
    """What fixed addresses are judged by, read once for all of them. Its subnets are right."""

    def __init__(self, config: Dhcp) -> None:
        self.config = config
        self._networks = [(IPv4Network(subnet.network), subnet) for subnet in config.subnets]
        self._barred: dict[str, Barred] = {}
        self.ports = {ip: f"ports[{at}]" for at, rule in enumerate(config.ports) if (ip := number_of(rule.address))}
        """The rules for switch ports that give an address."""

    def at(self, ip: int) -> Subnet | None:
        """Give the subnet that an address lies in."""
        address = IPv4Address(ip)
        return next((subnet for network, subnet in self._networks if address in network), None)

    def barred(self, subnet: Subnet) -> Barred:
        """Give what no machine can have there."""
        found = self._barred.get(subnet.title)
        if found is None:
            found = self._barred[subnet.title] = Barred(subnet, OWN)
        return found


def number_of(address: str) -> int:
    """Read an address; 0 where it is none, which is said elsewhere."""
    try:
        return int(IPv4Address(address))
    except ValueError:
        return 0


def overrides_faults(overrides: Overrides) -> Iterator[str]:
    """Say which loaders and options cannot be read or contradict each other."""
    yield from attempt("loader", lambda: loaders_by_arch(overrides.loader))
    faults = list(attempt("options", lambda: formats.parse_options(overrides.options)))
    yield from faults or formats.twice(overrides.options)


def is_beside_another(subnet: Subnet) -> bool:
    """Say whether it is, or may come to be, beside another DHCP server."""
    return subnet.mode is Mode.PROXY or subnet.rogue is Rogue.FALLBACK


def unfit_faults(loader: Mapping[str, str], subnets: Iterable[Subnet]) -> Iterator[str]:
    """Say which loaders fail on whichever of these subnets: all are, or may come to be, beside another DHCP server."""
    unfit = [(arch, name) for arch, name in loader.items() if is_unfit(name.encode())]
    served = [each for each in subnets if each.mode is not Mode.OFF] if unfit else []
    if served and all(map(is_beside_another, served)):
        for arch, name in unfit:
            yield f"loader: {arch}: {name} does not work beside another DHCP server: name an iPXE loader"


# reservations


def all_reservations(ground: Ground) -> Iterator[str]:
    """Say what is wrong with those of the file, each by itself and beside the others."""
    macs: dict[str, str] = {}
    names: dict[str, str] = {}
    addresses: dict[str, str] = {}
    found = ground.config.reservations
    for where, each in zip(called.reservations(found), found, strict=True):
        yield from (f"{where}: {fault}" for fault in reservation_faults(each, ground))
        said = [("mac", macs, _normal(each.mac)), ("name", names, each.name)]
        said += (("address", addresses, str(IPv4Address(ip))) for ip in {number_of(text) for text in each.fixed} if ip)
        for kind, seen, value in said:
            if value and value in seen:
                hint = "; one reservation has all fixed addresses of a port, as addresses" if kind == "mac" else ""
                yield f"{where}: {kind} {value} is taken by reservation {seen[value]}{hint}"
            seen.setdefault(value, each.mac)


def _normal(mac: str) -> str:
    try:
        return parse_mac(mac)
    except ConfigError:
        return ""  # said already


def reservation_faults(each: Reservation, ground: Ground) -> Iterator[str]:
    """Say what is wrong with one reservation where all else is right."""
    yield from attempt("mac", lambda: port_mac(each.mac))
    yield from uuid_faults(each.uuid)
    yield from overrides_faults(Overrides(loader=each.loader, options=each.options))
    for address in each.fixed or ("",):
        yield from _who(each.name, address, each.profile, ground)
    yield from _unfit_there(each.fixed, each.profile, each.loader, ground)
    yield from _ports_of_others(each, ground)
    yield from _once_a_subnet(each, ground)


def _unfit_there(addresses: Iterable[str], profile: str, loader: Mapping[str, str], ground: Ground) -> Iterator[str]:
    """Say which of its loaders fail: where its fixed addresses are, else on all subnets."""
    of_profile = ground.config.profiles.get(profile, Overrides()).loader
    there = [subnet for address in addresses if (subnet := ground.at(number_of(address))) is not None]
    yield from unfit_faults({**of_profile, **loader}, there or ground.config.subnets)


def faults_of_loaders(reservations: Iterable[Reservation], ground: Ground) -> Iterator[str]:
    """Say which loaders that are fixed for machines, all right before, fail on the subnets as they are to be."""
    for each in reservations:
        for fault in _unfit_there(each.fixed, each.profile, each.loader, ground):
            yield f"reservation {each.mac}: {fault}"
    for index, rule in enumerate(ground.config.ports):
        for fault in _unfit_there((rule.address,), rule.profile, {}, ground):
            yield f"ports[{index}]: {fault}"


def _ports_of_others(each: Reservation, ground: Ground) -> Iterator[str]:
    for address in each.fixed:
        if rule := ground.ports.get(number_of(address)):
            yield f"address: {address} is also that of {rule}, for whatever machine is there: leave one of them out"


def _once_a_subnet(each: Reservation, ground: Ground) -> Iterator[str]:
    """A machine has one fixed address in a subnet: which of two would it be?"""
    seen: dict[str, str] = {}
    for address in each.addresses and each.fixed:
        subnet = ground.at(number_of(address))
        if subnet is not None and subnet.title in seen:
            yield f"addresses: {seen[subnet.title]} and {address} are both in {subnet.title}: leave one of them out"
        elif subnet is not None:
            seen[subnet.title] = address


def _who(name: str, address: str, profile: str, ground: Ground) -> Iterator[str]:
    profiles = ground.config.profiles
    if name:
        yield from attempt("name", lambda: formats.domains_value([name]))
    if profile and profile not in profiles:
        yield f"profile: {profile!r} is not among {', '.join(profiles) or 'the profiles (there are none)'}"
    if address:
        yield from _address(address, ground)


def _address(address: str, ground: Ground) -> Iterator[str]:
    try:
        ip = IPv4Address(address)
    except ValueError as error:
        yield f"address: {error}"
        return
    subnet = ground.at(int(ip))
    if subnet is None:
        yield f"address: {ip} is in no subnet"
    elif subnet.mode not in GIVES_ADDRESSES:
        yield f"address: {ip} is in {subnet.title}, where mode {subnet.mode} gives no addresses"
    elif why := ground.barred(subnet).why(int(ip)):
        yield f"address: {ip} {why}"


def barred_faults(each: Reservation, ground: Ground) -> Iterator[str]:
    """Say which of its addresses no machine can have any more, as subnets and switch ports are now."""
    for ip in map(number_of, each.fixed):
        subnet = ground.at(ip)
        if why := "is in no subnet" if subnet is None else ground.barred(subnet).why(ip):
            yield f"address: {IPv4Address(ip)} {why}"
    yield from _ports_of_others(each, ground)


# switch ports


def all_ports(ground: Ground) -> Iterator[str]:
    """Say what is wrong with rules for switch ports, each by itself and beside the others."""
    keys: set[tuple[int, bytes, bytes]] = set()
    names: dict[int, str] = {}
    for index, rule in enumerate(ground.config.ports):
        where = f"ports[{index}]"
        try:
            key = port_key(rule)
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if key in keys:
            yield f"{where}: another rule has the same relay, circuit_id and remote_id"
        keys.add(key)
        yield from (f"{where}: {fault}" for fault in _port(rule, ground))
        ip = number_of(rule.address)
        if ip and ip in names and (not rule.name or names[ip] != rule.name):
            hint = "where one machine hangs on both, give both rules its name"
            yield f"{where}: address: {rule.address} is also that of another rule: {hint}"
        names.setdefault(ip, rule.name)


def _port(rule: PortRule, ground: Ground) -> Iterator[str]:
    if not rule.circuit_id and not rule.remote_id:
        yield "circuit_id or remote_id: one of them has to say which port"
    if not (rule.name or rule.address or rule.profile):
        yield "name, address or profile: one of them has to say what the machine gets"
    yield from _who(rule.name, rule.address, rule.profile, ground)
    yield from _unfit_there((rule.address,), rule.profile, {}, ground)

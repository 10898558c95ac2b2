"""The daemon's configuration: one YAML file, one tree of typed values, every key with a default and an explanation."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, ip_address
from pathlib import Path
from typing import NamedTuple

from provisioner import yamlfile
from provisioner.checks import (
    PORT,
    PORT_OR_NONE,
    absolute,
    absolute_or_none,
    address,
    at_least,
    matching,
    one_of,
    socket_path,
    url,
)
from provisioner.ddns import settings as ddns
from provisioner.ddns.settings import Dns
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.dhcp.validate import faults_of, faults_without_tls
from provisioner.dhcp.written import places_in
from provisioner.errors import ConfigError, ListenError
from provisioner.fields import Faults
from provisioner.settings import decode, setting

DEFAULT_PATH = Path("/etc/provisioner/provisioner.yaml")
LEVELS = ("debug", "info", "warning", "error")
SIOCGIFADDR, SIOCGIFNETMASK = 0x8915, 0x891B  # linux/sockios.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Tftp:
    """The TFTP server's settings."""

    enabled: bool = setting(True, "Serve boot loaders by TFTP.")
    addresses: tuple[str, ...] = setting(
        (), "Addresses to listen on; empty: our address on each subnet.", check=address
    )
    port: int = setting(69, "UDP port; firmware knows no other than 69.", check=PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Where machines fetch their files and talk to us. No operator API is served here."""

    addresses: tuple[str, ...] = setting(
        (), "Addresses to listen on; empty: our address on each subnet.", check=address
    )
    port: int = setting(8080, "TCP port of boot scripts, files and the agents' calls.", check=PORT)
    rate_mbit: int = setting(
        0,
        "Most that files may take of the link, in Mbit/s; 0: all of it. A little below the link's speed, DHCP and TFTP "
        "never wait behind images.",
    )
    tls_port: int = setting(
        0,
        "The same by HTTPS, with a certificate of the daemon's own CA (/ca.pem); 0: not at all.",
        check=PORT_OR_NONE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Where operators and the workload layer ask."""

    socket: str = setting(
        "/run/provisioner/api.sock", "UNIX socket of the operator API; its file mode is 0660.", check=socket_path
    )
    group: str = setting(
        "",
        "Group that may use the socket, and that the daemon's user is in (`SupplementaryGroups=` of its unit); "
        "empty: the daemon's own.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where durable state lies."""

    state_dir: str = setting(
        "/var/lib/provisioner",
        "Directory of the database, the artefacts and the loaders. One process at a time works on it.",
        check=absolute,
    )
    key_file: str = setting(
        "",
        "Key of the secrets at rest; empty: secrets.key in state_dir, made at the first start.",
        check=absolute_or_none,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Package mirrors that machines reach through us."""

    upstreams: Mapping[str, str] = setting(
        {},
        "Mirrors by a name of your own: machines find https://HOST/PATH at http://US:8080/mirror/NAME. What they fetch "
        "is kept and given to the next one; parameters such as mirror.debian point installers there.",
        check=url("https", "http"),
        keys=matching("[a-z0-9-]+", "a name of lower-case letters, digits and hyphens"),
    )
    max_gib: int = setting(
        50, "How much of them is kept, in GiB; the least recently used files go first.", check=at_least(1)
    )
    offline: bool = setting(False, "Give what is kept and ask no mirror.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Bootenvs, templates and hardware profiles."""

    paths: tuple[str, ...] = setting(
        (), "Directories of your own bootenvs/ and templates/, after ours.", check=absolute
    )
    loaders: tuple[str, ...] = setting(
        (), "Directories of boot loaders, searched before those of installed packages.", check=absolute
    )
    keyrings: tuple[str, ...] = setting(
        (), "Directories of OpenPGP keyrings, NAME.gpg, before /usr/share/keyrings.", check=absolute
    )
    secrets_dir: str = setting(
        "/etc/provisioner/secrets",
        "Directory of the secrets that parameters name as file:NAME.",
        check=absolute,
    )
    vault_address: str = setting(
        "",
        "Vault that parameters point at with vault:PATH#KEY, such as https://vault:8200.",
        check=url("https", "http", or_empty=True),
    )
    vault_token_file: str = setting("", "File with the token for it, read for each look-up.", check=absolute_or_none)
    vault_namespace: str = setting("", "Namespace in it.")
    proxy: str = setting(
        "",
        "Web proxy that artefacts are fetched through; empty: the one of the environment.",
        check=url("http", "https", or_empty=True),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Rules about the life of machines (docs/lifecycle.md)."""

    quarantine_after: int = setting(
        3, "Installs of a machine in a row that may fail before it is kept back in quarantine; 0: it never is."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver of events (docs/api.md, Webhooks)."""

    url: str = setting("", "Where events are posted to: https://HOST/PATH.", check=url("https", "http"))
    secret_file: str = setting("", "File with the secret that signs them, at least 16 octets.", check=absolute)
    types: tuple[str, ...] = setting((), "Types of events, such as machine.state, run.* or rollout.*; empty: all.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is logged, to stderr."""

    level: str = setting("info", "debug, info, warning or error.", check=one_of(LEVELS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set."""

    store: Store = setting(Store, "Durable state.")
    api: Api = setting(Api, "The operator API.")
    dhcp: Dhcp = setting(Dhcp, "DHCP. With no subnets, no DHCP is served.")
    dns: Dns = setting(Dns, "Names of machines, in a DNS server that others run.")
    tftp: Tftp = setting(Tftp, "TFTP.")
    http: Http = setting(Http, "HTTP boot and the agents.")
    mirror: Mirror = setting(Mirror, "The cache of package mirrors; with no upstreams there is none.")
    catalogue: Catalogue = setting(Catalogue, "What can be booted.")
    life: Life = setting(Life, "The life of machines.")
    webhooks: Mapping[str, Webhook] = setting({}, "Receivers of events, by a name of your own.")
    log: Log = setting(Log, "Logging.")

    @property
    def state_dir(self) -> Path:
        return Path(self.store.state_dir)

    @property
    def database(self) -> Path:
        """Where the store is."""
        return self.state_dir / "state.db"

    @property
    def key_file(self) -> Path:
        return Path(self.store.key_file) if self.store.key_file else self.state_dir / "secrets.key"


class Written(NamedTuple):
    """A configuration as somebody wrote it. `where` names the file and the line of a key."""

    config: Config
    where: Callable[[yamlfile.Path], str]


def default_path() -> Path | None:
    """Give the site's file, where there is one; also where this user may not look, who is told so when it is read."""
    try:
        return DEFAULT_PATH if DEFAULT_PATH.exists() else None
    except PermissionError:
        return DEFAULT_PATH


def load(path: Path) -> Config:
    """Read a configuration file; raise `ConfigError` with everything that is wrong with it."""
    return read(path).config


def read(path: Path) -> Written:
    """Read a configuration file for one who has more to say of it; raise `ConfigError`."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="give another with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text (octet {error.start})") from error
    document = yamlfile.load(text, str(path))
    faults = Faults()
    config = decode(Config, document, faults)
    for place, text in _together(config) if not faults.found else ():
        faults.add(document.where(place), text)
    faults.check(str(path))
    return Written(config, document.where)


def _together(config: Config) -> Iterator[tuple[yamlfile.Path, str]]:
    """Say which settings do not go together, or cannot be served, each with its place in the file."""
    place_of = places_in(config.dhcp)
    for fault in (*faults_of(config.dhcp), *(faults_without_tls(config.dhcp) if not config.http.tls_port else ())):
        yield place_of(fault), f"dhcp: {fault}"
    for fault in ddns.faults_of(config.dns):
        yield ("dns", fault.partition(":")[0]), f"dns: {fault}"
    for key, fault in _http(config.http):
        yield ("http", key), f"http.{key}: {fault}"
    for fault in _twice(config.tftp.addresses):
        yield ("tftp", "addresses"), f"tftp.addresses: {fault}"
    if config.catalogue.vault_address and not config.catalogue.vault_token_file:
        text = "catalogue.vault_token_file: empty, and vault_address is given: name the file of its token"
        yield ("catalogue", "vault_address"), text


def _http(http: Http) -> Iterator[tuple[str, str]]:
    """Say which settings of HTTP would bind one thing twice, with their keys."""
    if http.tls_port == http.port:
        yield "tls_port", f"{http.tls_port}: http.port is the same: give it another"
    yield from (("addresses", fault) for fault in _twice(http.addresses))


def _twice(addresses: Sequence[str]) -> Iterator[str]:
    """Say which addresses are listened on twice."""
    found = [ip_address(each) for each in addresses]
    for version, everywhere in ((4, "0.0.0.0"), (6, "::")):
        same = [str(ip) for ip in found if ip.version == version]
        for ip in sorted({ip for ip in same if same.count(ip) > 1}):
            yield f"{ip}: given twice"
        if everywhere in same and len(set(same)) > 1:
            yield f"{everywhere} is every address: leave the others out"


def with_interfaces(config: Config, interfaces: Sequence[str]) -> Config:
    """Serve the IPv4 network of each interface as the configuration of its own: authoritative, discovering.

    For a start with no file at all. Addresses are given from the upper half of the network.
    """
    subnets = [subnet_of(name) for name in interfaces]
    return replace(config, dhcp=replace(config.dhcp, subnets=(*config.dhcp.subnets, *subnets)))


def subnet_of(interface: str) -> Subnet:
    """Make the subnet that an interface's address says; raise `ListenError` where it has none."""
    return subnet_at(interface, interface_address(interface))


def subnet_at(interface: str, own: IPv4Interface) -> Subnet:
    """Make the subnet of an interface with this address; raise `ListenError` where machines cannot be on it."""
    network = own.network
    if own.is_loopback:
        raise ListenError(f"{interface}: {own} is this host's own: no machine is on it", hint="name another")
    if network.prefixlen > 30:
        raise ListenError(f"{interface}: {own} leaves no addresses to give", hint="configure a subnet instead")
    first, last = int(network.network_address), int(network.broadcast_address)
    low, high = first + (last - first + 1) // 2, last - 1
    parts = [(low, high)] if not low <= int(own.ip) <= high else [(low, int(own.ip) - 1), (int(own.ip) + 1, high)]
    pools = tuple(f"{IPv4Address(a)}-{IPv4Address(b)}" for a, b in parts if a <= b)
    return Subnet(network=str(network), interface=interface, mode=Mode.AUTHORITATIVE, pools=pools, dns=(str(own.ip),))


def interface_address(interface: str) -> IPv4Interface:
    """Read the first IPv4 address of an interface (netdevice(7)); raise `ListenError`."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            address = fcntl.ioctl(sock, SIOCGIFADDR, request)[20:24]
            mask = fcntl.ioctl(sock, SIOCGIFNETMASK, request)[20:24]
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise ListenError(f"{interface}: no such interface", hint="`ip link` lists them") from error
            hint = f"`ip addr add 10.0.0.1/24 dev {interface}` gives it one"
            raise ListenError(f"{interface}: no IPv4 address: {error.strerror}", hint=hint) from error
    return IPv4Interface(f"{IPv4Address(address)}/{IPv4Address(mask)}")

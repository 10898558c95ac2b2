"""IPv6 subnets made ready to serve: their settings as numbers and bytes, and who holds their addresses. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network

from provisioner.dhcp.formats import domains_value
from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.topology import Served
from provisioner.dhcp.v6.options import Opt, encode_option, encode_texts
from provisioner.dhcp.v6.subnets import Mode6, Subnet6

POOL_LIMIT = 1 << 18
"""Addresses of a pool that are used, those of its beginning: a full one takes about 150 MB of ours."""
NTP_SERVER_ADDRESS = 1
"""Sub-option of option 56 (RFC 5908 section 4.1)."""
OURS = frozenset(
    {
        Opt.CLIENT_ID, Opt.SERVER_ID, Opt.IA_NA, Opt.IA_TA, Opt.IA_ADDRESS, Opt.REQUEST_LIST, Opt.PREFERENCE,
        Opt.ELAPSED_TIME, Opt.RELAY_MESSAGE, Opt.AUTHENTICATION, Opt.STATUS, Opt.RAPID_COMMIT, Opt.VENDOR_CLASS,
        Opt.INTERFACE_ID, Opt.IA_PD, Opt.REMOTE_ID, Opt.FQDN, Opt.BOOT_URL, Opt.BOOT_PARAMETERS, Opt.CLIENT_ARCH,
    }
)  # fmt: skip
"""Options that the protocol or other settings write: never by `options`."""


class Net6(Served):
    """One IPv6 subnet."""

    def __init__(self, config: Subnet6) -> None:
        network = IPv6Network(config.network)
        super().__init__(config, network, POOL_LIMIT)
        self.config = config
        self.mode: Mode6 = config.mode
        self.valid_s = config.lease_s
        self.preferred_s = config.preferred_s or config.lease_s
        self.server = int(IPv6Address(config.server_address)) if config.server_address else 0
        self.loader = loaders_by_arch(config.loader)
        self.options = base_options(config)
        self.parameters = encode_texts(each.encode("utf-8") for each in config.boot_parameters)


def base_options(config: Subnet6) -> dict[int, bytes]:
    """Write what all clients of a subnet may ask for."""
    found: dict[int, bytes] = {}
    if config.dns:
        found[Opt.DNS] = packed(config.dns)
    if config.search:
        found[Opt.DOMAIN_SEARCH] = domains_value(config.search)
    if config.ntp:
        found[Opt.NTP] = b"".join(encode_option(NTP_SERVER_ADDRESS, IPv6Address(each).packed) for each in config.ntp)
    return found | parse_options(config.options)


def parse_options(options: Mapping[str, str]) -> dict[int, bytes]:
    """Read a mapping of numbers to values; raise `ValueError` for the first that is wrong."""
    found = {}
    for key, value in options.items():
        if not key.isdigit() or not 0 < int(key) < 65536:
            raise ValueError(f"{key!r} is no option: give a number from 1 to 65535")
        if int(key) in OURS:
            raise ValueError(f"option {key} is set by the server itself")
        found[int(key)] = bytes.fromhex(value[4:]) if value.startswith("hex:") else value.encode("utf-8")
    return found


def packed(addresses: Iterable[str]) -> bytes:
    """Write a list of addresses as an option wants it."""
    return b"".join(IPv6Address(each).packed for each in addresses)

"""`provisionctl dhcp export`: leases of the API as rows of Kea's lease file. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from provisioner.cli.text import Row as Shown
from provisioner.cli.text import seconds_of
from provisioner.dhcp.foreign.found import FOR_EVER
from provisioner.dhcp.foreign.keacsv import Row
from provisioner.dhcp.foreign.keacsv6 import Row6
from provisioner.errors import ConfigError


def subnet_numbers(subnets: Sequence[Shown], given: Sequence[str]) -> dict[str, int]:
    """Give Kea's number of each subnet by its title; raise `ConfigError` for a number that is none or given twice."""
    wanted = dict(_pair(text) for text in given)
    by_network = {ip_network(subnet["network"]): subnet["name"] or subnet["network"] for subnet in subnets}
    if unknown := wanted.keys() - by_network.keys():
        raise ConfigError(f"--subnet-id {min(unknown)}: no such subnet", hint="`provisionctl dhcp subnets` lists them")
    free = (number for number in range(1, len(by_network) + len(wanted) + 1) if number not in wanted.values())
    numbers = {title: wanted.get(network) or next(free) for network, title in by_network.items()}
    if len(set(numbers.values())) < len(numbers):
        raise ConfigError("--subnet-id: two subnets have the same number")
    return numbers


def _pair(text: str) -> tuple[IPv4Network | IPv6Network, int]:
    network, _, number = text.partition("=")
    try:
        found = ip_network(network.strip()), int(number)
    except ValueError as error:
        raise ConfigError(f"--subnet-id {text!r}: {error}", hint="such as 10.0.8.0/22=1") from error
    if not 0 < found[1] < 0xFFFFFFFF:
        raise ConfigError(f"--subnet-id {text!r}: Kea numbers subnets from 1")
    return found


def export_rows(leases: Iterable[Shown], numbers: Mapping[str, int]) -> Iterator[Row]:
    """Give the rows of leases that lie in a subnet that is served."""
    for lease in leases:
        number = numbers.get(lease["subnet"])
        declined = lease["state"] == "declined"
        mac = bytes.fromhex(lease["mac"].replace(":", ""))
        if number is None or (len(mac) != 6 and not declined):
            continue  # Kea has no place for them
        client_id = bytes.fromhex(lease["client_id"].replace(":", ""))
        since, end = _times(lease)
        yield Row(int(IPv4Address(lease["address"])), mac, client_id, since, end, number, lease["name"], declined)


def export_rows6(leases: Iterable[Shown], numbers: Mapping[str, int]) -> Iterator[Row6]:
    """The same of DHCPv6. A client identifier there is 255, the number of the association, and the DUID (RFC 4361)."""
    for lease in leases:
        number, declined = numbers.get(lease["subnet"].removesuffix("/quarantine")), lease["state"] == "declined"
        association = bytes.fromhex(lease["client_id"].replace(":", ""))
        if number is None or (not association[5:] and not declined):
            continue  # Kea has no place for them
        since, end = _times(lease)
        iaid = int.from_bytes(association[1:5], "big")
        ip, name = int(IPv6Address(lease["address"])), lease["name"]
        yield Row6(ip, association[5:], iaid, since, end, number, name, declined)


def _times(lease: Shown) -> tuple[float, float]:
    """Give beginning and end."""
    until = seconds_of(lease["until"])
    return seconds_of(lease["since"]) or 0.0, FOR_EVER if until is None else until

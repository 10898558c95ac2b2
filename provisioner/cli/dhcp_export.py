"""`provisionctl dhcp export`: leases of the API as rows of Kea's lease file. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from provisioner.cli.text import Row as Shown
from provisioner.cli.text import seconds_of
from provisioner.dhcp.foreign.found import FOR_EVER
from provisioner.dhcp.foreign.keacsv import Row
from provisioner.errors import ConfigError


def subnet_numbers(subnets: Sequence[Shown], given: Sequence[str]) -> dict[str, int]:
    """Give Kea's number of each subnet by its title; raise `ConfigError` for a number that is none or given twice."""
    wanted = dict(_pair(text) for text in given)
    by_network = {IPv4Network(subnet["network"]): subnet["name"] or subnet["network"] for subnet in subnets}
    if unknown := wanted.keys() - by_network.keys():
        raise ConfigError(f"--subnet-id {min(unknown)}: no such subnet", hint="`provisionctl dhcp subnets` lists them")
    free = (number for number in range(1, len(by_network) + len(wanted) + 1) if number not in wanted.values())
    numbers = {title: wanted.get(network) or next(free) for network, title in by_network.items()}
    if len(set(numbers.values())) < len(numbers):
        raise ConfigError("--subnet-id: two subnets have the same number")
    return numbers


def _pair(text: str) -> tuple[IPv4Network, int]:
    network, _, number = text.partition("=")
    try:
        found = IPv4Network(network.strip()), int(number)
    except ValueError as error:
        raise ConfigError(f"--subnet-id {text!r}: {error}", hint="such as 10.0.8.0/22=1") from error
    if not 0 < found[1] < 0xFFFFFFFF:
        raise ConfigError(f"--subnet-id {text!r}: Kea numbers subnets from 1")
    return found


def export_rows(leases: Iterable[Shown], numbers: Mapping[str, int]) -> Iterator[Row]:
    """Give the rows of leases that lie in a subnet that is served."""
    for lease in leases:
        number = numbers.get(lease["subnet"])
        until = seconds_of(lease["until"])
        declined = lease["state"] == "declined"
        mac = bytes.fromhex(lease["mac"].replace(":", ""))
        if number is None or (len(mac) != 6 and not declined):
            continue  # Kea has no place for them
        client_id = bytes.fromhex(lease["client_id"].replace(":", ""))
        end = FOR_EVER if until is None else until
        since = seconds_of(lease["since"]) or 0.0
        yield Row(int(IPv4Address(lease["address"])), mac, client_id, since, end, number, lease["name"], declined)

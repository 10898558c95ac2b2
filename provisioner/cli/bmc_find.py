"""`provisionctl bmc find`: BMCs that nobody has put on record, said as they answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.output import print_rows
from provisioner.cli.session import Session, command
from provisioner.cli.text import Column, Row, printable, span
from provisioner.cli.typed import Number, reads

if TYPE_CHECKING:
    from provisioner.bmc.find import Found

Say = Callable[["Found"], None]

FOUND_COLUMNS = (
    Column("ADDRESS", lambda row: row["name"], keep=True),
    Column("SPEAKS", lambda row: ",".join(row["protocols"])),
    Column("PRODUCT", lambda row: row["product"]),
    Column("UUID", lambda row: row["uuid"]),
)


def _targets(texts: Sequence[str]) -> list[str]:
    from provisioner.bmc.find import targets

    return targets(texts)


@command("find")
@click.argument("hosts", nargs=-1, metavar="[NETWORK]...", callback=reads(_targets))
@click.option("--ssdp", is_flag=True, help="Ask Redfish services on our networks to make themselves known.")
@click.option("--interface", metavar="NAME|ADDRESS", default="", help="Ask on this one of our networks alone (--ssdp).")
@click.option(
    "--rate",
    type=Number(0, 1000, min_open=True),
    default=50.0,
    show_default=True,
    help="Addresses knocked at in a second.",
)
def find(session: Session, hosts: Sequence[str], ssdp: bool, interface: str, rate: float) -> None:
    """Find BMCs: knock at every address of a network, or listen for those that announce themselves.

    Nothing is logged into. What answers is shown with the UUID by which it is joined to its machine.
    """
    from provisioner.bmc.find import Found, listen, scan
    from provisioner.dhcp.addresses import by_interface

    if not hosts and not ssdp:
        raise click.UsageError("nothing to look through: name a network, such as 10.0.0.0/24, or give --ssdp")
    if interface and not ssdp:
        raise click.UsageError("--interface: it says where --ssdp asks, which is not given")
    ours = asking_from(by_interface(socket.AF_INET), interface) if ssdp else []

    async def look(say: Say) -> None:
        for heard in await asyncio.gather(*(listen(interface=address) for address in ours)):
            for one in heard:
                say(Found(one.host, redfish=True, uuid=one.uuid))
        await scan(hosts, say, rate=rate)

    if ssdp:
        session.note(f"asking from {', '.join(ours) or 'nowhere: this machine has no address that others reach'}")
    if hosts:
        session.note(f"knocking at {len(hosts)} addresses, for about {span(len(hosts) / rate)}")
    show_found(session, look)


def asking_from(own: Mapping[str, Sequence[int]], interface: str) -> list[str]:
    """List our IPv4 addresses to ask from: all that others can reach, or those that are meant."""
    named = {name: [str(IPv4Address(value)) for value in values] for name, values in own.items()}
    if interface in named:
        return named[interface]
    each = [address for addresses in named.values() for address in addresses]
    reached = [address for address in each if not IPv4Address(address).is_loopback]
    if not interface:
        return reached
    if interface not in each:
        known = ", ".join([*named, *reached])
        raise click.UsageError(f"--interface {interface!r}: no interface with IPv4 and no address of ours; {known} are")
    return [interface]


def show_found(session: Session, look: Callable[[Say], Coroutine[Any, Any, None]]) -> None:
    """Say what answers as it does, and list it in the end; what there is of it, too, where that is not waited for."""
    rows: dict[str, Row] = {}

    def say(found: Found) -> None:
        protocols = [name for name in ("ipmi", "redfish") if getattr(found, name)]
        row = {"name": found.host, "protocols": protocols, "uuid": found.uuid, "product": found.product}
        if found.host not in rows:
            session.note(printable(f"{found.host} speaks {', '.join(protocols)}"))
        rows[found.host] = row

    try:
        asyncio.run(look(say))
    except KeyboardInterrupt:
        print_rows(session, list(rows.values()), FOUND_COLUMNS, empty="no BMC has answered so far")
        raise
    print_rows(session, list(rows.values()), FOUND_COLUMNS, empty="no BMC answered")

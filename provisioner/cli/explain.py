"""`explain`: what the daemon would say to a boot request, and by which rule. Needs neither daemon nor machine."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from provisioner import config as configuration
from provisioner.catalog.load import Catalog
from provisioner.cli.capture import Datagram, datagrams
from provisioner.cli.output import BOLD, print_data, print_lines
from provisioner.cli.question import STATES, Desk, Told, arch_number
from provisioner.cli.question6 import Desk6, message_of, source_of
from provisioner.cli.session import Session, colours, command
from provisioner.cli.text import listing, painted, printable
from provisioner.config import Config
from provisioner.dhcp.asking import Ask, packet_of
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import BOOTREQUEST, decode
from provisioner.dhcp.subnets import Dhcp, Subnet
from provisioner.dhcp.v6.case import SERVER_PORT
from provisioner.dhcp.v6.message import Type as Type6
from provisioner.dhcp.v6.message import decode as decode6
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import ConfigError, WireError
from provisioner.model.boot import Arch
from provisioner.model.net import parse_mac

EXAMPLE = Subnet(network="192.0.2.0/24", interface="eth0", pools=("192.0.2.100-192.0.2.199",))
"""Served where there is no configuration: the network of examples (RFC 5737)."""
EXAMPLE6 = Subnet6(network="2001:db8::/64", interface="eth0", pools=("2001:db8::1000-2001:db8::1fff",))
"""The same for IPv6 (RFC 3849)."""
PORTS = (67, 4011)
MAX_CAPTURE = 256 << 20
NOW = 0.0
TYPES = {"discover": Type.DISCOVER, "request": Type.REQUEST, "inform": Type.INFORM}


@command("explain")
@click.option(
    "--mac", metavar="MAC", default="52:54:00:12:34:56", show_default=True, help="The machine's network port."
)
@click.option(
    "--arch",
    metavar="ARCH",
    default="",
    help="Option 93: a number (7, 0x10) or a name (bios, efi-x64, efi-x64-http ...).",
)
@click.option(
    "--class", "vendor_class", metavar="CLASS", default="", help="Option 60: PXEClient, HTTPClient, or the whole text."
)
@click.option("--user-class", metavar="CLASS", default="", help="Option 77, such as iPXE.")
@click.option("--uuid", metavar="UUID", default="", help="Option 97: the SMBIOS UUID as Linux prints it.")
@click.option("--relay", default="", metavar="IP", help="The relay agent that it comes by.")
@click.option(
    "--interface", metavar="NAME", default="", help="The interface that it comes in on (default: the only one served)."
)
@click.option(
    "--type", "kind", type=click.Choice(sorted(TYPES)), default="discover", show_default=True, help="What it sends."
)
@click.option("--port", type=click.Choice(["67", "4011"]), default="67", show_default=True, help="UDP port.")
@click.option(
    "--as",
    "taken_for",
    metavar="STATE",
    type=click.Choice(sorted(STATES)),
    help=f"What the machine is taken for, if known: {', '.join(sorted(STATES))}.",
)
@click.option(
    "--bootenv",
    metavar="BOOTENV",
    default="debian-12",
    show_default=True,
    help="With --as deploying: what it is to boot.",
)
@click.option("--secure-boot", is_flag=True, help="Its firmware has refused a loader that nobody signed.")
@click.option("-6", "--ipv6", is_flag=True, help="Ask by DHCPv6: SOLICIT for discover, and so on.")
@click.option("--pcap", type=click.Path(path_type=Path, dir_okay=False), help="Explain every request of a capture.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's configuration.")
def explain(session: Session, **given: Any) -> None:
    """Say what would be answered to a boot request, and by which rule.

    Neither a machine nor a daemon is needed, and nothing is sent: the rules are asked as the daemon asks them, with the
    subnets of its configuration, or an example where there is none. Leases of a running daemon are not known here.

    \b
      provisionctl explain --arch 7                     a UEFI machine, unknown
      provisionctl explain --arch 7 --as active         one that is installed
      provisionctl explain --arch 7 --as deploying      one to be installed
      provisionctl explain --arch 7 --secure-boot       one that wants a signature
      provisionctl explain --arch efi-x64-http --class HTTPClient
      provisionctl explain --arch 7 --user-class iPXE   the loader asks again
      provisionctl explain --arch 7 -6                  UEFI that boots over IPv6
      provisionctl explain --pcap boot.pcap             what a capture shows
    """
    config = _config(session, given["config"], EXAMPLE6 if given["ipv6"] else EXAMPLE)
    taken_for = given["taken_for"] or ""
    known = (
        Catalog.load([Path(path) for path in config.catalogue.paths]) if STATES.get(taken_for, ("", ""))[1] else None
    )
    bootenv = known.bootenv(given["bootenv"]) if known else None
    about = taken_for, bootenv, (config.http.port, config.http.tls_port), given["secure_boot"]
    desks = Desk(config.dhcp, *about), Desk6(config.dhcp, *about)
    broken: WireError | None = None
    if given["pcap"]:
        told, broken = _of_capture(desks, given["pcap"], given["interface"])
        if not told and not broken:
            session.note(f"{given['pcap']}: no DHCP request of a client in it")
    elif given["ipv6"]:
        ask = _ask(given, IPv6Address)
        source = source_of(bytes.fromhex(ask.mac.replace(":", "")))
        told = [desks[1].ask(message_of(ask), given["interface"] or desks[1].interface, NOW, source)]
    else:
        interface = given["interface"] or desks[0].interface
        told = [desks[0].ask(packet_of(_ask(given, IPv4Address)), interface, NOW, int(given["port"]))]
    if session.output in {"json", "yaml"}:
        print_data(session, [{"asked": one.asked, "silent": one.silent, **dict(one.pairs)} for one in told])
    else:
        for number, one in enumerate(told):
            print_lines(_words(one, number))
    if broken:
        ahead = f"after {len(told)} requests: " if told else ""
        raise WireError(f"--pcap {given['pcap']}: {ahead}{broken.message}", hint=broken.hint)


def _words(told: Told, number: int) -> list[str]:
    head = painted(printable(told.asked), BOLD if colours() else "")
    return [*([""] if number else []), head, *listing(told.pairs, "  ")]


def _config(session: Session, path: Path | None, example: Subnet | Subnet6) -> Config:
    """Read the daemon's configuration; where there is none, serve an example."""
    path = path or configuration.default_path()
    if path is not None:
        return configuration.load(path)
    session.note(f"no configuration: taking {example.network} on {example.interface} as an example (--config FILE)")
    return Config(dhcp=Dhcp(subnets=(EXAMPLE,), subnets6=(EXAMPLE6,)))


def _ask(given: dict[str, Any], kind: type[IPv4Address] | type[IPv6Address]) -> Ask:
    arch = arch_number(given["arch"]) if given["arch"] else None
    if given["arch"] and arch is None:
        raise click.UsageError(f"--arch {given['arch']!r}: not a number of option 93 and not a name")
    if given["secure_boot"] and arch in (Arch.X86_BIOS, Arch.X86_BIOS_HTTP):
        raise click.UsageError(f"--secure-boot: a BIOS (--arch {given['arch']}) knows no signatures")
    try:
        uuid = str(UUID(given["uuid"])) if given["uuid"] else ""
        relay = str(kind(given["relay"])) if given["relay"] else ""
    except AddressValueError as error:
        raise click.UsageError(
            f"--relay {given['relay']!r}: not an IPv{6 if kind is IPv6Address else 4} address"
        ) from error
    except ValueError as error:
        raise click.UsageError(f"--uuid {given['uuid']!r}: not a UUID") from error
    try:
        mac = parse_mac(given["mac"])
    except ConfigError as error:
        raise click.UsageError(f"--mac: {error.message}; write {error.hint}") from error
    return Ask(mac, arch, given["vendor_class"], given["user_class"], uuid, relay, TYPES[given["kind"]])


def _of_capture(desks: tuple[Desk, Desk6], path: Path, interface: str) -> tuple[list[Told], WireError | None]:
    """Ask for every request of a capture, in its order and at its times.

    A capture that is cut off, as one is that tcpdump still writes, gives what comes before, and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CAPTURE + 1)  # no more of a device or a pipe, which have no size
    except OSError as error:
        raise ConfigError(f"--pcap {path}: {error.strerror}") from error
    if len(raw) > MAX_CAPTURE:
        hint = "cut it: tcpdump -r FILE -w CUT port 67"
        raise ConfigError(f"--pcap {path}: more than {MAX_CAPTURE >> 20} MiB", hint=hint)
    told: list[Told] = []
    try:
        for number, datagram in enumerate(datagrams(raw), start=1):
            if (one := _answered(desks, datagram, number, interface)) is not None:
                told.append(one)
    except WireError as error:
        return told, error
    return told, None


def _answered(desks: tuple[Desk, Desk6], datagram: Datagram, number: int, interface: str) -> Told | None:
    about = f"datagram {number} from {datagram.source}"
    if datagram.cut and datagram.target_port in (*PORTS, SERVER_PORT):
        return Told(about, (("answer", f"none: {datagram.cut} (tcpdump -s 0 takes all)"),), silent=True)
    try:
        return _of_datagram(desks, datagram, interface)
    except WireError as error:
        return Told(about, (("answer", f"none: it is malformed: {error}"),), silent=True)


def _of_datagram(desks: tuple[Desk, Desk6], datagram: Datagram, interface: str) -> Told | None:
    """Ask for one datagram; None where it is no client's question. Raises `WireError`."""
    desk, desk6 = desks
    if datagram.target_port in PORTS:
        packet = decode(datagram.payload)
        if packet.op == BOOTREQUEST:
            return desk.ask(packet, interface or desk.interface, datagram.at, datagram.target_port)
    if datagram.target_port == SERVER_PORT and ":" in datagram.source:
        message = decode6(datagram.payload)
        if message.type not in (Type6.ADVERTISE, Type6.REPLY):
            source = int(IPv6Address(datagram.source))
            return desk6.ask(message, interface or desk6.interface, datagram.at, source)
    return None

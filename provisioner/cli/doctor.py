"""`doctor`: test the running services as a machine would, and this host as a daemon would."""

from __future__ import annotations

import ctypes
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click

from provisioner import config as configuration
from provisioner.cli.client import Client
from provisioner.cli.doctor_loaders import Loaders
from provisioner.cli.doctor_probe6 import network6
from provisioner.cli.doctor_probes import Offer, holder_of, probe_dhcp
from provisioner.cli.doctor_served import served
from provisioner.cli.exits import Forbidden, Unreachable
from provisioner.cli.finding import Finding, Findings, Level
from provisioner.cli.many import outcomes
from provisioner.cli.output import GREEN, RED, YELLOW, print_data, print_lines
from provisioner.cli.session import Session, colours, command
from provisioner.cli.text import painted, printable, size
from provisioner.cli.typed import Number
from provisioner.cli.urls import quoted
from provisioner.config import Config
from provisioner.dhcp.addresses import by_interface
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.errors import ApiError, ProvisionerError
from provisioner.model.boot import Arch, Unknown
from provisioner.netwatch.rogues import How

ENOUGH_BYTES = 10 << 30
"""Less free space than this will not hold the images of three systems."""
LITTLE_BYTES = 1 << 30
MAX_BMCS = 50
BY_WHICH_RULE = "the daemon's log says whether it was asked; `provisionctl explain --arch 7` says by which rule"
NO_ADDRESS = "0.0.0.0"
"""What a server of boot information offers."""
TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""


STYLES = {Level.OK: GREEN, Level.WARN: YELLOW, Level.FAIL: RED}


@command("doctor")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's configuration.")
@click.option(
    "--interface", "interfaces", metavar="NAME", multiple=True, help="Ask for an address here, too; may be repeated."
)
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=Number(0),
    default=3.0,
    show_default=True,
    help="How long to wait for DHCP offers.",
)
@click.option("--no-bmcs", is_flag=True, help="Do not log in to the BMCs of machines.")
def doctor(session: Session, interfaces: tuple[str, ...], **given: Any) -> None:
    """Test the running services as a machine would.

    Asks for an address on every interface that is served (as root; no lease is taken), fetches the loader that is
    offered, logs in to BMCs, and looks for other DHCP servers, missing artefacts, a clock that nobody sets, a full
    disk. One line for each; exit status 1 where something failed.
    """
    path = given["config"] or configuration.default_path()
    config = configuration.load(path) if path else None
    client = session.client()
    loaders, dhcp = Loaders(client, config or Config()), (config or Config()).dhcp
    checks: list[Callable[[], Findings]] = [
        lambda: _daemon(client, config or Config()),
        lambda: _networks(client, dhcp, interfaces, given["wait_s"], loaders),
        loaders.served,
        lambda: _watched(client),
        lambda: _names(client),
        lambda: _applied(client),
        lambda: _bootenvs(client),
        _clock,
    ]
    if config is not None:
        checks.append(lambda: _disk(config.state_dir))
    if not given["no_bmcs"]:
        checks.append(lambda: _bmcs(client))
    found = list(_told(session, checks))
    if session.output in {"json", "yaml"}:
        print_data(session, [asdict(finding) for finding in found])
    if failed := sum(finding.level is Level.FAIL for finding in found):
        raise ProvisionerError(f"{failed} of {len(found)} checks failed")


def _told(session: Session, checks: list[Callable[[], Findings]]) -> Findings:
    """Make every check and say what came of it as it comes; one that cannot be made keeps no other from it."""
    for check in checks:
        findings = check()
        while True:
            try:
                finding = next(findings)
            except StopIteration:
                break
            except (Unreachable, Forbidden):
                break  # the first check has told that the daemon does not answer
            except ApiError as error:  # this check has ended
                finding = Finding(Level.FAIL, "daemon", f"it does not say how it stands: {error.message}", error.hint)
            if session.output not in {"json", "yaml"}:
                print_lines([_words(finding)])
            yield finding


def _words(finding: Finding) -> str:
    level = painted(f"{finding.level:<4}", STYLES[finding.level] if colours() else "")
    hint = f" ({printable(finding.hint)})" if finding.hint and finding.level is not Level.OK else ""
    return f"{level}  {finding.about:<9} {printable(finding.text)}{hint}"


def _daemon(client: Client, config: Config) -> Findings:
    try:
        info = client.get("/v1/info")
    except ApiError as error:
        yield Finding(Level.FAIL, "daemon", error.message, error.hint)
        yield from _ports(config)
        return
    yield Finding(Level.OK, "daemon", f"{info['name']} {info['version']} answers at {client.server}")
    for listener in info["listeners"]:
        yield Finding(Level.OK, "listens", f"{listener['service']}: {listener['address']}")
    for service in info.get("services", ()):
        if service["ends"]:
            yield _ended(**service)
    if unkept := (info.get("mirror") or {}).get("unkept"):
        text = f"files of package mirrors are passed on and not kept: {unkept}"
        yield Finding(Level.WARN, "mirror", text, "free space in store.state_dir, or raise mirror.max_gib")
    try:
        client.words("/readyz")
    except ApiError as error:
        yield Finding(Level.FAIL, "ready", f"it cannot serve machines: {error.message}", error.hint)


def _ended(name: str, ends: int, error: str, *, runs: bool) -> Finding:
    """Tell of a service that ended by a fault of the daemon's."""
    now = "it runs again" if runs else "it is begun again within minutes"
    text = f"{name} ended by a fault ({ends} in all), the last time by {error}: {now}"
    hint = "`journalctl -u provisioner` has the traceback (daemon.service-ended): report it"
    return Finding(Level.WARN if runs else Level.FAIL, "services", text, hint)


def _ports(config: Config) -> Findings:
    """Where the daemon is not there: say who sits on its ports."""
    for port, kind in ((67, "udp"), (config.tftp.port, "udp"), (config.http.port, "tcp")):
        if holder := holder_of(port, kind):
            hint = "the daemon cannot start beside it: stop it, or serve as a proxy"
            yield Finding(Level.WARN, "ports", f"{kind} port {port} is held by {holder}", hint)


def _networks(client: Client, of_file: Dhcp, interfaces: tuple[str, ...], wait_s: float, loaders: Loaders) -> Findings:
    dhcp = served(client, of_file)
    yield from _network(dhcp, interfaces, wait_s, loaders)
    yield from network6(dhcp, wait_s)


def _network(dhcp: Dhcp, interfaces: tuple[str, ...], wait_s: float, loaders: Loaders) -> Findings:
    subnets = {subnet.interface: subnet for subnet in dhcp.subnets if subnet.interface}
    for name in dict.fromkeys((*subnets, *interfaces)):
        subnet = subnets.get(name)
        if subnet is not None and subnet.mode is Mode.OFF:
            continue
        try:
            offers = probe_dhcp(name, int(Arch.EFI_X64), wait_s)
            ours = _own_addresses(name, subnet)
        except ProvisionerError as error:
            yield Finding(Level.FAIL, "dhcp", f"{name}: not tested: {error.message}", error.hint)
            continue
        yield from offers_of(name, offers, ours, dhcp, subnet)
        for offer in offers:
            if offer.server in ours and offer.file and "://" not in offer.file:
                yield from loaders.offered(offer)


def _own_addresses(interface: str, subnet: Subnet | None) -> set[str]:
    named = {subnet.server_address} if subnet is not None and subnet.server_address else set()
    return named | {str(IPv4Address(value)) for value in by_interface(socket.AF_INET).get(interface, ())}


def offers_of(interface: str, offers: list[Offer], ours: set[str], dhcp: Dhcp, subnet: Subnet | None) -> Findings:
    """Judge the offers that an unknown machine got on an interface; `ours` are our own addresses there."""
    mine = [offer for offer in offers if offer.server in ours]
    others = [offer for offer in offers if offer.server not in ours]
    if subnet is not None and subnet.mode is Mode.PROXY:
        yield from _beside(interface, mine, others, subnet)
        return
    for offer in others:
        text = f"{interface}: another DHCP server, {offer.server}, offers {offer.ip}"
        if offer.server in dhcp.allowed_servers:
            yield Finding(Level.OK, "dhcp", f"{text}, as it may")
        else:
            hint = "machines take whichever answers first: switch it off, or serve as a proxy beside it"
            yield Finding(Level.FAIL, "dhcp", text, hint)
    if not mine:
        yield _no_offer(interface, "gets no offer from us", _answers(subnet))
    for offer in mine:
        to_boot = offer.file or subnet is None or subnet.unknown is not Unknown.DISCOVER
        text = f"{interface}: {offer.server} offers {offer.ip}, to load {offer.file or 'nothing'}"
        yield Finding(Level.OK if to_boot else Level.FAIL, "dhcp", text, BY_WHICH_RULE)


def _beside(interface: str, mine: list[Offer], others: list[Offer], subnet: Subnet) -> Findings:
    """Where we are a proxy, there has to be another server: it gives the addresses."""
    givers = [offer for offer in others if offer.ip != NO_ADDRESS]
    for offer in others:
        what = f"offers {offer.ip}" if offer in givers else "offers boot information, as we do"
        yield Finding(Level.OK if offer in givers else Level.FAIL, "dhcp", f"{interface}: {offer.server} {what}")
    if not givers:
        text = f"{interface}: no other DHCP server offers an address, and in mode proxy we give none"
        yield Finding(Level.FAIL, "dhcp", text, "look for the server of this network, or serve as authoritative")
    if mine:
        yield Finding(Level.OK, "dhcp", f"{interface}: {mine[0].server} offers boot information beside it")
    else:
        yield _no_offer(interface, "gets no boot information from us", subnet.unknown is Unknown.DISCOVER)


def _answers(subnet: Subnet | None) -> bool | None:
    """Say whether a machine that nobody knows is to have an address of ours; None where nothing is said of it."""
    if subnet is None:
        return None
    return subnet.mode is Mode.AUTHORITATIVE and subnet.unknown is not Unknown.IGNORE


def _no_offer(interface: str, what: str, wanted: bool | None) -> Finding:
    text = f"{interface}: an unknown machine {what}"
    if wanted is None:
        return Finding(Level.WARN, "dhcp", text, "the configuration serves no subnet on this interface")
    if wanted:
        return Finding(Level.FAIL, "dhcp", f"{text}, as the configuration says that it should", BY_WHICH_RULE)
    return Finding(Level.OK, "dhcp", f"{text}, as the configuration has it")


def _watched(client: Client) -> Findings:
    """Say what the daemon itself sees on its wires, all the time."""
    seen = client.get("/v1/network")
    for each in seen["rogues"]:
        who = f"{each['server']} ({each['mac']})" if each["mac"] else each["server"]
        what = "router" if each["how"] == How.ROUTER else "DHCP server"
        text = f"{each['place']}: rogue {what} {who} {each['how']}, last at {each['last']}"
        hint = "switch it off; where it is to stay, name it in dhcp.allowed_servers or serve as its proxy"
        yield Finding(Level.FAIL, "rogue", text, hint)
    for subnet, server in seen["fallbacks"].items():
        text = f"{subnet}: only boot information is served, as a proxy of the rogue server {server}"
        yield Finding(Level.WARN, "rogue", text, "this ends by itself when that server is gone")
    if seen["fault"]:
        text = f"nobody looks for rogue servers and for addresses in use: {seen['fault']}"
        yield Finding(Level.WARN, "netwatch", text, "it needs CAP_NET_RAW; the daemon's log has its last words")
    deaf: dict[str, list[str]] = {}
    for interface, why in seen["deaf"].items():
        deaf.setdefault(why, []).append(interface or "ping")
    for why, names in deaf.items():
        yield Finding(Level.WARN, "netwatch", f"{', '.join(names)}: not watched, or not all of it: {why}")
    if not (seen["rogues"] or seen["fault"] or seen["deaf"]):
        yield Finding(Level.OK, "rogue", "no DHCP server was seen that should not be there")


def _names(client: Client) -> Findings:
    """Say how it stands with names in the DNS, where they are kept there."""
    row = client.get("/v1/dhcp/names")
    if not row["enabled"]:
        return
    counts = f"{row['there']} addresses have names, {row['pending']} wait"
    if row["error"]:
        hint = f"since {row['since']}; tried again until it works, nothing is lost"
        yield Finding(Level.FAIL, "names", f"{row['error']}; {counts}", hint)
    else:
        yield Finding(Level.OK, "names", counts)
    for each in row["taken"]:
        text = f"{each['name']} is somebody else's, so {each['address']} has no name"
        yield Finding(Level.WARN, "names", text, "remove the name there, or give the machine another")


def _applied(client: Client) -> Findings:
    """Say whether the daemon goes by what was applied last from a directory."""
    site = client.get("/v1/site")
    for fault in site["lacking"]:
        text = f"what was applied last is not in use, and nothing is booted without it: {fault}"
        yield Finding(Level.FAIL, "site", text, "`provisionctl apply DIR` mends it")
    if site["seq"] and not site["lacking"]:
        yield Finding(Level.OK, "site", f"what was applied at {site['at']} is in use")


def _bootenvs(client: Client) -> Findings:
    rows = client.get("/v1/bootenvs")["bootenvs"]
    lacking = [row["name"] for row in rows if not row["ready"]]
    ready = [row["name"] for row in rows if row["ready"]]
    if ready:
        yield Finding(Level.OK, "bootenvs", f"ready to boot: {', '.join(ready)}")
    if "discovery" not in ready:
        hint = "`provisionctl images build discovery`"
        yield Finding(Level.FAIL, "bootenvs", "the discovery system is not here: no machine can be installed", hint)
    if others := [name for name in lacking if name != "discovery"]:
        text = f"without all of their artefacts: {', '.join(others[:6])}{' ...' if len(others) > 6 else ''}"
        yield Finding(Level.OK, "bootenvs", text)


def _clock() -> Findings:
    """Ask the kernel whether somebody sets the clock (adjtimex(2)): TLS and logs need it."""
    adjtimex: Any = ctypes.CDLL(None).adjtimex
    room = ctypes.create_string_buffer(256)  # struct timex with modes 0: only look; 208 bytes on x86-64
    if adjtimex(room) == TIME_ERROR:
        hint = "`apt install chrony`; in a container, its host does it"
        yield Finding(Level.WARN, "clock", "nobody synchronises the clock of this host", hint)
    else:
        yield Finding(Level.OK, "clock", "synchronised")


def _disk(folder: Path) -> Findings:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        yield Finding(Level.FAIL, "disk", f"{folder}: {error.strerror}", "it is made when the daemon starts")
        return
    level = Level.OK if usage.free >= ENOUGH_BYTES else Level.WARN if usage.free >= LITTLE_BYTES else Level.FAIL
    yield Finding(level, "disk", f"{folder}: {size(usage.free)} free", "no lease is given once it is full")


def _bmcs(client: Client) -> Findings:
    """Have the daemon log in to the BMCs of machines, whatever state those are in: BMCs are needed in each."""
    machines = [row for row in client.get("/v1/machines")["machines"] if row["bmc"] and row["state"] != "retired"]
    asked = machines[:MAX_BMCS]

    def power(name: str) -> str:  # a BMC that is silent is called so after twenty seconds
        return str(client.post(f"/v1/machines/{quoted(name)}/bmc/power.status", {}, slow=True)["result"])

    for row, found in zip(asked, outcomes([row["name"] for row in asked], power), strict=True):
        if isinstance(found, Unreachable | Forbidden):
            raise found
        if isinstance(found, ProvisionerError):  # the next machine can be looked at all the same
            yield Finding(Level.FAIL, "bmc", f"{row['name']}: {found.message}", found.hint)
        else:
            yield Finding(Level.OK, "bmc", f"{row['name']}: {row['bmc']['url']} lets us in; the machine is {found}")
    if len(machines) > MAX_BMCS:
        yield Finding(Level.OK, "bmc", f"{len(machines) - MAX_BMCS} more were not asked")

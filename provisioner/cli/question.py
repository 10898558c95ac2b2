"""`explain`, its thinking half: a site as the configuration says, a packet as asked, and what would be said. No I/O.

The rules are the daemon's own: `dhcp.answer` and `boot.plan`. Leases of the running daemon are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provisioner.boot.plan import SECURE_BOOT_LOADERS, BootPolicy, arch_name, direct_file, next_boot
from provisioner.dhcp.answer import answer
from provisioner.dhcp.case import PROXY_PORT, Arrival, Case, Reply, Silence, Via
from provisioner.dhcp.identify import LIES, client_of, spelled
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet, address, decode
from provisioner.dhcp.pxe import arch_of
from provisioner.dhcp.reservations import ARCHES
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.topology import Net
from provisioner.lifecycle.plans import KINDS
from provisioner.model.boot import Arch, BootClient, LoadFile, NoBoot, Plan, RunScript
from provisioner.model.catalog import Bootenv
from provisioner.model.machine import Machine, Run, State, Step
from provisioner.model.net import Mac

STATES: Mapping[str, tuple[State, str]] = {
    "discovered": (State.DISCOVERED, ""),
    "enrolled": (State.ENROLLED, ""),
    "ready": (State.READY, ""),
    "active": (State.ACTIVE, ""),
    "deploying": (State.DEPLOYING, "wait.dhcp"),
    "finalizing": (State.DEPLOYING, "wait.local-boot"),
    "maintenance": (State.MAINTENANCE, ""),
    "retired": (State.RETIRED, ""),
}
"""What a machine can be taken for, and the step of the run that it is in."""

_NAMES = {code: name.lower().replace("_", "-") for name, code in vars(Opt).items() if isinstance(code, int)}
_ADDRESSES = frozenset({Opt.SUBNET_MASK, Opt.ROUTER, Opt.DNS, Opt.BROADCAST, Opt.NTP, Opt.SERVER_ID})
_NUMBERS = frozenset({Opt.LEASE_TIME, Opt.RENEWAL_TIME, Opt.REBINDING_TIME, Opt.MTU, Opt.MAX_SIZE})
_TEXTS = frozenset(
    {Opt.HOST_NAME, Opt.DOMAIN_NAME, Opt.VENDOR_CLASS, Opt.TFTP_SERVER, Opt.BOOT_FILE, Opt.MESSAGE, Opt.ROOT_PATH}
)


def arch_number(text: str) -> int | None:
    """Read an architecture as a number (7, 0x10) or by name (efi-x64); None for neither."""
    if text in ARCHES:
        return int(ARCHES[text][0])
    try:
        number = int(text, 0)
    except ValueError:
        return None
    return number if 0 <= number <= 0xFFFF else None


@dataclass(frozen=True, slots=True)
class Told:
    """What would be said to one packet, and why: names and values in the order that they were decided."""

    asked: str
    pairs: tuple[tuple[str, str], ...]
    silent: bool


class Desk:
    """A site as the configuration says, without sockets and leases. Every machine is `taken_for` the same.

    `web` are the ports of HTTP and HTTPS (0: none); with `secure_boot`, firmware has refused what nobody signed.
    Packets that are asked one after the other meet what those before them left: offers, leases.
    """

    def __init__(
        self,
        config: Dhcp,
        taken_for: str = "",
        bootenv: Bootenv | None = None,
        web: tuple[int, int] = (8080, 0),
        secure_boot: bool = False,
    ) -> None:
        self._taken_for = taken_for
        self._secure_boot = secure_boot
        self._bootenv = bootenv
        self._plan: Plan | None = None
        self._site = Site(self._decide, http_port=web[0], tls_port=web[1], profiles=config.profiles, ports=config.ports)
        for subnet in config.subnets:
            self._site.set_net(Net(subnet))
        for reservation in config.reservations:
            self._site.set_reservation(reservation)
        self._interfaces = {subnet.interface for subnet in config.subnets if subnet.interface}

    @property
    def interface(self) -> str:
        """The only interface that is served; empty where there are none or several."""
        return next(iter(self._interfaces)) if len(self._interfaces) == 1 else ""

    def _decide(self, client: BootClient) -> Plan:
        self._plan = decided(client, self._taken_for, self._bootenv, refuses=self._secure_boot)
        return self._plan

    def ask(self, packet: Packet, interface: str, now: float, port: int = 67) -> Told:
        """Say what the daemon would say. Raises `WireError` where an option that matters is malformed."""
        self._plan = None
        if self._taken_for:
            self._site.set_reservation(Reservation(mac=str(packet.mac), name="example"))
        arrival = Arrival(interface, self._own_address(packet, interface), port=port)
        case = Case(packet, arrival, self._site, now, self._site.kind_of(packet))
        known = self._site.known(case.key, packet, case.relay, case.info)
        found = answer(packet, arrival, self._site, now)
        pairs = (
            ("read as", _client(client_of(packet, case.kind), packet)),
            ("subnet", _subnet(case.nets[0]) if case.nets else "none of ours"),
            ("machine", self._taken_for or ("known: it has a reservation" if known else "unknown")),
            ("plan", planned(self._plan)),
            *_answered(found),
        )
        return Told(_asked(packet, interface, port), pairs, isinstance(found, Silence))

    def _own_address(self, packet: Packet, interface: str) -> int:
        """Our address on the link: the configured one, else the first of the network, as an example."""
        nets = self._site.topology.at(packet.giaddr) if packet.giaddr else self._site.topology.on(interface)
        return next((net.server or net.network + 1 for net in nets), 0)


def decided(client: BootClient, taken_for: str, bootenv: Bootenv | None, *, refuses: bool) -> Plan:
    """Ask the daemon's own rule, for a machine of the kind that is asked about.

    Where it `refuses` what nobody signed, it is given what was signed, if there is that for it (`boot.refusals`).
    """
    client = client._replace(secure_boot=refuses and client.arch in SECURE_BOOT_LOADERS)
    if not taken_for:
        return next_boot(client, None, BootPolicy())
    machine = _stand_in(taken_for, client.mac, bootenv.name if bootenv is not None else "")
    direct = ""
    if machine.run is not None and bootenv is not None and client.arch is not None:
        direct = direct_file(bootenv, arch_name(client.arch))
    return next_boot(client, machine, BootPolicy(), direct)


def _stand_in(taken_for: str, mac: Mac, bootenv: str) -> Machine:
    state, step = STATES[taken_for]
    run = None
    if step:
        kind = KINDS[step]
        run = Run("example", "deploy", bootenv, (Step(step, kind.phase, kind.timeout_s),))
    return Machine("example", "the machine", state, macs=(mac,), run=run)


# in words


def _asked(packet: Packet, interface: str, port: int) -> str:
    kind = Type(packet.type).name if packet.type in set(Type) else "BOOTP"
    where = f"by relay {address(packet.giaddr)}" if packet.giaddr else f"on {interface or 'no interface of ours'}"
    return f"{kind} from {packet.mac} {where}{f', port {port}' if port == PROXY_PORT else ''}"


def _client(client: BootClient, packet: Packet) -> str:
    said = arch_of(packet.options.get(Opt.CLIENT_ARCH))
    vendor_class = packet.options.get(Opt.VENDOR_CLASS, b"").decode("ascii", "replace")
    lie = next((x for x in LIES if said == x.arch and re.fullmatch(x.vendor_class, vendor_class)), None)
    return in_words(client, f"which said {said:#06x}: {lie.why}" if lie is not None and said != client.arch else "")


def in_words(client: BootClient, lie: str = "") -> str:
    """Say what a client was taken for."""
    parts = [str(client.asker)]
    if client.arch is not None:
        name = Arch(client.arch).name.lower().replace("_", "-") if client.arch in set(Arch) else "of no known name"
        parts.append(f"architecture {client.arch:#06x} ({name})")
    uuid = spelled(client)
    parts += [part for part in (lie, f"UUID {uuid}" if uuid else "") if part]
    return ", ".join(parts)


def _subnet(net: Net) -> str:
    return f"{net.name}, {net.mode}, unknown machines: {net.config.unknown}"


def planned(plan: Plan | None) -> str:
    """Say a plan in words."""
    match plan:
        case None:
            return "was not asked for"
        case LoadFile():
            return f"load {plan.name}: {plan.reason}"
        case RunScript():
            return f"run the machine's boot script: {plan.reason}"
        case NoBoot():
            return f"say nothing: {plan.reason}"
    return f"boot the local disk: {plan.reason}"


def _answered(found: Reply | Silence) -> list[tuple[str, str]]:
    if isinstance(found, Silence):
        return [("answer", f"none: {found.reason}")]
    packet = decode(found.data)
    kind = Type(packet.type).name if packet.type else "BOOTREPLY"
    ways = {Via.UDP: "to", Via.FRAME: "as a frame to", Via.BROADCAST: "broadcast to"}
    given = f" {address(packet.yiaddr)}" if packet.yiaddr else ""
    name = packet.file.rstrip(b"\0").decode("ascii", "replace")
    pairs = [
        ("answer", f"{kind}{given}, {ways[found.to.via]} {address(found.to.ip)} port {found.to.port}: {found.reason}"),
        ("next server", address(packet.siaddr) if packet.siaddr else ""),
        ("file", name),
        ("options", "\n".join(_option(code, value) for code, value in packet.options.items())),
    ]
    return [(name, value) for name, value in pairs if value]


def _option(code: int, value: bytes) -> str:
    if code in _ADDRESSES and value and not len(value) % 4:
        text = " ".join(str(IPv4Address(value[at : at + 4])) for at in range(0, len(value), 4))
    elif code in _NUMBERS:
        text = str(int.from_bytes(value, "big"))
    elif code in _TEXTS:
        text = value.decode("ascii", "replace")
    elif code == Opt.MESSAGE_TYPE and value[:1] in {bytes((kind,)) for kind in Type}:
        text = Type(value[0]).name
    else:
        text = value.hex(" ")
    return f"{code} {_NAMES.get(code, '')}: {text}".replace(" :", ":")

"""`explain` for DHCPv6, its thinking half: a message as asked, and what would be said. No I/O.

The rules are the daemon's own: `dhcp.v6.answer` and `boot.plan`. Leases of the running daemon are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address

from provisioner.cli.question import Told, decided, in_words, planned
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.case import Silence
from provisioner.dhcp.options import Type as Type4
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.v6.answer import answer
from provisioner.dhcp.v6.boot import client_of
from provisioner.dhcp.v6.case import Arrival6, Case6, Reply6
from provisioner.dhcp.v6.duid import from_uuid
from provisioner.dhcp.v6.message import Hop, Message, Type, address, decode
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.options import (
    Ia,
    Opt,
    VendorClass,
    addresses_in,
    decode_ia,
    decode_status,
    encode_ia,
    encode_texts,
    encode_vendor_class,
    first,
    texts,
    vendor_class,
)
from provisioner.dhcp.v6.site import Site6
from provisioner.model.boot import BootClient, Plan
from provisioner.model.catalog import Bootenv

US = from_uuid(bytes(16))
"""The DUID of the server that explains."""
KINDS = {Type4.DISCOVER: Type.SOLICIT, Type4.REQUEST: Type.REQUEST, Type4.INFORM: Type.INFORMATION_REQUEST}
INTEL = 343
"""Enterprise number in whose words firmware says PXEClient and HTTPClient."""
_NAMES = {code: name.lower().replace("_", "-") for name, code in vars(Opt).items() if isinstance(code, int)}


def message_of(ask: Ask) -> Message:
    """Write the message that such a machine would send."""
    kind = KINDS[ask.kind]
    hardware = bytes.fromhex(ask.mac.replace(":", ""))
    duid = from_uuid(bytes.fromhex(ask.uuid.replace("-", ""))) if ask.uuid else b"\0\3\0\1" + hardware
    options: list[tuple[int, bytes]] = [(Opt.CLIENT_ID, duid)]
    if kind is Type.REQUEST:
        options.append((Opt.SERVER_ID, US))
    if kind is not Type.INFORMATION_REQUEST:
        options.append(encode_ia(Ia(Opt.IA_NA, hardware[2:])))
    options.append((Opt.REQUEST_LIST, b"\0\x3b\0\x3c\0\x17\0\x18\0\x10"))
    words = ask.vendor_class or ("PXEClient" if ask.arch is not None and not ask.user_class else "")
    if words in {"PXEClient", "HTTPClient"} and ask.arch is not None:
        words += f":Arch:{ask.arch:05d}:UNDI:003016"
    if words:
        options.append((Opt.VENDOR_CLASS, encode_vendor_class(VendorClass(INTEL, (words.encode(),)))))
    if ask.arch is not None:
        options.append((Opt.CLIENT_ARCH, ask.arch.to_bytes(2, "big")))
    if ask.user_class:
        options.append((Opt.USER_CLASS, encode_texts([ask.user_class.encode()])))
    link = (Hop(Type.RELAY_FORWARD, 0, int(IPv6Address(ask.relay)), source_of(hardware)),) if ask.relay else ()
    return Message(kind, 1, tuple(options), link)


def source_of(hardware: bytes) -> int:
    """Give the link-local address of a port."""
    octets = bytes((hardware[0] ^ 2,)) + hardware[1:3] + b"\xff\xfe" + hardware[3:]
    return 0xFE80 << 112 | int.from_bytes(octets, "big")


class Desk6:
    """A site as the configuration says, without sockets and leases. Every machine is `taken_for` the same.

    `web` are the ports of HTTP and HTTPS (0: none); with `secure_boot`, firmware has refused what nobody signed.
    """

    def __init__(
        self,
        config: Dhcp,
        taken_for: str = "",
        bootenv: Bootenv | None = None,
        web: tuple[int, int] = (8080, 0),
        secure_boot: bool = False,
    ) -> None:
        self._taken_for, self._bootenv, self._secure_boot = taken_for, bootenv, secure_boot
        self._plan: Plan | None = None
        self._site = Site6(self._decide, http_port=web[0], tls_port=web[1], profiles=config.profiles)
        self._site.duid = US
        for subnet in config.subnets6:
            self._site.set_net(Net6(subnet))
        for machine in config.reservations:
            self._site.set_machine(machine)
        for fixed in config.reservations6:
            self._site.set_reservation(fixed)
        self._interfaces = {subnet.interface for subnet in config.subnets6 if subnet.interface}

    @property
    def interface(self) -> str:
        """The only interface that is served; empty where there are none or several."""
        return next(iter(self._interfaces)) if len(self._interfaces) == 1 else ""

    def _decide(self, client: BootClient) -> Plan:
        self._plan = decided(client, self._taken_for, self._bootenv, refuses=self._secure_boot)
        return self._plan

    def ask(self, message: Message, interface: str, now: float, source: int = 0) -> Told:
        """Say what the daemon would say. Raises `WireError` where an option that matters is malformed."""
        self._plan = None
        arrival = Arrival6(interface, source)
        case = Case6(message, arrival, self._site, now)
        # an example of our own address, where none is configured: the first of the network
        self._site.addresses = {interface: tuple(net.network + 1 for net in case.nets)}
        if message.type in (Type.REQUEST, Type.RENEW, Type.RELEASE, Type.DECLINE):
            self._site.duid = message.option(Opt.SERVER_ID) or US  # a capture's client speaks to the server of its day
        if self._taken_for:
            self._site.set_machine(Reservation(mac=str(case.who.mac), name="example"))
        case.known = self._site.reservations.find(case.who)
        found = answer(message, arrival, self._site, now)
        pairs = (
            ("read as", in_words(client_of(case))),
            ("subnet", _subnet(case.nets[0]) if case.nets else "none of ours"),
            ("machine", self._taken_for or ("known: it has a reservation" if case.known else "unknown")),
            ("plan", planned(self._plan)),
            *_answered(found),
        )
        return Told(_asked(message, case, interface), pairs, isinstance(found, Silence))


# in words


def _asked(message: Message, case: Case6, interface: str) -> str:
    kind = Type(message.type).name if message.type in set(Type) else f"type {message.type}"
    link = next((hop.link for hop in reversed(message.hops) if hop.link), 0)
    where = f"by relay {address(link)}" if link else f"on {interface or 'no interface of ours'}"
    return f"{kind} from {case.who.mac} {where}"


def _subnet(net: Net6) -> str:
    return f"{net.name}, {net.mode}, unknown machines: {net.config.unknown}"


def _answered(found: Reply6 | Silence) -> list[tuple[str, str]]:
    if isinstance(found, Silence):
        return [("answer", f"none: {found.reason}")]
    message = decode(found.data)
    given = "".join(f" {address(ip)}" for ip in found.ips)
    kind = Type(message.type).name
    told = [_option(code, value) for code, value in message.options]
    url = (first(message.options, Opt.BOOT_URL) or b"").decode("ascii", "replace")
    pairs = [
        ("answer", f"{kind}{given}, to {address(found.to[0])} port {found.to[1]}: {found.reason}"),
        ("file", url),
        ("options", "\n".join(told)),
    ]
    return [(name, value) for name, value in pairs if value]


def _ia(value: bytes) -> str:
    ia = decode_ia(Opt.IA_NA, value)
    named = ", ".join(f"{address(each.ip)} for {each.valid_s} s" for each in addresses_in(ia))
    return f"{ia.iaid.hex()}: {named or _status(first(ia.options, Opt.STATUS) or bytes(2))}"


def _status(value: bytes) -> str:
    code, text = decode_status(value)
    return f"{code} {text}".strip()


def _addresses(value: bytes) -> str:
    return " ".join(str(IPv6Address(value[at : at + 16])) for at in range(0, len(value), 16))


def _option(code: int, value: bytes) -> str:
    reader = _READERS.get(code)
    text = reader(value) if reader is not None else value.hex(" ")
    return f"{code} {_NAMES.get(code, '')}: {text}".replace(" :", ":")


def _words(value: bytes) -> str:
    found = vendor_class(value)
    return (
        ""
        if found is None
        else f"{found.enterprise} {' '.join(each.decode('ascii', 'replace') for each in found.classes)}"
    )


_READERS: Mapping[int, Callable[[bytes], str]] = {
    Opt.IA_NA: _ia,
    Opt.STATUS: _status,
    Opt.PREFERENCE: lambda value: str(value[0]),
    Opt.VENDOR_CLASS: _words,
    Opt.DNS: _addresses,
    Opt.BOOT_URL: lambda value: value.decode("ascii", "replace"),
    Opt.BOOT_PARAMETERS: lambda value: " ".join(each.decode("utf-8", "replace") for each in texts(value)),
}

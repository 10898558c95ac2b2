"""Which machines are known, and what is fixed for them: by hardware address, UUID or switch port. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from provisioner.dhcp import formats
from provisioner.dhcp.pxe import uuid_of
from provisioner.dhcp.relay import NOTHING, RelayInfo, unspell
from provisioner.dhcp.subnets import Overrides, PortRule, Reservation
from provisioner.errors import ConfigError
from provisioner.model.boot import Arch, Trust
from provisioner.model.net import parse_mac

ARCHES = {
    "bios": (Arch.X86_BIOS,),
    "bios-http": (Arch.X86_BIOS_HTTP,),
    "efi-ia32": (Arch.EFI_IA32,),
    "efi-x64": (Arch.EFI_X64, Arch.EFI_BC),
    "efi-arm32": (Arch.EFI_ARM32,),
    "efi-arm64": (Arch.EFI_ARM64,),
    "efi-riscv64": (Arch.EFI_RISCV64,),
    "efi-ia32-http": (Arch.EFI_IA32_HTTP,),
    "efi-x64-http": (Arch.EFI_X64_HTTP, Arch.EFI_BC_HTTP),
    "efi-arm32-http": (Arch.EFI_ARM32_HTTP,),
    "efi-arm64-http": (Arch.EFI_ARM64_HTTP,),
    "efi-riscv64-http": (Arch.EFI_RISCV64_HTTP,),
    "ppc64": (Arch.PPC_OPEN_FIRMWARE, Arch.PPC_OPAL),
}
"""How an operator writes an architecture (RFC 5970)."""


class Known(NamedTuple):
    """What is fixed for one machine, in numbers and bytes. Where it has none of `ips`, it gets one of the pool."""

    key: bytes
    ips: tuple[int, ...] = ()
    name: bytes = b""
    uuid: str = ""
    loader: Mapping[int, str] = {}
    options: Mapping[int, bytes] = {}
    https: Trust = Trust.UNSAID
    profile: str = ""
    """Its profile, where that changes anything of DHCP."""
    serial: int = 0
    """Another number with every change: answers made for the old one are not used again. 0: nothing special."""
    machine: bytes = b""
    """The hardware address of record, where another port of the machine asks, known by its UUID."""


_FILE_NAME = re.compile("[!-~]{1,127}")
"""The field `file` has 128 octets, with a zero at its end (RFC 2131 section 2)."""


def loaders_by_arch(loader: Mapping[str, str]) -> dict[int, str]:
    """Turn the operator's names of architectures into numbers; raise `ConfigError` for an unknown one, or a file name
    that cannot be told to firmware."""
    found: dict[int, str] = {}
    for name, file in loader.items():
        if name not in ARCHES:
            raise ConfigError(f"loader: unknown architecture {name!r}", hint=f"one of {', '.join(ARCHES)}")
        if not _FILE_NAME.fullmatch(file):
            hint = "1 to 127 ASCII characters without blanks"
            raise ConfigError(f"loader: {name}: {file!r} cannot be told to firmware", hint=hint)
        found |= dict.fromkeys(ARCHES[name], file)
    return found


SERIAL_BITS = 48
"""Changes of reservations that are told apart; a thousand a second for 8,000 years."""


class ByUuid:
    """Hardware addresses by UUID: the network ports of one machine share it."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[bytes, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def get(self, uuid: str) -> bytes | None:
        """Give the hardware address that stands for the machine: of several, the one that was added last."""
        keys = self._keys.get(uuid)
        return next(reversed(keys)) if keys else None

    def add(self, uuid: str, key: bytes) -> None:
        """Add one; where there is no UUID, nothing."""
        if uuid:
            self._keys.setdefault(uuid, {})[key] = None

    def remove(self, uuid: str, key: bytes) -> None:
        """Forget one; the other ports of the machine stay."""
        keys = self._keys.get(uuid)
        if keys is not None:
            keys.pop(key, None)
            if not keys:
                del self._keys[uuid]


_ips = attrgetter("ips")


class Reservations:
    """The index. Every change touches one entry."""

    def __init__(self, profiles: Mapping[str, Overrides] | None = None, ports: Iterable[PortRule] = ()) -> None:
        self._profiles = dict(profiles or {})
        self._by_key: dict[bytes, Known] = {}
        self._by_uuid = ByUuid()
        self._serial = 0
        self._ports = {port_key(rule): self._at_port(rule) for rule in ports}

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, key: bytes) -> Known | None:
        """Give what is fixed for this hardware address."""
        return self._by_key.get(key)

    def fixes(self, key: bytes, ip: int) -> bool:
        """Say whether the address is fixed for this hardware address itself."""
        known = self._by_key.get(key)
        return known is not None and ip in known.ips

    def name_at(self, giaddr: int, info: RelayInfo) -> str:
        """Give the name that the rule for a switch port gives the machine there, empty where there is none."""
        found = self._port_of(giaddr, info) if info.circuit_id or info.remote_id else None
        return found.name.decode("ascii") if found is not None else ""

    def knows(self, key: bytes) -> bool:
        """Say whether something is fixed for this hardware address."""
        return key in self._by_key

    def addresses(self) -> Iterator[int]:
        """Give all fixed addresses, as often as they are named."""
        return chain.from_iterable(map(_ips, chain(self._by_key.values(), self._ports.values())))

    def find(self, key: bytes, uuid: bytes | None, giaddr: int = 0, info: RelayInfo = NOTHING) -> Known | None:
        """Give what is known of this machine: by hardware address, option 97 (another port asks) or switch port."""
        known = self._by_key.get(key)
        if known is None and self._by_uuid and uuid is not None:
            other = self._by_uuid.get(uuid_of(uuid) or "")
            if other is not None:
                known = self._by_key[other]._replace(key=key, ips=(), machine=other)  # fixed ones are the other port's
        if not self._ports or not (info.circuit_id or info.remote_id):
            return known
        return _merge(known, self._port_of(giaddr, info), key)

    def compile(self, reservation: Reservation) -> Known:
        """Make a reservation ready; raise `ConfigError`."""
        try:
            return self._known(
                reservation,
                key=bytes.fromhex(parse_mac(reservation.mac).replace(":", "")),
                uuid=reservation.uuid.lower(),
            )
        except ValueError as error:
            raise ConfigError(f"reservation {reservation.mac}: {error}") from None

    def set(self, known: Known) -> None:
        """Add or change one."""
        self.remove(known.key)
        self._by_key[known.key] = known
        self._by_uuid.add(known.uuid, known.key)

    def remove(self, key: bytes) -> Known | None:
        """Forget one; give what it was."""
        known = self._by_key.pop(key, None)
        if known is not None:
            self._by_uuid.remove(known.uuid, key)
        return known

    def _port_of(self, giaddr: int, info: RelayInfo) -> Known | None:
        """Find the rule for a switch port: the one that says most wins."""
        circuit, remote = info.circuit_id, info.remote_id
        for ids in ((circuit, remote), (circuit, b""), (b"", remote)):
            for relay in (giaddr, 0):
                if (found := self._ports.get((relay, *ids))) is not None:
                    return found
        return None

    def _at_port(self, rule: PortRule) -> Known:
        try:
            return self._known(
                Reservation(address=rule.address, name=rule.name, profile=rule.profile), key=b"", uuid=""
            )
        except ValueError as error:
            raise ConfigError(f"port {rule.circuit_id or rule.remote_id}: {error}") from None

    def _known(self, reservation: Reservation, *, key: bytes, uuid: str) -> Known:
        profile = self._profiles.get(reservation.profile, Overrides())
        loader = loaders_by_arch({**profile.loader, **reservation.loader})
        options = formats.parse_options({**profile.options, **reservation.options})
        https = reservation.https or profile.https
        special = bool(loader or options or https)
        self._serial += special
        return Known(
            key=key,
            ips=tuple(int(IPv4Address(each)) for each in reservation.fixed),
            name=reservation.name.encode("ascii"),
            uuid=uuid,
            loader=loader,
            options=options,
            https=https,
            profile=reservation.profile if reservation.profile in self._profiles else "",
            serial=self._serial if special else 0,
        )


def port_key(rule: PortRule) -> tuple[int, bytes, bytes]:
    """What a rule for a switch port is looked up by."""
    relay = int(IPv4Address(rule.relay)) if rule.relay else 0
    return relay, unspell(rule.circuit_id), unspell(rule.remote_id)


def _merge(known: Known | None, port: Known | None, key: bytes) -> Known | None:
    """The machine's own reservation counts first, the rule for its switch port fills what that leaves open."""
    if port is None:
        return known
    if known is None:
        return port._replace(key=key)
    known = known._replace(ips=known.ips or port.ips, name=known.name or port.name)
    if known.profile or not port.serial:
        return known
    return known._replace(
        loader={**port.loader, **known.loader},
        options={**port.options, **known.options},
        https=known.https or port.https,
        serial=known.serial << SERIAL_BITS | port.serial,
    )

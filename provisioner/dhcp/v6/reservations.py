"""Which machines are known to DHCPv6, and what is fixed for them: by hardware address, UUID or DUID. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from typing import NamedTuple

from provisioner.dhcp.reservations import ByUuid, loaders_by_arch
from provisioner.dhcp.subnets import Overrides, Reservation
from provisioner.dhcp.v6.duid import unspell
from provisioner.dhcp.v6.identify import Identity
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.errors import ConfigError
from provisioner.model.boot import Trust
from provisioner.model.net import parse_mac

Key = tuple[bytes, bytes, str]
"""What a fixed address is looked up by: hardware address, DUID, UUID; empty where any will do."""


class Known6(NamedTuple):
    """What is known of a machine. `ip` 0: an address from the pool."""

    name: str = ""
    ip: int = 0
    uuid: str = ""
    loader: Mapping[int, str] = {}
    https: Trust = Trust.UNSAID
    machine: bytes = b""
    """The hardware address of record, where another port of the machine asks, known by its UUID."""


class Reservations6:
    """The index. Every change touches one entry."""

    def __init__(self, profiles: Mapping[str, Overrides] | None = None) -> None:
        self._profiles = dict(profiles or {})
        self._machines: dict[bytes, Known6] = {}
        self._by_uuid = ByUuid()
        self._fixed: dict[Key, Known6] = {}

    def addresses(self) -> Iterator[int]:
        """Give all fixed addresses, as often as they are named."""
        for known in self._fixed.values():
            yield known.ip

    def knows(self, key: bytes) -> bool:
        """Say whether the machine behind this key is known."""
        return key in self._machines

    def find(self, who: Identity) -> Known6 | None:
        """Give what is known of the machine that asks: the reservation that says most, and its machine's record."""
        fixed, machine = self._fixed_for(who), self._machine_of(who)
        if fixed is None or machine is None:
            return fixed or machine
        return Known6(
            fixed.name or machine.name,
            fixed.ip,
            fixed.uuid or machine.uuid,
            {**machine.loader, **fixed.loader},
            fixed.https or machine.https,
            machine.machine,
        )

    def _fixed_for(self, who: Identity) -> Known6 | None:
        if not self._fixed:
            return None
        for duid in (who.duid, b""):
            for mac in (who.key, b""):
                for uuid in (*who.uuids, ""):
                    if (found := self._fixed.get((mac, duid, uuid))) is not None:
                        return found
        return None

    def _machine_of(self, who: Identity) -> Known6 | None:
        known = self._machines.get(who.key)
        if known is None:
            for uuid in who.uuids:
                if (key := self._by_uuid.get(uuid)) is not None:
                    return self._machines[key]._replace(machine=key)
        return known

    def fix(self, reservation: Reservation6) -> None:
        """Add or change a fixed address; raise `ConfigError`."""
        self._fixed[key_of(reservation)] = compiled(reservation)

    def unfix(self, reservation: Reservation6) -> Known6 | None:
        """Forget one; give what it was."""
        return self._fixed.pop(key_of(reservation), None)

    def set_machine(self, reservation: Reservation) -> None:
        """Add or change what is known of the machine behind a hardware address; raise `ConfigError`."""
        key = bytes.fromhex(parse_mac(reservation.mac).replace(":", ""))
        profile = self._profiles.get(reservation.profile, Overrides())
        loader = loaders_by_arch({**profile.loader, **reservation.loader})
        self.remove_machine(key)
        https = reservation.https or profile.https
        self._machines[key] = Known6(reservation.name, 0, reservation.uuid.lower(), loader, https)
        self._by_uuid.add(reservation.uuid.lower(), key)

    def remove_machine(self, key: bytes) -> None:
        """Forget one."""
        known = self._machines.pop(key, None)
        if known is not None:
            self._by_uuid.remove(known.uuid, key)


def compiled(reservation: Reservation6) -> Known6:
    """Make a reservation ready; raise `ConfigError`."""
    try:
        ip = int(IPv6Address(reservation.address))
    except ValueError as error:
        raise ConfigError(f"reservation {reservation.name or reservation.mac}: address: {error}") from None
    return Known6(reservation.name, ip, key_of(reservation)[2], loaders_by_arch(reservation.loader), reservation.https)


def key_of(reservation: Reservation6) -> Key:
    """What a fixed address is looked up by; raise `ConfigError`."""
    where = f"reservation {reservation.address or reservation.name}"
    if not (reservation.mac or reservation.duid or reservation.uuid):
        raise ConfigError(f"{where}: mac, duid or uuid: one of them has to say which machine")
    mac = bytes.fromhex(parse_mac(reservation.mac).replace(":", "")) if reservation.mac else b""
    try:
        return mac, unspell(reservation.duid) if reservation.duid else b"", reservation.uuid.lower()
    except ValueError as error:
        raise ConfigError(f"{where}: duid: {error}") from None

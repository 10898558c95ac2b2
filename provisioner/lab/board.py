"""A simulated BMC's state, which both of its protocols show: accounts, network settings, sensors, log. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from provisioner.lab.chassis import Chassis
from provisioner.lab.faults import Faults
from provisioner.lab.hardware import NO_MEDIUM, Medium
from provisioner.lab.settings import Settings
from provisioner.model.bmc import Power

FIRMWARE = "1.04"
RMCP_PORT = 623
ACCOUNTS = 10
"""Slots for users, as many as most boards have."""


class Role(IntEnum):
    """Privilege levels, with IPMI's numbers (table 22-19). Redfish: ReadOnly, Operator, Administrator."""

    NONE = 0x0F
    USER = 2
    OPERATOR = 3
    ADMINISTRATOR = 4


ROLES = frozenset(int(role) for role in Role)


@dataclass(frozen=True, slots=True)
class Account:
    """One user of the board. Slot 1 is IPMI's anonymous user and stays off."""

    slot: int
    name: str = ""
    password: str = ""
    role: Role = Role.NONE
    enabled: bool = False

    @property
    def may_log_in(self) -> bool:
        return self.enabled and bool(self.name) and self.role is not Role.NONE


class Accounts:
    """The board's users, by slot."""

    def __init__(self, first: Account) -> None:
        self._slots = {slot: Account(slot) for slot in range(1, ACCOUNTS + 1)}
        self._slots[first.slot] = first

    def __iter__(self) -> Iterator[Account]:
        return iter(self._slots.values())

    def get(self, slot: int) -> Account | None:
        return self._slots.get(slot)

    def named(self, name: str) -> Account | None:
        """The user who may log in by this name."""
        return next((one for one in self._slots.values() if one.may_log_in and one.name == name), None)

    def change(self, slot: int, **changes: object) -> Account:
        """Change one slot; it has to exist."""
        self._slots[slot] = dataclasses.replace(self._slots[slot], **changes)  # type: ignore[arg-type]
        return self._slots[slot]


@dataclass(frozen=True, slots=True)
class Network:
    """The board's own network port, as it is configured."""

    address: str
    mac: str
    netmask: str = "255.255.255.0"
    gateway: str = "0.0.0.0"
    dhcp: bool = False
    dns: tuple[str, ...] = ()
    vlan: int = 0
    """0: none."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """One thing that is measured. `low` and `high` are the critical limits; `on` and `off` what it reads then."""

    number: int
    name: str
    unit: str
    on: int
    off: int
    low: int
    high: int


SENSORS = (
    Sensor(1, "Inlet Temp", "C", 24, 22, 3, 42),
    Sensor(2, "CPU Temp", "C", 47, 23, 3, 95),
    Sensor(3, "Fan 1", "RPM", 42, 0, 5, 240),
    Sensor(4, "Input Power", "W", 118, 9, 0, 250),
)


@dataclass(slots=True)
class Board:
    """One BMC. The protocol servers read and change it; the chassis acts."""

    chassis: Chassis
    accounts: Accounts
    network: Network
    sensors: tuple[Sensor, ...] = SENSORS
    rmcp_port: int = RMCP_PORT
    """The UDP port of the board's IPMI; consoles refuse serial over LAN on another than they talk to."""
    ssh_port: int = 0
    """The TCP port of the board's SSH, which leads to the console; 0: it has none."""
    medium: Medium = NO_MEDIUM
    """What is in the virtual CD drive."""
    settings: Settings = field(default_factory=Settings)
    tasks: int = 0
    """How many tasks there have been."""
    failed_tasks: dict[int, str] = field(default_factory=dict)
    """Tasks that ended badly, and why."""
    locating: bool = False
    """The locate LED."""
    parameters: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """IPMI parameters that the board only keeps: (table, number) to the bytes that were set."""

    @property
    def faults(self) -> Faults:
        """What is wrong with the board now."""
        return self.chassis.faults

    def insert(self, medium: Medium) -> None:
        """Put a medium into the virtual CD drive; an empty one takes out what is there."""
        self.medium = medium
        self.chassis.insert(medium)

    def reading(self, sensor: Sensor) -> int:
        return sensor.on if self.chassis.power is Power.ON else sensor.off

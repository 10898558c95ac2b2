"""What a BMC tells of the board that it watches, and what can be set there. No I/O.

Empty strings and None stand for what a board does not say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from provisioner.model.facts import Facts


class Health(StrEnum):
    """How a part is, as its board sums it up."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sensor:
    """One reading. `unit` as the board spells it ("C", "RPM", "W", "V"); `value` is None for a state without number."""

    name: str
    value: float | None
    unit: str = ""
    health: Health = Health.UNKNOWN
    state: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the board's own event log. `at` is the board's clock, as text: boards forget the time."""

    id: str
    text: str
    at: str = ""
    severity: Health = Health.UNKNOWN
    sensor: str = ""


@dataclass(frozen=True, slots=True)
class MediaSlot:
    """One virtual drive. `image` is the URI that lies in it."""

    id: str
    kinds: tuple[str, ...] = ()
    image: str = ""
    inserted: bool = False


@dataclass(frozen=True, slots=True)
class Dimm:
    """One memory module."""

    slot: str
    size_bytes: int
    kind: str = ""
    speed_mhz: int = 0
    vendor: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """One piece of firmware and its version. `updateable` says whether the board can replace it."""

    name: str
    version: str
    id: str = ""
    updateable: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in the machine, seen from outside it."""

    facts: Facts
    dimms: tuple[Dimm, ...] = ()
    firmware: tuple[Component, ...] = ()


class Role(StrEnum):
    """What an account may do at the BMC."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    READ_ONLY = "read-only"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Account:
    """One user of the BMC."""

    id: str
    name: str
    role: Role
    enabled: bool


@dataclass(frozen=True, slots=True)
class BmcNetwork:
    """The BMC's own network port."""

    mac: str = ""
    dhcp: bool | None = None
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    hostname: str = ""
    dns: tuple[str, ...] = ()
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class TimeSync:
    """Where the BMC takes the time from."""

    enabled: bool
    servers: tuple[str, ...] = ()


BiosValue = str | int | bool | None


@dataclass(frozen=True, slots=True)
class BiosAttribute:
    """What the registry says of one setting."""

    name: str
    kind: str = ""
    choices: tuple[str, ...] = ()
    lowest: int | None = None
    highest: int | None = None
    longest: int | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class BiosSettings:
    """The firmware's settings as they are, and those that wait for the next boot."""

    current: dict[str, BiosValue] = field(hash=False)
    pending: dict[str, BiosValue] = field(default_factory=dict, hash=False)
    registry: dict[str, BiosAttribute] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SecureBoot:
    """`enabled` is what the next boot does, `active` what the last one did. `mode`: setup, user, audit, deployed."""

    enabled: bool
    active: bool | None = None
    mode: str = ""


@dataclass(frozen=True, slots=True)
class SecureBootKey:
    """A certificate in one of the databases (PK, KEK, db, dbx). `id` is the board's name for it there."""

    database: str
    id: str
    pem: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume of a storage controller."""

    id: str
    name: str
    raid: str
    size_bytes: int
    drives: tuple[str, ...] = ()


class Led(StrEnum):
    """The light that shows which machine it is."""

    OFF = "off"
    ON = "on"
    BLINKING = "blinking"

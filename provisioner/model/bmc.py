"""BMCs as values: where one is, what it can be asked, what it says. No I/O."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum


class Driver(StrEnum):
    """The protocols that we speak to a machine's controller."""

    IPMI = "ipmi"
    REDFISH = "redfish"
    LIBVIRT = "libvirt"


class Power(StrEnum):
    """A machine's power state as its controller reports it."""

    ON = "on"
    OFF = "off"


class BootTarget(StrEnum):
    """Where a machine boots from: the boot devices that both IPMI and Redfish can name."""

    PXE = "pxe"
    HTTP = "http"
    DISK = "disk"
    CD = "cd"
    BIOS_SETUP = "bios-setup"
    NONE = "none"


def spelled(host: str) -> str:
    """Spell a host's name or address in the one way that compares."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().removesuffix(".")


@dataclass(frozen=True, slots=True)
class BmcAddress:
    """Where a BMC is and as whom we talk to it. The password is a secret of the store, not a field here.

    `fingerprint` is the SHA-256 of the TLS certificate that was pinned at enrolment (hex), empty for IPMI.
    `system` names the machine where one controller looks after several (a Redfish system id, a libvirt domain).
    """

    driver: Driver
    host: str
    port: int
    username: str
    fingerprint: str = ""
    system: str = ""

    @property
    def place(self) -> tuple[Driver, str, int]:
        """Where it listens, however its host is spelled."""
        return self.driver, spelled(self.host), self.port

    def same_board(self, other: BmcAddress) -> bool:
        """Say whether two addresses are of one board, whoever logs in. Who names no system means the only one."""
        return self.place == other.place and (not (self.system and other.system) or self.system == other.system)

    def same_host(self, other: BmcAddress) -> bool:
        """Say whether an address of another driver is at the same host, which is one board, whatever the ports.

        Not where both name a system: a controller looks after several, and each driver has names of its own for them.
        """
        here = self.driver is not other.driver and spelled(self.host) == spelled(other.host)
        return here and not (self.system and other.system)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        system = f"/{self.system}" if self.system else ""
        return f"{self.driver}://{self.username}@{host}:{self.port}{system}"


PASSWORDS = "bmc/"
"""The names of all secrets that are a BMC's password begin so; the machine's id follows, then what tells more."""


def secret_of(machine_id: str, address: BmcAddress | None = None) -> str:
    """Name the secret that holds a password: of a machine's first BMC address, or of another one."""
    return f"{PASSWORDS}{machine_id}" if address is None else f"{PASSWORDS}{machine_id}/{address.driver}"


def owner_of(secret: str) -> str:
    """Return the id of the machine whose BMC's password a secret is."""
    return secret.removeprefix(PASSWORDS).partition("/")[0]


@dataclass(frozen=True, slots=True)
class BmcIdentity:
    """What a BMC says of the machine that it controls. Empty strings where it does not say."""

    uuid: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class BootOverride:
    """What a BMC tells the firmware to boot. `uefi` is None where the board does not say or shall not be told."""

    target: BootTarget
    once: bool = True
    uefi: bool | None = None
    uri: str = ""

"""BMCs as values: where one is, what it can be asked, what it says. No I/O."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from provisioner.errors import ConfigError


class Driver(StrEnum):
    """The protocols that we speak to a machine's controller."""

    IPMI = "ipmi"
    REDFISH = "redfish"
    LIBVIRT = "libvirt"

    @property
    def port(self) -> int:
        """Where it listens, if nobody says otherwise; 0 where it has no port."""
        return {Driver.IPMI: 623, Driver.REDFISH: 443}.get(self, 0)

    @property
    def has_password(self) -> bool:
        """Say whether it logs in with a password; libvirt does with keys, or as whom we are."""
        return self is not Driver.LIBVIRT


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
        user = f"{quote(self.username, safe='')}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        system = f"/{quote(self.system, safe='')}" if self.system else ""
        return f"{self.driver}://{user}{host}{port}{system}"


URLS = "ipmi://USER@HOST[:PORT], redfish://USER@HOST[:PORT][/SYSTEM] or libvirt://[USER@]HOST/NAME"
"""How an operator writes where a BMC is; what URLs reserve is `%XX` in USER, SYSTEM and NAME (RFC 3986 section 2.1)."""


def parse_url(text: str, *, login: bool = True) -> BmcAddress:
    """Read the URL of a BMC; raise `ConfigError`. A user has to be named where somebody is to log in."""
    try:
        url = urlsplit(text)
        if url.password is not None:
            raise ConfigError("a password has no place in an address, others can read it", hint="use --password-file")
        port = url.port
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}", hint=f"write {URLS}") from error
    system, user = unquote(url.path.strip("/")), unquote(url.username or "")
    fits: dict[str, object] = {
        Driver.IPMI: (user or not login) and not system,
        Driver.REDFISH: user or not login,
        Driver.LIBVIRT: system,
    }
    if not fits.get(url.scheme) or not url.hostname or url.query or url.fragment or "/" in system:
        raise ConfigError(f"{text!r}: not the address of a BMC", hint=f"write {URLS}")
    driver = Driver(url.scheme)
    return BmcAddress(driver, url.hostname, port or driver.port, user, system=system)


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

    @property
    def kind(self) -> tuple[str, str, str]:
        """What evidence is kept by; all empty where a board was only asked whose it is."""
        return self.vendor, self.model, self.firmware


@dataclass(frozen=True, slots=True)
class BootOverride:
    """What a BMC tells the firmware to boot. `uefi` is None where the board does not say or shall not be told."""

    target: BootTarget
    once: bool = True
    uefi: bool | None = None
    uri: str = ""

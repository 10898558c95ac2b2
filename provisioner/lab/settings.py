"""What a simulated board keeps beside accounts and network: firmware settings, keys, clock, certificate. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BIOS: Mapping[str, Any] = {
    "BootMode": "Uefi",
    "SriovGlobalEnable": "Disabled",
    "PxeRetries": 3,
    "AssetTag": "",
    "SystemMemory": "1 GB",
}
FACTORY_KEY = "-----BEGIN CERTIFICATE-----\nZmFjdG9yeQ==\n-----END CERTIFICATE-----\n"
"""Stands for the keys that a board comes with; nothing boots by them."""

KEYS = ("PK", "KEK", "db", "dbx")


def factory_keys() -> dict[str, dict[str, str]]:
    """The Secure Boot databases of a new board: name to certificates by number."""
    return {name: {} if name == "dbx" else {"1": FACTORY_KEY} for name in KEYS}


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the machine's storage controller."""

    number: str
    name: str
    raid: str
    drives: tuple[str, ...]


@dataclass(slots=True)
class Settings:
    """One board's settings. What is set for the next boot counts once the machine has booted again."""

    bios: dict[str, Any] = field(default_factory=lambda: dict(BIOS))
    bios_waiting: dict[str, Any] = field(default_factory=dict)
    secure_boot: bool = False
    keys: dict[str, dict[str, str]] = field(default_factory=factory_keys)
    firmware: dict[str, str] = field(default_factory=lambda: {"BMC": "1.04", "BIOS": "2.1", "NIC": "14.0"})
    volumes: dict[str, Volume] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)
    """Drives that erased themselves, in order."""
    ntp: bool = False
    ntp_servers: tuple[str, ...] = ()
    ssdp: bool = True
    hostname: str = ""
    certificate: str = ""
    """The certificate that the web server shows (PEM)."""
    key: str = ""
    """The private key of a signing request that waits for its certificate (PEM)."""
    _boots: int = 0
    _numbers: int = 1

    def bios_now(self, boots: int) -> dict[str, Any]:
        """The settings in force after so many boots."""
        if self.bios_waiting and boots > self._boots:
            self.bios |= self.bios_waiting
            self.bios_waiting = {}
        return self.bios

    def want_bios(self, wanted: Mapping[str, Any], boots: int) -> None:
        """Have these used from the next boot on."""
        self.bios_now(boots)
        self.bios_waiting |= wanted
        self._boots = boots

    def reset_bios(self, boots: int) -> None:
        self.want_bios(BIOS, boots)

    def reset_keys(self, *, factory: bool) -> None:
        """Put back the keys that the board came with, or take out all of them."""
        self.keys = factory_keys() if factory else {name: {} for name in KEYS}

    def number(self) -> str:
        """A number that was not used before."""
        self._numbers += 1
        return str(self._numbers)

    def add_key(self, database: str, pem: str) -> str:
        """Add a certificate to a Secure Boot database; its number."""
        number = self.number()
        self.keys[database][number] = pem
        return number

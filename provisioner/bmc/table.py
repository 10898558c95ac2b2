"""Every verb by its capability's name: the method that does it, whether it changes something, how long it may take.

The names are those that operators, guidelines and the API use. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from provisioner.bmc.verbs import Press
from provisioner.model.bmc import BootTarget, Power

READ_S = 60.0
"""A read: login, three requests of which one may take 30 s."""

MEETING_S = 300.0
"""The first word with a board: login, old sessions, five requests to find the machine, each 30 s on slow boards."""

ACTION_S = 120.0
STUDY_S = 180.0
"""All sensors, the whole log, the inventory: hundreds of requests on boards that answer ten a second."""

CERTIFICATE_S = 300.0
FIRMWARE_S = 3600.0
ERASE_S = 12 * 3600.0
"""A drive of 20 TB that overwrites itself at 500 MB/s."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. `again` says that doing it twice is the same as doing it once, so that it may be retried.

    `fixed` are the arguments that the name gives already: `power.on` is `set_power` with `wanted` on.
    """

    name: str
    method: str
    does: str
    changes: bool = False
    again: bool = True
    limit_s: float = READ_S
    fixed: tuple[tuple[str, Any], ...] = ()

    @property
    def end_s(self) -> float:
        """How long its end is waited for: a little less than it has, so that what was seen can be said."""
        return self.limit_s * 0.95


def _read(name: str, method: str, does: str, limit_s: float = READ_S) -> Verb:
    return Verb(name, method, does, limit_s=limit_s)


def _set(name: str, method: str, does: str, limit_s: float = ACTION_S, **fixed: Any) -> Verb:
    return Verb(name, method, does, changes=True, limit_s=limit_s, fixed=tuple(fixed.items()))


def _once(name: str, method: str, does: str, limit_s: float = ACTION_S, **fixed: Any) -> Verb:
    return Verb(name, method, does, changes=True, again=False, limit_s=limit_s, fixed=tuple(fixed.items()))


_BOOTS = tuple(
    _set(f"boot.{lasting}.{target}", f"boot_{lasting}", f"boot from {target} {words}", target=target)
    for lasting, words in (("once", "the next time"), ("always", "from now on"))
    for target in BootTarget
)

_ALL = (
    _read("identify", "identify", "say who the machine is, and prove user and password", MEETING_S),
    _read("power.status", "power", "read the power state"),
    _set("power.on", "set_power", "switch on, and see it on", wanted=Power.ON),
    _set("power.off", "set_power", "switch off at once, and see it off", wanted=Power.OFF),
    _once("power.soft-off", "press", "ask the operating system to shut down", press=Press.SOFT_OFF),
    _once("power.cycle", "press", "switch off and on in one request", press=Press.CYCLE),
    _once("power.reset", "reset", "restart a running machine at once"),
    _once("power.nmi", "press", "send a non-maskable interrupt: the operating system dumps", press=Press.NMI),
    _read("boot.read", "boot_override", "read what the firmware is told to boot"),
    _read("boot.targets", "boot_targets", "list what the board says that it can be told to boot from"),
    *_BOOTS,
    _read("vmedia.status", "media", "list the virtual drives and what is in them"),
    _set("vmedia.insert", "insert_media", "put an image into a virtual drive"),
    _set("vmedia.eject", "eject_media", "empty the virtual drives"),
    _read("console.open", "open_console", "open the serial console"),
    _read("sensors.read", "sensors", "read every sensor", STUDY_S),
    _read("health.read", "health", "say how the machine is, all in all", STUDY_S),
    _read("log.read", "event_log", "read the board's event log", STUDY_S),
    _set("log.clear", "clear_event_log", "clear the board's event log"),
    _read("inventory.read", "inventory", "list what is in the machine, without starting it", STUDY_S),
    _read("accounts.read", "accounts", "list the BMC's users"),
    _once("accounts.create", "create_account", "make a user of the BMC"),
    _once("accounts.password", "set_password", "change a user's password"),
    _set("accounts.enable", "enable_account", "let a user in, or keep it out"),
    _set("accounts.delete", "delete_account", "delete a user of the BMC"),
    _read("network.read", "network", "read the BMC's own network"),
    _once("network.set", "set_network", "set the BMC's own network"),
    _read("ntp.read", "time_sync", "read where the BMC takes the time from"),
    _set("ntp.set", "set_time_sync", "set where the BMC takes the time from"),
    _read("certificate.read", "certificate", "read the BMC's TLS certificate"),
    _once("certificate.request", "request_certificate", "have the BMC make a key and a signing request"),
    _once("certificate.replace", "replace_certificate", "install a TLS certificate at the BMC", CERTIFICATE_S),
    _read("bios.read", "bios", "read the firmware's settings"),
    _read("bios.plan", "plan_bios", "say what a change of the firmware's settings would write"),
    _set("bios.apply", "set_bios", "change the firmware's settings at the next boot"),
    _read("secureboot.read", "secure_boot", "read the state of Secure Boot"),
    _set("secureboot.set", "set_secure_boot", "switch Secure Boot for the next boot"),
    _set("secureboot.reset-keys", "reset_secure_boot_keys", "put back the Secure Boot keys that the board came with"),
    _set("secureboot.delete-keys", "delete_secure_boot_keys", "take out every Secure Boot key: setup mode"),
    _read("secureboot.keys", "secure_boot_keys", "list the certificates in the Secure Boot databases"),
    _set("secureboot.add-key", "add_secure_boot_key", "add a certificate to a Secure Boot database"),
    _set("secureboot.delete-key", "delete_secure_boot_key", "take a certificate out of a Secure Boot database"),
    _once("firmware.update", "update_firmware", "have the BMC fetch and install firmware", FIRMWARE_S),
    _once("firmware.push", "push_firmware", "send firmware to the BMC and have it installed", FIRMWARE_S),
    _read("volumes.read", "volumes", "list the volumes of storage controllers"),
    _once("volumes.create", "create_volume", "make a volume", FIRMWARE_S),
    _set("volumes.delete", "delete_volume", "delete a volume and the data on it", FIRMWARE_S),
    _once("drive.erase", "erase_drive", "have a drive erase itself for good", ERASE_S),
    _read("led.status", "led", "read the light that shows which machine it is"),
    _set("led.set", "set_led", "switch the light that shows which machine it is"),
)

VERBS = {verb.name: verb for verb in _ALL}

INSTALLS = frozenset({"firmware.update", "firmware.push"})
"""Verbs after which the board may be another one to all others."""

DESTROYS = frozenset({"volumes.create", "volumes.delete", "drive.erase"})
"""Verbs that destroy what is on a disk: never on a machine in use."""

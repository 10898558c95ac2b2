"""What some BMCs can besides power and boot: one Protocol per group of verbs, kept by drivers that can. No I/O.

A driver that keeps a Protocol may still meet a board that cannot: then the call raises `BmcUnsupported`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from provisioner.bmc.biosplan import BiosPlan
from provisioner.bmc.verbs import Bmc
from provisioner.errors import BmcUnsupported
from provisioner.model.bmc import BootTarget
from provisioner.model.board import (
    Account,
    BiosSettings,
    BiosValue,
    BmcNetwork,
    Health,
    Inventory,
    Led,
    LogEntry,
    MediaSlot,
    Role,
    SecureBoot,
    SecureBootKey,
    Sensor,
    TimeSync,
    Volume,
)


@runtime_checkable
class CanWatch(Protocol):
    """Sensors, health and the event log."""

    async def sensors(self) -> tuple[Sensor, ...]: ...

    async def health(self) -> Health: ...

    async def event_log(self) -> tuple[LogEntry, ...]:
        """Return the board's event log, oldest first."""
        ...

    async def clear_event_log(self) -> None: ...


@runtime_checkable
class CanTakeInventory(Protocol):
    """What is in the machine, without starting it."""

    async def inventory(self) -> Inventory: ...


@runtime_checkable
class CanListTargets(Protocol):
    """What the board says of itself that it can be told to boot from."""

    async def boot_targets(self) -> tuple[BootTarget, ...]:
        """List it; nothing where the board does not say."""
        ...


@runtime_checkable
class CanInsertMedia(Protocol):
    """Virtual drives: boot an image with no network boot at all."""

    async def media(self) -> tuple[MediaSlot, ...]: ...

    async def insert_media(self, uri: str) -> None:
        """Put the image at `uri` into a free drive that takes CDs, and see it there."""
        ...

    async def eject_media(self) -> None:
        """Empty every drive, and see them empty."""
        ...


@runtime_checkable
class CanShowConsole(Protocol):
    """The machine's serial console."""

    async def open_console(self, *, take_over: bool = False) -> ConsoleLine:
        """Open it; `take_over` ends the console of somebody else, where there is one."""
        ...


class ConsoleLine(Protocol):
    """An open console: bytes as they come, keys as they are typed."""

    def output(self) -> AsyncIterator[bytes]:
        """Yield what the machine prints until the line is closed; raise a `BmcError` when it is lost."""
        ...

    async def type(self, keys: bytes) -> None: ...

    async def send_break(self) -> None: ...

    async def close(self) -> None: ...


@runtime_checkable
class CanManageAccounts(Protocol):
    """The BMC's users."""

    async def accounts(self) -> tuple[Account, ...]: ...

    async def create_account(self, name: str, password: str, role: Role) -> None: ...

    async def set_password(self, name: str, password: str) -> None:
        """Give an account another password, and see that the BMC takes it."""
        ...

    async def enable_account(self, name: str, *, enabled: bool) -> None: ...

    async def delete_account(self, name: str) -> None: ...


@runtime_checkable
class CanConfigureNetwork(Protocol):
    """The BMC's own network."""

    async def network(self) -> BmcNetwork: ...

    async def set_network(self, wanted: BmcNetwork) -> None:
        """Set what `wanted` gives; what is empty there stays."""
        ...


@runtime_checkable
class CanSyncTime(Protocol):
    """The BMC's clock."""

    async def time_sync(self) -> TimeSync: ...

    async def set_time_sync(self, wanted: TimeSync) -> None: ...


@runtime_checkable
class CanReplaceCertificate(Protocol):
    """The BMC's TLS certificate."""

    async def certificate(self) -> str:
        """Return the certificate that the board serves, as PEM."""
        ...

    async def request_certificate(self, names: tuple[str, ...]) -> str:
        """Have the board make a key and a signing request for these names; return it as PEM."""
        ...

    async def replace_certificate(self, pem: str) -> None: ...


@runtime_checkable
class CanSetBios(Protocol):
    """The firmware's settings."""

    async def bios(self) -> BiosSettings: ...

    async def plan_bios(self, wanted: Mapping[str, BiosValue]) -> BiosPlan:
        """Say what `set_bios` would write, and what the board does not allow."""
        ...

    async def set_bios(self, wanted: Mapping[str, BiosValue]) -> None:
        """Have these settings used from the next boot on; read back as pending."""
        ...


@runtime_checkable
class CanSetSecureBoot(Protocol):
    """UEFI Secure Boot."""

    async def secure_boot(self) -> SecureBoot: ...

    async def set_secure_boot(self, *, enabled: bool) -> None: ...

    async def reset_secure_boot_keys(self) -> None:
        """Put back the keys that the board came with."""
        ...

    async def delete_secure_boot_keys(self) -> None:
        """Take out every key: the firmware is in setup mode then."""
        ...

    async def secure_boot_keys(self) -> tuple[SecureBootKey, ...]: ...

    async def add_secure_boot_key(self, database: str, pem: str) -> None: ...

    async def delete_secure_boot_key(self, database: str, key: str) -> None: ...


@runtime_checkable
class CanUpdateFirmware(Protocol):
    """Firmware of the board and what is plugged into it."""

    async def update_firmware(self, uri: str) -> None:
        """Have the BMC fetch and install an image; return when its task has ended well."""
        ...

    async def push_firmware(self, file: Path) -> None:
        """Send an image to the BMC; return when its task has ended well."""
        ...


@runtime_checkable
class CanManageStorage(Protocol):
    """Volumes of storage controllers."""

    async def volumes(self) -> tuple[Volume, ...]: ...

    async def create_volume(self, raid: str, drives: tuple[str, ...], name: str = "") -> None: ...

    async def delete_volume(self, volume: str) -> None: ...

    async def erase_drive(self, drive: str) -> None:
        """Have the drive erase itself for good."""
        ...


@runtime_checkable
class CanShine(Protocol):
    """The light that shows which machine it is."""

    async def led(self) -> Led: ...

    async def set_led(self, wanted: Led) -> None: ...


def beyond(bmc: Bmc, verb: str) -> BmcUnsupported:
    """Make the error for a verb that the driver does not offer."""
    driver = bmc.address.driver
    return BmcUnsupported(f"{bmc.address}: {verb}: the {driver} driver cannot do this", hint="nothing was done")

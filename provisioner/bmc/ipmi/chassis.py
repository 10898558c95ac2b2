"""Chassis and application commands as bytes and values (IPMI 2.0 sections 20 and 28). No I/O."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from provisioner.bmc.verbs import Press
from provisioner.errors import (
    BmcBusy,
    BmcError,
    BmcLacking,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcTimeout,
    BmcUnsupported,
    BmcWrongState,
    WireError,
)
from provisioner.model.bmc import BootOverride, BootTarget, Power

NETFN_CHASSIS = 0x00
NETFN_APP = 0x06

GET_DEVICE_ID = 0x01
GET_SYSTEM_GUID = 0x37
GET_CHASSIS_STATUS = 0x01
CHASSIS_CONTROL = 0x02
SET_BOOT_OPTIONS = 0x08
GET_BOOT_OPTIONS = 0x09

CONTROLS = {Press.OFF: 0, Press.ON: 1, Press.CYCLE: 2, Press.RESET: 3, Press.NMI: 4, Press.SOFT_OFF: 5}
"""Table 28-4."""

DEVICES = {
    BootTarget.NONE: 0x00,
    BootTarget.PXE: 0x01,
    BootTarget.DISK: 0x02,
    BootTarget.CD: 0x05,
    BootTarget.BIOS_SETUP: 0x06,
}
"""Boot device selectors of table 28-14; HTTP boot has none."""

_TARGETS = {number: target for target, number in DEVICES.items()}

KEEP_FLAG = bytes((0x03, 0x08))
"""Parameter 3: do not drop the boot flags when no power-up follows within 60 s."""

PARAMETER_BOOT_FLAGS = 5
_VALID, _PERSISTENT, _EFI = 0x80, 0x40, 0x20

NODE_BUSY = 0xC0

_CODES: dict[int, tuple[type[BmcError], str]] = {
    NODE_BUSY: (BmcBusy, "node busy"),
    0xC1: (BmcLacking, "invalid command"),
    0xC2: (BmcUnsupported, "command invalid for this LUN"),
    0xC3: (BmcTimeout, "timeout while processing the command"),
    0xC4: (BmcBusy, "out of space"),
    0xC5: (BmcBusy, "reservation cancelled"),
    0xC7: (BmcUnsupported, "request data length invalid"),
    0xC8: (BmcUnsupported, "request data field length limit exceeded"),
    0xC9: (BmcUnsupported, "parameter out of range"),
    0xCB: (BmcUnsupported, "requested sensor, data or record not present"),
    0xCC: (BmcUnsupported, "invalid data field in request"),
    0xCD: (BmcUnsupported, "command illegal for this sensor or record"),
    0xCE: (BmcBusy, "response could not be provided"),
    0xCF: (BmcBusy, "duplicated request"),
    0xD0: (BmcBusy, "SDR repository in update mode"),
    0xD1: (BmcBusy, "device in firmware update mode"),
    0xD2: (BmcBusy, "BMC initialization in progress"),
    0xD3: (BmcUnsupported, "destination unavailable"),
    0xD4: (BmcPrivilegeError, "insufficient privilege"),
    0xD5: (BmcWrongState, "command not supported in present state"),
    0xD6: (BmcPrivilegeError, "command disabled"),
    0xFF: (BmcError, "unspecified error"),
}
"""Completion codes of table 5-2: what the caller can do about it, and the words of the table."""


@dataclass(frozen=True, slots=True)
class Device:
    """The answer to Get Device ID: numbers that quirks are matched on, and the firmware's version."""

    manufacturer: int
    product: int
    firmware: str


def refusal(where: str, code: int) -> BmcError:
    """Make the error for a completion code that is not zero."""
    kind, words = _CODES.get(code, (BmcProtocolError, "not a code of IPMI table 5-2"))
    if 0x80 <= code <= 0xBE:
        kind, words = BmcUnsupported, "a code of this command's own"
    return kind(f"{where}: the BMC answered completion code 0x{code:02x}, {words}")


def boot_flags(target: BootTarget, *, once: bool, uefi: bool | None) -> bytes:
    """Write parameter 5 of Set System Boot Options (table 28-14). NONE clears the flags."""
    if target not in DEVICES:
        raise BmcUnsupported(f"IPMI has no boot device {target}", hint="use Redfish, or boot by pxe")
    if target is BootTarget.NONE:
        return bytes((PARAMETER_BOOT_FLAGS, 0, 0, 0, 0, 0))
    flags = _VALID | (0 if once else _PERSISTENT) | (_EFI if uefi else 0)
    return bytes((PARAMETER_BOOT_FLAGS, flags, DEVICES[target] << 2, 0, 0, 0))


def read_boot_flags(data: bytes) -> BootOverride:
    """Read the answer to Get System Boot Options for parameter 5."""
    if len(data) < 5 or data[1] & 0x7F != PARAMETER_BOOT_FLAGS:
        raise WireError(f"not boot flags: {data.hex(' ') or 'nothing'}")
    invalid, flags, device = data[1] & 0x80, data[2], data[3] >> 2 & 0x0F
    if invalid or not flags & _VALID or device == 0:
        return BootOverride(BootTarget.NONE, once=False)
    if device not in _TARGETS:
        raise WireError(f"boot device selector {device} has no meaning to us")
    return BootOverride(_TARGETS[device], once=not flags & _PERSISTENT, uefi=bool(flags & _EFI))


def read_efi(data: bytes) -> bool:
    """Read from the same answer whether boots are those of UEFI, also where the flags are spent."""
    return len(data) >= 3 and data[1] & 0x7F == PARAMETER_BOOT_FLAGS and bool(data[2] & _EFI)


def read_power(data: bytes) -> Power:
    """Read the answer to Get Chassis Status (table 28-3)."""
    if not data:
        raise WireError("chassis status is empty")
    return Power.ON if data[0] & 1 else Power.OFF


def read_device(data: bytes) -> Device:
    """Read the answer to Get Device ID (table 20-2)."""
    if len(data) < 11:
        raise WireError(f"device id has {len(data)} of at least 11 bytes")
    return Device(
        manufacturer=int.from_bytes(data[6:9], "little") & 0xFFFFF,
        product=int.from_bytes(data[9:11], "little"),
        firmware=f"{data[2] & 0x7F}.{data[3]:02x}",
    )


def read_guid(data: bytes) -> str:
    """Read a system GUID as Linux prints it; empty where the board has none.

    Boards disagree on the byte order: SMBIOS's, IPMI's own (all sixteen octets reversed, section 20.8) or plain. The
    one that yields a version and variant that RFC 9562 knows is taken, in this order.
    """
    if len(data) < 16 or len(set(data[:16])) == 1:
        return ""
    raw = bytes(data[:16])
    orders = (uuid.UUID(bytes_le=raw), uuid.UUID(bytes=raw[::-1]), uuid.UUID(bytes=raw))
    for guess in orders:
        if guess.variant == uuid.RFC_4122 and guess.version in range(1, 9):
            return str(guess)
    return str(orders[0])

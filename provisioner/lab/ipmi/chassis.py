"""Chassis commands (IPMI v2.0 chapter 28). No I/O."""

from __future__ import annotations

from provisioner.lab.board import Role
from provisioner.lab.chassis import Lifetime, Mode, Override, Verb
from provisioner.lab.faults import Fault
from provisioner.lab.hardware import BootChoice
from provisioner.lab.ipmi.call import Call, Table
from provisioner.lab.ipmi.message import Code, NetFn, Refused
from provisioner.model.bmc import BootTarget, Power

CONTROLS = {0: Verb.OFF, 1: Verb.ON, 2: Verb.CYCLE, 3: Verb.RESET, 4: Verb.NMI, 5: Verb.SOFT_OFF}
DEVICES = {
    0b0000: BootTarget.NONE,
    0b0001: BootTarget.PXE,
    0b0010: BootTarget.DISK,
    0b0101: BootTarget.CD,
    0b0110: BootTarget.BIOS_SETUP,
}
SELECTORS = {target: selector for selector, target in DEVICES.items()} | {BootTarget.HTTP: 0b0001}
"""IPMI cannot say HTTP boot: an override that Redfish set to it reads as network."""

VALID = 0x80
PERSISTENT = 0x40
EFI = 0x20
BOOT_FLAGS = 5
KEPT_SIZES = {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 6: 9, 7: 3}
"""Boot option parameters (table 28-14) that the board only keeps, and their sizes."""


def capabilities(call: Call) -> bytes:
    return bytes((0x00, 0x20, 0x20, 0x20, 0x20))


def status(call: Call) -> bytes:
    """Power, last power event and the locate LED (table 28-3)."""
    power = 0x01 if call.board.chassis.reading is Power.ON else 0x00
    by_command = 0x10 if call.board.chassis.last_cause is Verb.ON else 0x00
    identify = 0x40 | (0x10 if call.board.locating else 0x00)
    return bytes((power, by_command, identify))


def control(call: Call) -> bytes:
    """Power verbs. The board answers at once and then acts (section 28.3)."""
    verb = CONTROLS.get(call.byte(0) & 0x0F)
    if verb is None:
        raise Refused(Code.INVALID_FIELD)
    chassis = call.board.chassis
    if chassis.refuses(verb):
        raise Refused(Code.WRONG_STATE)
    if chassis.is_busy:
        raise Refused(Code.BUSY)
    chassis.request(verb)
    return b""


def identify(call: Call) -> bytes:
    """The locate LED: an interval of 0 seconds turns it off (section 28.5)."""
    call.board.locating = bool(call.byte(0, 15)) or bool(call.byte(1, 0) & 1)
    return b""


def restart_cause(call: Call) -> bytes:
    return bytes((0x01 if call.board.chassis.last_cause else 0x00, call.caller.channel))


def set_boot_options(call: Call) -> bytes:
    """Section 28.12; parameter 5 is the boot device."""
    parameter = call.byte(0) & 0x7F
    if parameter == BOOT_FLAGS:
        if len(call.data) > 1:
            _set_flags(call)
    elif parameter in KEPT_SIZES:
        call.board.parameters["boot", parameter] = call.data[1 : 1 + KEPT_SIZES[parameter]]
    else:
        raise Refused(Code.NOT_FOUND)
    return b""


def _set_flags(call: Call) -> None:
    flags, device = call.bytes_from(1, 5)[:2]
    target = DEVICES.get(device >> 2 & 0x0F)
    if target is None or target not in call.board.chassis.hardware.targets:
        raise Refused(Code.INVALID_FIELD)
    lifetime = Lifetime.CONTINUOUS if flags & PERSISTENT else Lifetime.ONCE
    if not flags & VALID or target is BootTarget.NONE:
        lifetime = Lifetime.DISABLED
    mode = Mode.UEFI if flags & EFI else Mode.LEGACY
    call.board.chassis.set_override(Override(BootChoice(target), lifetime, mode))


def get_boot_options(call: Call) -> bytes:
    parameter = call.byte(0) & 0x7F
    if parameter == BOOT_FLAGS:
        is_hidden = call.board.faults.on(Fault.FLAGS_UNREADABLE)
        return bytes((1, parameter)) + (bytes(5) if is_hidden else _flags(call.board.chassis.override))
    if parameter not in KEPT_SIZES:
        raise Refused(Code.NOT_FOUND)
    kept = call.board.parameters.get(("boot", parameter), b"")
    return bytes((1, parameter)) + kept.ljust(KEPT_SIZES[parameter], b"\0")


def _flags(override: Override) -> bytes:
    flags = EFI if override.mode is Mode.UEFI else 0
    if override.lifetime is not Lifetime.DISABLED:
        flags |= VALID
    if override.lifetime is Lifetime.CONTINUOUS:
        flags |= PERSISTENT
    return bytes((flags, SELECTORS[override.next_boot().target] << 2, 0, 0, 0))


TABLE: Table = {
    (NetFn.CHASSIS, 0x00): (Role.USER, capabilities),
    (NetFn.CHASSIS, 0x01): (Role.USER, status),
    (NetFn.CHASSIS, 0x02): (Role.OPERATOR, control),
    (NetFn.CHASSIS, 0x04): (Role.OPERATOR, identify),
    (NetFn.CHASSIS, 0x07): (Role.USER, restart_cause),
    (NetFn.CHASSIS, 0x08): (Role.OPERATOR, set_boot_options),
    (NetFn.CHASSIS, 0x09): (Role.OPERATOR, get_boot_options),
}

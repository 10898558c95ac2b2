"""Chassis commands byte by byte; the expected bytes are those that `ipmitool -vv` shows and the tables give."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.ipmi import chassis
from provisioner.errors import (
    BmcBusy,
    BmcError,
    BmcLacking,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcUnsupported,
    BmcWrongState,
    WireError,
)
from provisioner.model.bmc import BootOverride, BootTarget, Power

FLAGS = {
    "pxe once": (BootTarget.PXE, True, None, "05 80 04 00 00 00"),
    "pxe once, EFI": (BootTarget.PXE, True, True, "05 a0 04 00 00 00"),
    "disk for ever": (BootTarget.DISK, False, None, "05 c0 08 00 00 00"),
    "disk for ever, EFI": (BootTarget.DISK, False, True, "05 e0 08 00 00 00"),
    "cd once, legacy": (BootTarget.CD, True, False, "05 80 14 00 00 00"),
    "setup once": (BootTarget.BIOS_SETUP, True, None, "05 80 18 00 00 00"),
    "nothing": (BootTarget.NONE, True, True, "05 00 00 00 00 00"),
}


@pytest.mark.parametrize(("target", "once", "uefi", "octets"), FLAGS.values(), ids=FLAGS.keys())
def test_boot_flags(target: BootTarget, once: bool, uefi: bool | None, octets: str) -> None:
    assert chassis.boot_flags(target, once=once, uefi=uefi) == bytes.fromhex(octets)


def test_http_boot_has_no_flag() -> None:
    with pytest.raises(BmcUnsupported):
        chassis.boot_flags(BootTarget.HTTP, once=True, uefi=True)


READ = {
    "pxe once": ("01 05 80 04 00 00 00", BootOverride(BootTarget.PXE, once=True, uefi=False)),
    "disk for ever, EFI": ("01 05 e0 08 00 00 00", BootOverride(BootTarget.DISK, once=False, uefi=True)),
    "marked invalid by the parameter": ("01 85 80 04 00 00 00", BootOverride(BootTarget.NONE, once=False)),
    "flag not valid": ("01 05 00 04 00 00 00", BootOverride(BootTarget.NONE, once=False)),
    "no override": ("01 05 80 00 00 00 00", BootOverride(BootTarget.NONE, once=False)),
    "short but enough": ("01 05 80 18 00", BootOverride(BootTarget.BIOS_SETUP, once=True, uefi=False)),
}


@pytest.mark.parametrize(("octets", "override"), READ.values(), ids=READ.keys())
def test_read_boot_flags(octets: str, override: BootOverride) -> None:
    assert chassis.read_boot_flags(bytes.fromhex(octets)) == override


EFI = {
    "UEFI": ("01 05 e0 08 00 00 00", True),
    "BIOS": ("01 05 c0 08 00 00 00", False),
    "UEFI, spent": ("01 05 20 00 00 00 00", True),
    "another parameter": ("01 03 20 00 00 00 00", False),
    "too short": ("01 05", False),
}


@pytest.mark.parametrize(("octets", "is_efi"), EFI.values(), ids=EFI.keys())
def test_read_efi(octets: str, is_efi: bool) -> None:
    assert chassis.read_efi(bytes.fromhex(octets)) is is_efi


@pytest.mark.parametrize("octets", ["", "01", "01 05 80 04", "01 03 80 04 00 00 00", "01 05 80 3c 00 00 00"])
def test_what_are_no_boot_flags(octets: str) -> None:
    with pytest.raises(WireError):
        chassis.read_boot_flags(bytes.fromhex(octets))


@given(st.sampled_from(sorted(chassis.DEVICES)), st.booleans(), st.booleans())
def test_flags_read_back_as_written(target: BootTarget, once: bool, uefi: bool) -> None:
    written = chassis.boot_flags(target, once=once, uefi=uefi)
    got = chassis.read_boot_flags(b"\x01" + written)
    assert got.target is target
    if target is not BootTarget.NONE:
        assert (got.once, got.uefi) == (once, uefi)


DECODERS = (chassis.read_boot_flags, chassis.read_power, chassis.read_device, chassis.read_guid)


@given(st.binary(max_size=40), st.sampled_from(DECODERS))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes, decode: object) -> None:
    assert callable(decode)
    with contextlib.suppress(WireError):
        decode(data)


def test_power() -> None:
    assert chassis.read_power(bytes.fromhex("21 10 40 54")) is Power.ON
    assert chassis.read_power(bytes.fromhex("20 10 40 54")) is Power.OFF


def test_device_id() -> None:
    device = chassis.read_device(bytes.fromhex("20 81 03 45 02 bf a2 02 00 01 01 00 00 00 00"))
    assert (device.manufacturer, device.product, device.firmware) == (674, 257, "3.45")


SYSTEM = "4c4c4544-0042-3310-8052-b7c04f4d3132"
ORDERS = {
    "as SMBIOS has it": (uuid.UUID(SYSTEM).bytes_le, SYSTEM),
    "reversed, as IPMI has it": (
        uuid.UUID("12345678-1234-4234-9234-123456789abc").bytes[::-1],
        "12345678-1234-4234-9234-123456789abc",
    ),
    "plain": (uuid.UUID("12345678-9abc-4def-8123-456789abcdef").bytes, "12345678-9abc-4def-8123-456789abcdef"),
    "all zero is none": (bytes(16), ""),
    "all ones is none": (b"\xff" * 16, ""),
    "short": (b"\x01" * 8, ""),
}


@pytest.mark.parametrize(("octets", "guid"), ORDERS.values(), ids=ORDERS.keys())
def test_guid(octets: bytes, guid: str) -> None:
    assert chassis.read_guid(octets) == guid


REFUSALS = {
    "busy": (0xC0, BmcBusy),
    "invalid command": (0xC1, BmcLacking),
    "invalid data": (0xCC, BmcUnsupported),
    "privilege": (0xD4, BmcPrivilegeError),
    "present state": (0xD5, BmcWrongState),
    "unspecified": (0xFF, BmcError),
    "its own": (0x80, BmcUnsupported),
    "not in the table": (0x42, BmcProtocolError),
}


@pytest.mark.parametrize(("code", "kind"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal(code: int, kind: type[BmcError]) -> None:
    error = chassis.refusal("ipmi://a@b:623: power.on", code)
    assert type(error) is kind
    assert f"0x{code:02x}" in error.message

"""What each command answers, changes and refuses."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.lab.board import Account, Role
from provisioner.lab.chassis import Lifetime, Mode, Override
from provisioner.lab.hardware import BootChoice
from provisioner.lab.ipmi.call import GUEST, LAN_CHANNEL, SYSTEM_CHANNEL, Caller
from provisioner.lab.ipmi.commands import COMMANDS, respond
from provisioner.lab.ipmi.message import Code, Request, Response, checksum
from provisioner.model.bmc import BootTarget
from tests.lab.boards import Rig

CHASSIS, SENSOR, APP, STORAGE, TRANSPORT = 0x00, 0x04, 0x06, 0x0A, 0x0C
PXE, DISK = BootChoice(BootTarget.PXE), BootChoice(BootTarget.DISK)


def admin() -> Caller:
    return Caller(LAN_CHANNEL, Role.ADMINISTRATOR, Role.ADMINISTRATOR, session=7)


def ask(rig: Rig, netfn: int, command: int, data: str = "", caller: Caller | None = None) -> Response:
    request = Request(netfn, command, bytes.fromhex(data))
    return respond(request, rig.board, caller or admin(), 1_700_000_000.0, {})


ANSWERS = {
    "device id": (APP, 0x01, "", "2081 01 04 02 8f d97e00 0100"),
    "self-test": (APP, 0x04, "", "5500"),
    "system GUID in SMBIOS order": (APP, 0x37, "", "77000000 0000 0040 8000 000000000017"),
    "authentication: RMCP+ only": (APP, 0x38, "8e04", "01 80 04 02 00000000"),
    "authentication asked the old way": (APP, 0x38, "0e04", "01 00 04 00 00000000"),
    "cipher suites 3 and 17": (APP, 0x54, "0e0080", "01 c003014181 c011034481"),
    "the second slice of them is empty": (APP, 0x54, "0e0081", "01"),
    "channel info: LAN": (APP, 0x42, "0e", "01 04 01 80 f21b00 0000"),
    "channel info: system interface": (APP, 0x42, "0f", "0f 0c 05 00 f21b00 0000"),
    "channel access": (APP, 0x41, "0140", "0204"),
    "user access": (APP, 0x44, "0102", "0a 41 00 34"),
    "user name": (APP, 0x46, "02", "61646d696e" + "00" * 11),
    "payload support": (APP, 0x4E, "01", "03" + "00" * 7),
    "present privilege": (APP, 0x3B, "00", "04"),
    "chassis status: off": (CHASSIS, 0x01, "", "00 00 40"),
    "boot flags: nothing set": (CHASSIS, 0x09, "050000", "0105 0000000000"),
    "a kept boot parameter reads as zero at first": (CHASSIS, 0x09, "030000", "0103 00"),
    "LAN: address": (TRANSPORT, 0x02, "01030000", "11 7f000001"),
    "LAN: MAC": (TRANSPORT, 0x02, "01050000", "11 525400780017"),
    "LAN: static": (TRANSPORT, 0x02, "01040000", "11 01"),
    "SOL: enabled": (TRANSPORT, 0x22, "01010000", "11 01"),
    "sensor reading while off": (SENSOR, 0x2D, "01", "16 c0 c0 80"),
    "SEL: empty": (STORAGE, 0x40, "", "51 0000 ffff 00000000 00000000 02"),
    "SEL time": (STORAGE, 0x48, "", "00f15365"),
    "FRU: size": (STORAGE, 0x10, "00", "c000 00"),
}


@pytest.mark.parametrize(("netfn", "command", "data", "wanted"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answers(netfn: int, command: int, data: str, wanted: str) -> None:
    assert ask(Rig(), netfn, command, data) == Response(Code.OK, bytes.fromhex(wanted))


REFUSED = {
    "an unknown command": (APP, 0xFE, "", Code.INVALID_COMMAND),
    "an unknown network function": (0x2C, 0x01, "", Code.INVALID_COMMAND),
    "a request that is too short": (CHASSIS, 0x02, "", Code.LENGTH),
    "an unknown power verb": (CHASSIS, 0x02, "0f", Code.INVALID_FIELD),
    "power cycle while off": (CHASSIS, 0x02, "02", Code.WRONG_STATE),
    "reset while off": (CHASSIS, 0x02, "03", Code.WRONG_STATE),
    "an unknown boot parameter": (CHASSIS, 0x08, "7e00", Code.NOT_FOUND),
    "an unknown boot device": (CHASSIS, 0x08, "05803c000000", Code.INVALID_FIELD),
    "boot flags that are cut off": (CHASSIS, 0x08, "058004", Code.LENGTH),
    "a channel that is not there": (APP, 0x42, "05", Code.INVALID_FIELD),
    "a user that is not there": (APP, 0x44, "013f", Code.INVALID_FIELD),
    "the name of another user": (APP, 0x45, "03" + b"admin".hex().ljust(32, "0"), Code.INVALID_FIELD),
    "a LAN parameter that is not there": (TRANSPORT, 0x02, "01c00000", Code.NOT_FOUND),
    "a LAN parameter that is read-only": (TRANSPORT, 0x01, "0105000000000000", Code.READ_ONLY),
    "a record that is not there": (STORAGE, 0x43, "0000 0900 00ff", Code.NO_SUCH_RECORD),
    "a sensor that is not there": (SENSOR, 0x2D, "63", Code.NO_SUCH_RECORD),
    "SOL on a payload that is not there": (APP, 0x48, "0201", Code.INVALID_FIELD),
    "deactivating what is not active": (APP, 0x49, "0101", Code.NOT_FOUND),
    "a password test that fails": (APP, 0x47, "0203" + "00" * 16, 0x80),
    "closing another session": (APP, 0x3C, "01020304", 0x87),
}


@pytest.mark.parametrize(("netfn", "command", "data", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(netfn: int, command: int, data: str, code: int) -> None:
    assert ask(Rig(), netfn, command, data) == Response(code)


FLAGS = {
    "pxe, once, EFI": ("a0 04 000000", Override(PXE, Lifetime.ONCE, Mode.UEFI), "a004000000"),
    "disk, always, legacy": ("c0 08 000000", Override(DISK, Lifetime.CONTINUOUS, Mode.LEGACY), "c008000000"),
    "setup": ("80 18 000000", Override(BootChoice(BootTarget.BIOS_SETUP), Lifetime.ONCE, Mode.LEGACY), "8018000000"),
    "not valid": ("00 04 000000", Override(PXE, Lifetime.DISABLED, Mode.LEGACY), "0000000000"),
    "no override": (
        "80 00 000000",
        Override(BootChoice(BootTarget.NONE), Lifetime.DISABLED, Mode.LEGACY),
        "0000000000",
    ),
}


@pytest.mark.parametrize(("data", "override", "read"), FLAGS.values(), ids=FLAGS.keys())
def test_boot_flags(data: str, override: Override, read: str) -> None:
    rig = Rig()
    assert ask(rig, CHASSIS, 0x08, f"05 {data}") == Response(Code.OK)
    assert rig.chassis.override == override
    assert ask(rig, CHASSIS, 0x09, "050000").data[2:].hex() == read


def test_http_reads_as_network() -> None:
    rig = Rig()
    rig.chassis.set_override(Override(BootChoice(BootTarget.HTTP), Lifetime.ONCE, Mode.UEFI))
    assert ask(rig, CHASSIS, 0x09, "050000").data[2:].hex() == "a004000000"


def test_a_device_that_the_firmware_cannot_boot_is_refused() -> None:
    rig = Rig(targets=frozenset({BootTarget.DISK}))
    assert ask(rig, CHASSIS, 0x08, "05 80 04 000000") == Response(Code.INVALID_FIELD)
    assert rig.chassis.override == Override()


def test_locate_led() -> None:
    rig = Rig()
    ask(rig, CHASSIS, 0x04, "0f")
    assert ask(rig, CHASSIS, 0x01).data[2] == 0x50
    ask(rig, CHASSIS, 0x04, "00")
    assert ask(rig, CHASSIS, 0x01).data[2] == 0x40


def test_a_new_user_may_log_in() -> None:
    rig = Rig()
    name = b"operator".ljust(16, b"\0").hex()
    for command, data in ((0x45, f"03{name}"), (0x47, "8302" + b"pw".ljust(20, b"\0").hex()), (0x43, "910304 00")):
        assert ask(rig, APP, command, data).code == Code.OK
    assert rig.board.accounts.named("operator") is None, "not enabled yet"
    ask(rig, APP, 0x47, "0301")
    assert rig.board.accounts.named("operator") == Account(3, "operator", "pw", Role.ADMINISTRATOR, enabled=True)
    assert ask(rig, APP, 0x47, "0303" + b"pw".ljust(16, b"\0").hex()).code == Code.OK
    ask(rig, APP, 0x47, "0300")
    assert rig.board.accounts.named("operator") is None


def test_what_is_set_is_shown() -> None:
    rig = Rig()
    assert ask(rig, TRANSPORT, 0x01, "01030a4d0111").code == Code.OK
    assert ask(rig, TRANSPORT, 0x02, "01030000").data.hex() == "110a4d0111"
    assert ask(rig, TRANSPORT, 0x21, "010200").code == Code.OK
    assert ask(rig, TRANSPORT, 0x22, "01020000").data.hex() == "1100"
    assert ask(rig, CHASSIS, 0x08, "0308").code == Code.OK
    assert ask(rig, CHASSIS, 0x09, "030000").data.hex() == "010308"


def test_event_log_is_read_in_order_and_cleared() -> None:
    rig = Rig()
    for what in ("power on", "boot: pxe", "power off"):
        rig.chassis.note(what)
    first = ask(rig, STORAGE, 0x43, "0000 0000 00ff").data
    assert (first[:2].hex(), len(first)) == ("0200", 18)
    assert ask(rig, STORAGE, 0x43, "0000 ffff 00ff").data[:4].hex() == "ffff0300"
    assert ask(rig, STORAGE, 0x43, "0000 0200 0004").data.hex() == "0300" + "020002" + "00"
    assert ask(rig, STORAGE, 0x47, "0100 434c52 aa").code == Code.OK
    assert ask(rig, STORAGE, 0x40).data[1:3] == b"\0\0"


def test_sensor_records_are_read_in_order() -> None:
    rig = Rig()
    number, names = 0, []
    while number != 0xFFFF:
        data = ask(rig, STORAGE, 0x23, f"0000 {number.to_bytes(2, 'little').hex()} 00ff").data
        number = int.from_bytes(data[:2], "little")
        assert len(data) == 2 + 5 + data[6]
        names.append(data[2 + 48 :].decode())
    assert names == [sensor.name for sensor in rig.board.sensors]


def test_the_label_has_checksums() -> None:
    rig = Rig()
    label = b"".join(
        ask(rig, STORAGE, 0x11, f"00{at.to_bytes(2, 'little').hex()}20").data[1:] for at in range(0, 192, 32)
    )
    assert checksum(label[:7]) == label[7]
    for area in label[2:5]:
        size = label[area * 8 + 1] * 8
        assert sum(label[area * 8 : area * 8 + size]) & 0xFF == 0
    assert b"LAB0017" in label


def test_the_guest_may_do_everything_on_its_own_channel() -> None:
    guest = Caller(SYSTEM_CHANNEL, GUEST, GUEST)
    assert ask(Rig(), APP, 0x42, "0e", guest).data[0] == SYSTEM_CHANNEL
    assert ask(Rig(), CHASSIS, 0x02, "01", guest).code == Code.OK


@hypothesis.given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=32))
def test_any_data_is_answered(which: tuple[int, int], data: bytes) -> None:
    response = respond(Request(*which, data), Rig().board, admin(), 0.0, {})
    assert 0 <= response.code <= 0xFF
    assert len(response.data) < 255

"""Event log, sensor records, sensor readings and the label (IPMI v2.0 chapters 31 to 35; FRU format 1.1). No I/O."""

from __future__ import annotations

from provisioner.lab.board import Board, Role, Sensor
from provisioner.lab.chassis import Event
from provisioner.lab.ipmi.call import Call, Table, little
from provisioner.lab.ipmi.message import BMC, Code, NetFn, Refused, checksum

VERSION = 0x51
LAST = 0xFFFF
RESERVATION = b"\x01\x00"
UNITS = {"C": 1, "RPM": 18, "W": 6}
SENSOR_TYPES = {"C": 0x01, "RPM": 0x04, "W": 0x0B}
FACTORS = {"RPM": 100}
"""A reading has one byte: fans are counted in hundreds."""
SYSTEM_BOOT = 0x1D
POWER_UNIT = 0x09
"""Offset 0 asserted is "power off", deasserted the end of it (table 42-3)."""
DEASSERTED = 0x80
SENSOR_SPECIFIC = 0x6F


def _entry(event: Event) -> bytes:
    """A SEL record of type 2 (table 32-1)."""
    kind = SYSTEM_BOOT if event.what.startswith("boot") else POWER_UNIT
    direction = DEASSERTED if event.what == "power on" else 0
    head = little(event.number, 2) + b"\x02" + little(int(event.at), 4)
    return head + bytes((BMC, 0, 0x04, kind, 0, direction | SENSOR_SPECIFIC, 0, 0xFF, 0xFF))


def sel_info(call: Call) -> bytes:
    events = call.board.chassis.events
    newest = int(events[-1].at) if events else 0
    return bytes((VERSION,)) + little(len(events), 2) + little(0xFFFF, 2) + little(newest, 4) + bytes(4) + b"\x02"


def sel_reserve(call: Call) -> bytes:
    return RESERVATION


def sel_entry(call: Call) -> bytes:
    """One record and the number of the next; 0 is the first, FFFFh the last."""
    events = list(call.board.chassis.events)
    wanted = int.from_bytes(call.bytes_from(2, 2), "little")
    at = _find([event.number for event in events], wanted)
    following = events[at + 1].number if at + 1 < len(events) else LAST
    return little(following, 2) + _slice(_entry(events[at]), call.byte(4, 0), call.byte(5, 0xFF))


def _find(numbers: list[int], wanted: int) -> int:
    if numbers and wanted in (0, LAST):
        return 0 if wanted == 0 else len(numbers) - 1
    if wanted not in numbers:
        raise Refused(Code.NO_SUCH_RECORD)
    return numbers.index(wanted)


def _slice(record: bytes, offset: int, count: int) -> bytes:
    if offset > len(record):
        raise Refused(Code.INVALID_FIELD)
    return record[offset:] if count == 0xFF else record[offset : offset + count]


def sel_clear(call: Call) -> bytes:
    if call.bytes_from(2, 3) != b"CLR":
        raise Refused(Code.INVALID_FIELD)
    if call.byte(5) == 0xAA:
        call.board.chassis.events.clear()
    return b"\x01"


def sel_time(call: Call) -> bytes:
    return little(int(call.now), 4)


def accept(call: Call) -> bytes:
    return b""


def sdr_info(call: Call) -> bytes:
    return bytes((VERSION,)) + little(len(call.board.sensors), 2) + little(0xFFFF, 2) + bytes(8) + b"\x22"


def sdr_reserve(call: Call) -> bytes:
    return RESERVATION


def sdr_record(call: Call) -> bytes:
    sensors = call.board.sensors
    at = _find([sensor.number for sensor in sensors], int.from_bytes(call.bytes_from(2, 2), "little"))
    following = sensors[at + 1].number if at + 1 < len(sensors) else LAST
    return little(following, 2) + _slice(_full_record(sensors[at]), call.byte(4), call.byte(5))


def _full_record(sensor: Sensor) -> bytes:
    """A full sensor record (table 43-1): linear, reading = byte x factor."""
    factor = FACTORS.get(sensor.unit, 1)
    key = bytes((BMC, 0, sensor.number))
    entity = bytes((0x07, 0x01, 0x7F, 0x68, SENSOR_TYPES[sensor.unit], 0x01))
    masks = bytes.fromhex("957a 957a 1b1b".replace(" ", ""))
    units = bytes((0x00, UNITS[sensor.unit], 0))
    formula = bytes((0, factor, 0, 0, 0, 0, 0))
    nominal = bytes((0x07, sensor.on, sensor.high, sensor.low, 0xFF, 0))
    limits = bytes((0xFF, sensor.high, sensor.high, 0, sensor.low, sensor.low, 1, 1))
    name = sensor.name.encode()
    body = key + entity + masks + units + formula + nominal + limits + bytes(3) + bytes((0xC0 | len(name),)) + name
    return little(sensor.number, 2) + bytes((VERSION, 0x01, len(body))) + body


def _sensor(call: Call) -> Sensor:
    found = next((sensor for sensor in call.board.sensors if sensor.number == call.byte(0)), None)
    if found is None:
        raise Refused(Code.NO_SUCH_RECORD)
    return found


def reading(call: Call) -> bytes:
    return bytes((call.board.reading(_sensor(call)), 0xC0, 0xC0, 0x80))


def thresholds(call: Call) -> bytes:
    sensor = _sensor(call)
    return bytes((0b00010010, 0, sensor.low, 0, 0, sensor.high, 0))


def fru_info(call: Call) -> bytes:
    return little(len(_label(call.board)), 2) + b"\x00"


def fru_read(call: Call) -> bytes:
    if call.byte(0):
        raise Refused(Code.NO_SUCH_RECORD)
    start = int.from_bytes(call.bytes_from(1, 2), "little")
    part = _slice(_label(call.board), start, min(call.byte(3), 0xFE))
    return bytes((len(part),)) + part


def _label(board: Board) -> bytes:
    """FRU 0: common header, chassis area, board area, product area."""
    identity = board.chassis.hardware.identity
    chassis = _area(b"\x17", [identity.model, identity.serial])
    main = _area(b"\x00\x00\x00\x00", [identity.vendor, identity.model, identity.serial, identity.model, ""])
    product = _area(b"\x00", [identity.vendor, identity.model, identity.model, "1", identity.serial, "", ""])
    starts = [1, 1 + len(chassis) // 8, 1 + (len(chassis) + len(main)) // 8]
    header = bytes((1, 0, *starts, 0, 0))
    return header + bytes((checksum(header),)) + chassis + main + product


def _area(head: bytes, texts: list[str]) -> bytes:
    fields = b"".join(bytes((0xC0 | len(text),)) + text.encode() for text in texts)
    size = -(-(2 + len(head) + len(fields) + 2) // 8)
    area = (bytes((1, size)) + head + fields + b"\xc1").ljust(size * 8 - 1, b"\0")
    return area + bytes((checksum(area),))


TABLE: Table = {
    (NetFn.SENSOR, 0x27): (Role.USER, thresholds),
    (NetFn.SENSOR, 0x2D): (Role.USER, reading),
    (NetFn.STORAGE, 0x10): (Role.USER, fru_info),
    (NetFn.STORAGE, 0x11): (Role.USER, fru_read),
    (NetFn.STORAGE, 0x20): (Role.USER, sdr_info),
    (NetFn.STORAGE, 0x22): (Role.USER, sdr_reserve),
    (NetFn.STORAGE, 0x23): (Role.USER, sdr_record),
    (NetFn.STORAGE, 0x40): (Role.USER, sel_info),
    (NetFn.STORAGE, 0x42): (Role.USER, sel_reserve),
    (NetFn.STORAGE, 0x43): (Role.USER, sel_entry),
    (NetFn.STORAGE, 0x47): (Role.OPERATOR, sel_clear),
    (NetFn.STORAGE, 0x48): (Role.USER, sel_time),
    (NetFn.STORAGE, 0x49): (Role.OPERATOR, accept),
}

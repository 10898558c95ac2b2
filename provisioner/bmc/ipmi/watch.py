"""Sensors, health, event log, parts and the light by IPMI."""

from __future__ import annotations

import asyncio

from provisioner.bmc.ipmi import chassis
from provisioner.bmc.ipmi.base import READ_S, IpmiBoard, board_of, unexpected
from provisioner.bmc.ipmi.messages import EventRow, PartRow, Row, Rows, SensorRow, Study, Subject
from provisioner.bmc.table import VERBS
from provisioner.errors import BmcError, BmcProtocolError, BmcUnsupported
from provisioner.model.bmc import BmcIdentity
from provisioner.model.board import Health, Inventory, Led, LogEntry, Sensor
from provisioner.model.facts import Facts
from provisioner.model.uuids import spellings

STUDY_S = 60.0
NETFN_STORAGE = 0x0A
RESERVE_SEL, CLEAR_SEL, SEL_INFO = 0x42, 0x47, 0x40
IDENTIFY = 0x04
CLEAR_START, CLEAR_STATUS = 0xAA, 0x00
_ERASED = 1
FIRST_LOOK_S, LONGEST_LOOK_S = 0.25, 5.0
"""Pauses between looks at an erase that goes on (section 31.9): boards take a second and more."""


class WatchVerbs(IpmiBoard):
    """What the board measures, remembers and is made of."""

    async def identify(self) -> BmcIdentity:
        """Ask for device id, system GUID and, where the board has them, the names in its part records."""
        found = board_of(await self.device())
        return BmcIdentity(await self._guid(), found.vendor, found.model, await self._serial(), found.firmware)

    async def whose(self) -> BmcIdentity:
        """The system GUID, and the serial number where there is none: that takes hundreds of requests."""
        guid = await self._guid()
        return BmcIdentity(guid) if spellings(guid) else BmcIdentity(guid, serial=await self._serial())

    async def _guid(self) -> str:
        try:
            return chassis.read_guid(await self.ask("system guid", chassis.NETFN_APP, chassis.GET_SYSTEM_GUID))
        except BmcUnsupported:
            return ""

    async def _serial(self) -> str:
        try:
            parts = await self._study("identify", Subject.PARTS)
        except BmcError:
            return ""
        first = next((row.fields for row in parts if isinstance(row, PartRow)), {})
        return first.get("Serial Number") or first.get("Chassis serial number") or first.get("Board serial number", "")

    async def sensors(self) -> tuple[Sensor, ...]:
        """Read every sensor of the board's records."""
        rows = await self._study("sensors.read", Subject.SENSORS)
        return tuple(_sensor(row) for row in rows if isinstance(row, SensorRow))

    async def health(self) -> Health:
        """Return the worst that a sensor says."""
        levels = [sensor.health for sensor in await self.sensors()]
        order = (Health.CRITICAL, Health.WARNING, Health.OK)
        return next((level for level in order if level in levels), Health.UNKNOWN)

    async def event_log(self) -> tuple[LogEntry, ...]:
        """Return the system event log, oldest first."""
        rows = await self._study("log.read", Subject.EVENTS)
        return tuple(_entry(row) for row in rows if isinstance(row, EventRow))

    async def clear_event_log(self) -> None:
        """Clear the log under a reservation, and see it (nearly) empty: boards note that it was cleared."""
        verb = "log.clear"
        asked = (await self.ask(verb, NETFN_STORAGE, RESERVE_SEL))[:2] + b"CLR"
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + VERBS[verb].end_s, FIRST_LOOK_S
        progress = await self.ask(verb, NETFN_STORAGE, CLEAR_SEL, asked + bytes((CLEAR_START,)))
        while progress and progress[0] & 0x0F != _ERASED and clock() < deadline:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_LOOK_S)
            progress = await self.ask(verb, NETFN_STORAGE, CLEAR_SEL, asked + bytes((CLEAR_STATUS,)))
        info = await self.ask(verb, NETFN_STORAGE, SEL_INFO)
        if len(info) < 3 or int.from_bytes(info[1:3], "little") > 1:
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but the log still has entries")

    async def inventory(self) -> Inventory:
        """Return what the part records say: IPMI knows no processors, ports or drives."""
        rows = await self._study("inventory.read", Subject.PARTS)
        system = next((row.fields for row in rows if isinstance(row, PartRow)), {})
        facts = Facts(
            vendor=system.get("Manufacturer", ""),
            product=system.get("Product name", ""),
            serial=system.get("Serial Number", ""),
            uuid=system.get("UUID", "").lower(),
            source="ipmi",
        )
        return Inventory(facts)

    async def led(self) -> Led:
        """Read the light from the chassis status, where the board tells it (table 28-3, byte 3)."""
        status = await self.ask("led.status", chassis.NETFN_CHASSIS, chassis.GET_CHASSIS_STATUS)
        if len(status) < 3 or not status[2] & 0x40:
            raise BmcUnsupported(f"{self.address}: led.status: the board does not tell", hint="it may still be set")
        return {0: Led.OFF, 1: Led.BLINKING, 2: Led.ON}.get(status[2] >> 4 & 3, Led.OFF)

    async def set_led(self, wanted: Led) -> None:
        """Switch the light. "Blinking" lasts 255 s, the longest that IPMI can say; "on" until it is switched off."""
        data = {Led.OFF: b"\x00", Led.ON: b"\x00\x01", Led.BLINKING: b"\xff"}[wanted]
        await self.ask("led.set", chassis.NETFN_CHASSIS, IDENTIFY, data)

    async def _study(self, verb: str, subject: Subject) -> list[Row]:
        where = f"{self.address}: {verb}"
        request = Study(self._link.next_id(), self._target, subject, STUDY_S)
        reply = await self.send(where, request, STUDY_S + READ_S, repeat=True)
        if not isinstance(reply, Rows):
            raise unexpected(where, reply)
        return reply.rows


def health_of(level: int) -> Health:
    """Read pyghmi's sum of bits."""
    return Health.CRITICAL if level >= 2 else Health.WARNING if level else Health.OK


def _sensor(row: SensorRow) -> Sensor:
    unit = {"°C": "C"}.get(row.unit, row.unit)
    return Sensor(row.name, row.value, unit, health_of(row.health), ", ".join(row.states))


def _entry(row: EventRow) -> LogEntry:
    return LogEntry(str(row.number), row.text, row.at, health_of(row.health), row.sensor)

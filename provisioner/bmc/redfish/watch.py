"""Sensors, health and event log by Redfish (DSP0268: Thermal, Power, Sensor, LogService)."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.bmc.redfish.answers import Resource, number_of
from provisioner.bmc.redfish.board import MAX_MEMBERS, Board
from provisioner.model.board import Health, LogEntry, Sensor

MAX_ENTRIES = 4096
"""As many as the largest event log seen keeps."""

_READINGS = {
    "Temperatures": ("ReadingCelsius", "C"),
    "Fans": ("Reading", "RPM"),
    "Voltages": ("ReadingVolts", "V"),
    "PowerControl": ("PowerConsumedWatts", "W"),
    "PowerSupplies": ("PowerOutputWatts", "W"),
}
"""Where the older Thermal and Power resources keep their readings, and in which unit."""

_LOG_WORDS = ("sel", "event", "log")
"""What the service of hardware events is called, best first; boards have others for audits and for the BMC itself."""


class WatchVerbs(Board):
    """What the board measures and remembers."""

    async def sensors(self) -> tuple[Sensor, ...]:
        """Read every sensor: from Thermal and Power where they are, two requests; else one by one."""
        verb = "sensors.read"
        chassis = await self.chassis(verb)
        old = [await self.get(path) for key in ("Thermal", "Power") if (path := chassis.link(key))]
        if old:
            return tuple(sensor for resource in old for sensor in _old_readings(resource))
        if not (path := chassis.link("Sensors")):
            raise self.unsupported(verb, "the chassis has no sensors")
        return tuple(_reading(sensor) for sensor in await self.each(path))

    async def health(self) -> Health:
        """Return the worst of what system and chassis say of themselves."""
        found = [_health(await self.system())]
        found.append(_health(await self.chassis("health.read")))
        return worst(found)

    async def event_log(self) -> tuple[LogEntry, ...]:
        """Return the board's event log, oldest first."""
        service = await self._log_service("log.read")
        listed = await self.listed(service.link("Entries"), MAX_ENTRIES)
        if len(listed) > MAX_MEMBERS and not all(one.data for one in listed):
            listed = await self._newest(listed)
        return tuple(sorted((_entry(found) for found in await self.in_full(listed)), key=_age))

    async def _newest(self, listed: list[Resource]) -> list[Resource]:
        """Choose the newest of entries that take a request each: boards list them one way round or the other."""
        ends = [_age(_entry(one)) for one in await self.in_full((listed[0], listed[-1]))]
        return listed[:MAX_MEMBERS] if len(ends) == 2 and ends[0] > ends[1] else listed[-MAX_MEMBERS:]

    async def clear_event_log(self) -> None:
        """Clear the event log, and see it empty but for the line that says so."""
        verb = "log.clear"
        service = await self._log_service(verb)
        await self.finish_unseen(verb, await self.act(verb, service, "LogService.ClearLog", repeat=True))

        async def is_clear() -> bool:
            return len(await self.listed(service.link("Entries"), 2)) <= 1

        await self.until(verb, is_clear, 30.0, "the log still has entries")

    async def _log_service(self, verb: str) -> Resource:
        """Find the log of hardware events: at the system, its manager or its chassis."""
        for holder in (await self.system(), await self.manager(verb), await self.chassis(verb)):
            if path := holder.link("LogServices"):
                services = [service for service in await self.each(path) if service.link("Entries")]
                if services:
                    return min(services, key=_how_far_from_events)
        raise self.unsupported(verb, "the board keeps no event log")


def _age(entry: LogEntry) -> tuple[str, str]:
    return entry.at, entry.id.zfill(12)


def _how_far_from_events(service: Resource) -> int:
    name = service.text("Id").lower()
    return next((rank for rank, word in enumerate(_LOG_WORDS) if word in name), len(_LOG_WORDS))


def _old_readings(resource: Resource) -> Iterator[Sensor]:
    for key, (field, unit) in _READINGS.items():
        for one in resource.rows(key):
            if one.text("Status", "State") != "Absent":
                yield _old_reading(one, field, unit)


def _old_reading(one: Resource, field: str, unit: str) -> Sensor:
    return Sensor(
        name=one.text("Name") or one.text("FanName") or one.text("MemberId"),
        value=number_of(one.data.get(field)),
        unit=one.text("ReadingUnits") or unit,
        health=_health(one),
        state=one.text("Status", "State"),
    )


def _reading(sensor: Resource) -> Sensor:
    return Sensor(
        name=sensor.text("Name"),
        value=number_of(sensor.data.get("Reading")),
        unit=sensor.text("ReadingUnits"),
        health=_health(sensor),
        state=sensor.text("Status", "State"),
    )


def _entry(entry: Resource) -> LogEntry:
    return LogEntry(
        id=entry.text("Id"),
        text=entry.text("Message"),
        at=entry.text("Created"),
        severity=health_of(entry.text("Severity")),
        sensor=entry.text("SensorType"),
    )


def _health(resource: Resource) -> Health:
    return health_of(resource.text("Status", "HealthRollup") or resource.text("Status", "Health"))


def health_of(word: str) -> Health:
    """Read the specification's word for how something is."""
    return {"OK": Health.OK, "Warning": Health.WARNING, "Critical": Health.CRITICAL}.get(word, Health.UNKNOWN)


def worst(found: list[Health]) -> Health:
    """Sum up: one bad part is what counts; nothing known is unknown."""
    order = (Health.CRITICAL, Health.WARNING, Health.OK)
    return next((level for level in order if level in found), Health.UNKNOWN)

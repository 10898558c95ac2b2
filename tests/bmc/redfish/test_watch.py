"""Sensors, health and log, old style and new."""

from __future__ import annotations

import pytest
from aiohttp import web

from provisioner.bmc.redfish.board import MAX_MEMBERS
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.redfish.watch import worst
from provisioner.errors import BmcUnsupported
from provisioner.model.board import Health, LogEntry, Sensor
from tests.bmc.redfish.service import Service

CHASSIS = "/redfish/v1/Chassis/1"
LOGS = "/redfish/v1/Systems/1/LogServices"


@pytest.fixture(autouse=True)
def with_chassis(board: Service) -> None:
    board.system["Links"]["Chassis"] = [{"@odata.id": CHASSIS}]
    board.resources[CHASSIS] = {"Status": {"Health": "OK"}}


async def test_sensors_of_older_boards(board: Service, bmc: Redfish) -> None:
    board.resources[CHASSIS] |= {
        "Thermal": {"@odata.id": f"{CHASSIS}/Thermal"},
        "Power": {"@odata.id": f"{CHASSIS}/Power"},
    }
    board.resources[f"{CHASSIS}/Thermal"] = {
        "Temperatures": [
            {"Name": "Inlet", "ReadingCelsius": 21, "Status": {"Health": "OK", "State": "Enabled"}},
            {"Name": "CPU2", "Status": {"State": "Absent"}},
            "junk",
        ],
        "Fans": [{"FanName": "Fan1", "Reading": 4200, "ReadingUnits": "RPM", "Status": {"Health": "Warning"}}],
    }
    board.resources[f"{CHASSIS}/Power"] = {
        "PowerControl": [{"Name": "All", "PowerConsumedWatts": 231.5}],
        "Voltages": 1,
    }
    assert await bmc.sensors() == (
        Sensor("Inlet", 21.0, "C", Health.OK, "Enabled"),
        Sensor("Fan1", 4200.0, "RPM", Health.WARNING),
        Sensor("All", 231.5, "W"),
    )


async def test_sensors_of_newer_boards(board: Service, bmc: Redfish) -> None:
    board.resources[CHASSIS]["Sensors"] = {"@odata.id": f"{CHASSIS}/Sensors"}
    inline = {"@odata.id": "/x", "Name": "Outlet", "Reading": None, "Status": {"State": "Enabled"}}
    board.resources[f"{CHASSIS}/Sensors"] = {
        "Members": [{"@odata.id": f"{CHASSIS}/Sensors/1"}, {"@odata.id": "/redfish/v1/gone"}],
        "Members@odata.nextLink": f"{CHASSIS}/Sensors2",
    }
    board.resources[f"{CHASSIS}/Sensors2"] = {"Members": [inline]}
    board.resources[f"{CHASSIS}/Sensors/1"] = {"Name": "Inlet", "Reading": 21.5, "ReadingUnits": "Cel"}
    assert await bmc.sensors() == (Sensor("Inlet", 21.5, "Cel"), Sensor("Outlet", None, state="Enabled"))


async def test_no_sensors(bmc: Redfish) -> None:
    with pytest.raises(BmcUnsupported, match="no sensors"):
        await bmc.sensors()


async def test_health_is_the_worst(board: Service, bmc: Redfish) -> None:
    board.system["Status"] = {"Health": "OK", "HealthRollup": "Critical"}
    assert await bmc.health() is Health.CRITICAL


WORST = {
    "nothing known": ([], Health.UNKNOWN),
    "all well": ([Health.OK, Health.UNKNOWN], Health.OK),
    "one warns": ([Health.OK, Health.WARNING], Health.WARNING),
}


@pytest.mark.parametrize(("found", "health"), WORST.values(), ids=WORST.keys())
def test_worst(found: list[Health], health: Health) -> None:
    assert worst(found) is health


@pytest.fixture
def with_log(board: Service) -> None:
    board.system["LogServices"] = {"@odata.id": LOGS}
    board.resources[LOGS] = {"Members": [{"@odata.id": f"{LOGS}/Audit"}, {"@odata.id": f"{LOGS}/SEL"}]}
    board.resources[f"{LOGS}/Audit"] = {"Id": "Audit", "Entries": {"@odata.id": f"{LOGS}/Audit/Entries"}}
    board.resources[f"{LOGS}/SEL"] = {
        "Id": "SEL",
        "Entries": {"@odata.id": f"{LOGS}/SEL/Entries"},
        "Actions": {"#LogService.ClearLog": {"target": f"{LOGS}/SEL/Clear"}},
    }
    board.resources[f"{LOGS}/SEL/Entries"] = {
        "Members": [
            {"@odata.id": "/b", "Id": "10", "Message": "Fan1 is slow", "Severity": "Warning", "Created": "2026-11-02"},
            {"@odata.id": "/a", "Id": "9", "Message": "Power restored", "Severity": "OK", "Created": "2026-11-01"},
        ]
    }

    def clear(_body: object) -> web.Response | None:
        board.resources[f"{LOGS}/SEL/Entries"]["Members"] = []
        return None

    board.actions[f"{LOGS}/SEL/Clear"] = clear


@pytest.mark.usefixtures("with_log")
async def test_event_log_is_the_one_of_hardware_events_oldest_first(bmc: Redfish) -> None:
    assert await bmc.event_log() == (
        LogEntry("9", "Power restored", "2026-11-01", Health.OK),
        LogEntry("10", "Fan1 is slow", "2026-11-02", Health.WARNING),
    )


def put_entries(board: Service, count: int, page: int, *, newest_first: bool, full: bool) -> None:
    """Keep a log of so many entries, in pages."""
    entries = f"{LOGS}/SEL/Entries"
    numbers = sorted(range(count), reverse=newest_first)
    for number in numbers:
        day = f"2026-{number // 300 + 1:02}-{number // 10 % 30 + 1:02}T{number % 10:02}:00:00Z"
        board.resources[f"{entries}/{number}"] = {"@odata.id": f"{entries}/{number}", "Id": f"{number}", "Created": day}
    for at in range(0, count, page):
        paths = [f"{entries}/{number}" for number in numbers[at : at + page]]
        board.resources[entries if at == 0 else f"{entries}/page{at}"] = {
            "Members": [board.resources[path] if full else {"@odata.id": path} for path in paths],
        } | ({"Members@odata.nextLink": f"{entries}/page{at + page}"} if at + page < count else {})


@pytest.mark.usefixtures("with_log")
@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(("full", "read"), [(True, 600), pytest.param(False, MAX_MEMBERS, marks=pytest.mark.slow)])
async def test_a_long_event_log_is_read_to_its_newest_entry(
    board: Service, bmc: Redfish, newest_first: bool, full: bool, read: int
) -> None:
    put_entries(board, 600, 50, newest_first=newest_first, full=full)
    assert [entry.id for entry in await bmc.event_log()] == [f"{number}" for number in range(600 - read, 600)]


@pytest.mark.usefixtures("with_log")
async def test_a_page_that_names_itself_as_the_next_is_read_once(board: Service, bmc: Redfish) -> None:
    entries = f"{LOGS}/SEL/Entries"
    board.resources[entries] = {"Members": [], "Members@odata.nextLink": entries}
    assert await bmc.event_log() == ()
    assert board.asked.count(f"GET {entries}") == 1


@pytest.mark.usefixtures("with_log")
async def test_clear_event_log(bmc: Redfish) -> None:
    await bmc.clear_event_log()
    assert await bmc.event_log() == ()


async def test_no_log(bmc: Redfish) -> None:
    with pytest.raises(BmcUnsupported, match="no event log"):
        await bmc.event_log()

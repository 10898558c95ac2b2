"""Sensors, event log and part records, read by pyghmi's decoders over our own sessions. Runs in the worker only.

The decoders are written to block, so they run in a few threads and hand each request to the loop. They trust the board:
record numbers that go in circles would keep them for ever, so a study ends after so many requests and so many seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pyghmi.exceptions import IpmiException, PyghmiException
from pyghmi.ipmi import sdr
from pyghmi.ipmi.command import Command as PyghmiCommand
from pyghmi.ipmi.oem import generic
from pyghmi.ipmi.private.util import get_ipmi_error

from provisioner.bmc.ipmi.messages import EventRow, PartRow, Row, SensorRow, Subject, Trouble
from provisioner.bmc.ipmi.session import SessionError

MAX_REQUESTS = 8192
MAX_ROWS = 4096

Ask = Callable[[int, int, bytes, int], Awaitable[tuple[int, bytes]]]
"""Sends one request (network function, command, data, LUN); returns completion code and data."""


class Bridge:
    """What pyghmi takes for its session: blocks the thread, asks on the loop. Its time begins at the first request."""

    def __init__(self, ask: Ask, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline: float | None = None
        self._left = MAX_REQUESTS

    def raw_command(
        self, netfn: int, command: int, bridge_request: Any = None, data: Any = (), rslun: int = 0, **_: object
    ) -> dict[str, Any]:
        """Send one request from a thread."""
        self._left -= 1
        now = self._clock()
        if self._deadline is None:
            self._deadline = now + self._timeout_s
        left_s = self._deadline - now
        if self._left < 0 or left_s <= 0:
            raise SessionError(Trouble.TIMEOUT, "the board's records have no end, or take too long to read")
        if bridge_request:
            return {"netfn": netfn + 1, "command": command, "code": 0xC1, "data": bytearray(), "error": "no bridging"}
        asked = asyncio.run_coroutine_threadsafe(self._awaited(netfn, command, bytes(data), rslun), self._loop)
        code, answer = asked.result(left_s)
        response = {"netfn": netfn + 1, "command": command, "code": code, "data": bytearray(answer)}
        if error := get_ipmi_error(response):
            response["error"] = error
        return response

    async def _awaited(self, netfn: int, command: int, data: bytes, lun: int) -> tuple[int, bytes]:
        return await self._ask(netfn, command, data, lun)


class Reader(PyghmiCommand):
    """pyghmi's decoders without its connection, and without its code for vendors, which opens its own connections."""

    def __init__(self, bridge: Bridge) -> None:
        self.ipmi_session = bridge  # type: ignore[assignment]
        self.bmc = self._sdr = self._sdrcachedir = self._netchannel = self._ipv6support = self.certverify = None
        self._oem, self._oemknown = generic.OEMHandler(None, None), True
        self.kwargs: dict[str, Any] = {}

    def init_sdr(self) -> Any:
        """Read the board's sensor records once; a board that has none still has a log and parts."""
        if self._sdr is None:
            try:
                self._sdr = sdr.SDR(self)
            except (IpmiException, NotImplementedError) as error:
                self._sdr = NoRecords(error)
        return self._sdr


class Unshared(dict[Any, Any]):
    """What pyghmi keeps records in for other boards of the same firmware, which may have other parts: nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep nothing: studies of several boards go on at once."""


class NoRecords:
    """What stands for the records of a board that has none."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        self.sensors: dict[int, Any] = {}
        self.fru: dict[int, Any] = {}

    def get_sensor_numbers(self) -> list[int]:
        """Say why there are no sensors."""
        raise self.reason


def study(subject: Subject, bridge: Bridge) -> Sequence[Row]:
    """Read one subject, in a thread. Raises `SessionError`."""
    sdr.shared_sdrs = Unshared()
    reader = Reader(bridge)
    try:
        match subject:
            case Subject.SENSORS:
                return [_sensor(one) for one in reader.get_sensor_data()][:MAX_ROWS]
            case Subject.EVENTS:
                return [_event(one) for one in reader.get_event_log()][-MAX_ROWS:]
            case Subject.PARTS:
                return [_part(name, fields) for name, fields in reader.get_inventory()][:MAX_ROWS]
    except SessionError:
        raise
    except TimeoutError as error:
        raise SessionError(Trouble.TIMEOUT, "no answer in time") from error
    except NotImplementedError as error:
        raise SessionError(Trouble.UNSUPPORTED, "the board keeps its records in a form that we do not read") from error
    except IpmiException as error:
        code = error.ipmicode
        unsupported = code in (0xC1, 0xC9, 0xCB, 0xCC) or "not present" in str(error)
        raise SessionError(Trouble.UNSUPPORTED if unsupported else Trouble.PROTOCOL, str(error)) from error
    except (PyghmiException, Exception) as error:
        raise SessionError(Trouble.PROTOCOL, f"records that cannot be read: {type(error).__name__}: {error}") from error


def _sensor(one: Any) -> SensorRow:
    value = float(one.value) if isinstance(one.value, int | float) and not one.unavailable else None
    states = [str(state) for state in one.states] + (["unavailable"] if one.unavailable else [])
    return SensorRow(str(one.name), value, (one.units or "").strip(), int(one.health), states, str(one.type or ""))


def _event(one: dict[str, Any]) -> EventRow:
    parts = [str(one[key]) for key in ("event", "event_data") if one.get(key)]
    raw = one.get("oemdata")
    text = " - ".join(parts) or (f"record of the board's own: {bytes(raw).hex(' ')}" if raw is not None else "")
    return EventRow(
        number=int(one.get("record_id", 0)),
        text=text,
        at=str(one.get("timestamp", "")),
        health=int(one.get("severity") or 0),
        sensor=str(one.get("component") or one.get("component_type") or ""),
    )


def _part(name: Any, fields: Any) -> PartRow:
    known = fields if isinstance(fields, dict) else {}
    return PartRow(str(name), {str(key): _text(value) for key, value in known.items()})


def _text(value: Any) -> str:
    return bytes(value).hex(" ") if isinstance(value, bytes | bytearray) else str(value)

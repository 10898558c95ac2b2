"""QMP against a stand-in that speaks it: answers, refusals, events, and an end in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from provisioner.errors import LabError
from provisioner.lab.qmp import Qmp

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


class Machine:
    """The other end: greets, answers capabilities, then what the test says."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer

    async def serve(self, line: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=line)
        writer.write(b'{"QMP": {"version": {}, "capabilities": []}}\n{"event": "EARLY"}\n')
        try:
            while data := await reader.readline():
                for message in self._answers(json.loads(data)):
                    writer.write(json.dumps(message).encode() + b"\n")
        except EOFError:
            pass
        finally:
            writer.close()

    def _answers(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(request)
        found = {"return": {}} if request["execute"] == "qmp_capabilities" else self._answer(request)
        if found is None:
            raise EOFError
        events = [found] if "event" in found else []
        return [*events, (found if not events else {"return": {}}) | {"id": request["id"]}]


@contextlib.asynccontextmanager
async def session(
    answer: Answer, on_event: Callable[[str, dict[str, Any]], None] = lambda _, __: None
) -> AsyncIterator[Qmp]:
    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as group:
        machine = group.create_task(Machine(answer).serve(theirs))
        qmp = await Qmp.connect(ours, on_event)
        reading = group.create_task(qmp.run())
        yield qmp
        machine.cancel()
        reading.cancel()


async def test_an_answer_is_returned() -> None:
    async with session(lambda asked: {"return": asked["arguments"]}) as qmp:
        assert await qmp.execute("qom-set", path="/machine", some_value=1) == {"path": "/machine", "some-value": 1}


async def test_answers_find_those_who_asked() -> None:
    async with session(lambda asked: {"return": asked["arguments"]["n"]}) as qmp:
        assert await asyncio.gather(*(qmp.execute("echo", n=n) for n in range(5))) == list(range(5))


async def test_a_refusal_says_why() -> None:
    async with session(lambda _: {"error": {"class": "GenericError", "desc": "no such device"}}) as qmp:
        with pytest.raises(LabError, match="no such device"):
            await qmp.execute("eject")


async def test_events_come_through() -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    event = {"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}
    async with session(lambda _: event, lambda name, data: seen.append((name, data))) as qmp:
        await qmp.execute("system_reset")
    assert seen == [("SHUTDOWN", {"reason": "guest-reset"})]


async def test_who_waits_is_told_when_the_machine_ends() -> None:
    async with session(lambda _: None) as qmp:
        with pytest.raises(LabError, match="ended"):
            await qmp.execute("quit")
        with pytest.raises(LabError, match="ended"):
            await qmp.execute("cont")


GREETINGS = {"silence": b"", "another protocol": b"SSH-2.0\n", "other JSON": b'{"hello": 1}\n'}


@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS.keys())
async def test_what_is_no_machine_is_refused(greeting: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(greeting)
    theirs.close()
    with pytest.raises(LabError, match="does not begin to talk"):
        await Qmp.connect(ours, lambda _, __: None)

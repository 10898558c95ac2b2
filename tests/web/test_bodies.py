"""Bodies are bounded in depth and typed; what is wrong is named by its key."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.web import bodies
from provisioner.web.app import MACHINE_BYTES, machine_app
from provisioner.web.bodies import MAX_DEPTH, decode, nested_deeper_than
from provisioner.web.intents import BootBody, EnrolBody, PowerBody
from provisioner.web.machines import FACTS_LIMIT, DoneBody
from provisioner.web.ports import Route
from provisioner.web.server import Server

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text('"\\[]{}a', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\[]{}a', max_size=4), inner, max_size=3),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(json_values, st.integers(0, 6))
def test_depth_is_what_a_parser_would_find(value: Any, limit: int) -> None:
    assert nested_deeper_than(json.dumps(value).encode(), limit) == (depth_of(value) > limit)


@given(st.binary(max_size=200) | st.text('"\\[]{}:,1', max_size=200).map(str.encode))
def test_any_bytes_give_a_value_or_a_wire_error(raw: bytes) -> None:
    try:
        decode(raw, EnrolBody)
    except WireError:
        return


HOSTILE = {
    "a hundred thousand open brackets": b"[" * 100_000,
    "as many objects": b'{"a":' * 100_000,
    "brackets that close what was not opened": b"]" * 100_000 + b"[" * 100_000,
    "one level too many": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_deep_nesting_is_refused_before_it_is_parsed(raw: bytes) -> None:
    with pytest.raises(WireError, match="nests deeper than 32"):
        decode(raw, EnrolBody)


FAULTS: dict[str, tuple[type, bytes, str]] = {
    "not JSON": (BootBody, b"bootenv=debian-12", "the body is not JSON"),
    "nothing": (BootBody, b"", "the body is not JSON"),
    "an unknown key is named": (BootBody, b'{"bootenv": "x", "forse": true}', "body: unknown key forse"),
    "a missing key is named": (BootBody, b"{}", "body: missing key bootenv"),
    "a wrong type says where": (
        EnrolBody,
        b'{"name": "n", "bmc": {"driver": 7}}',
        "body.bmc.driver: expected str, got int",
    ),
    "a wrong choice": (PowerBody, b'{"power": "up"}', "body.power: invalid enum value 'up'"),
    "a key that stands twice": (BootBody, b'{"bootenv": "a", "bootenv": "b"}', "body: the key 'bootenv' stands twice"),
    "written in two ways": (
        BootBody,
        b'{"bootenv": "a", "boot\\u0065nv": "a"}',
        "body: the key 'bootenv' stands twice",
    ),
    "one further in": (
        BootBody,
        b'{"bootenv": "a", "params": {"x": [{"y": 1, "z": 2, "z": 2}]}}',
        "body: the key 'z' stands twice in one object",
    ),
    "a number of thousands of digits": (DoneBody, b'{"job": "j", "status": 0, "x": %s}' % (b"1" * 5000), "the body is"),
    "not UTF-8": (BootBody, b'{"bootenv": "\xff"}', "the body is not JSON"),
}


def test_a_key_may_stand_in_several_objects() -> None:
    raw = b'{"bootenv": "a", "params": {"bootenv": [{"x": 1}, {"x": 2}], "x": {"x": {}}}}'
    assert list(decode(raw, BootBody).params) == ["bootenv", "x"]


@pytest.mark.parametrize(("kind", "raw", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_decode_names_what_is_wrong(kind: type, raw: bytes, says: str) -> None:
    with pytest.raises(WireError) as caught:
        decode(raw, kind)
    assert str(caught.value).startswith(says)


class Reading:
    """Requests whose bodies are held until they may be answered."""

    def __init__(self) -> None:
        self.held = 0
        self.may_end = asyncio.Event()
        self.app = machine_app([Route("POST", "/", self.read)])

    async def read(self, request: web.Request) -> web.Response:
        size = len(await bodies.read_body(request, FACTS_LIMIT))
        self.held += 1
        await self.may_end.wait()
        return web.Response(text=str(size))

    async def asked(self, count: int) -> None:
        """Wait until so many have room, or wait for it."""
        while self.app[bodies.ROOM].asking["127.0.0.1"] != count:
            await asyncio.sleep(0.01)


async def chunked(size_bytes: int) -> Any:
    yield bytes(size_bytes)


SENT = {"a length that is said": lambda: bytes(FACTS_LIMIT), "none": lambda: chunked(1)}
"""What says nothing of its length has room for as much as it may send."""


@pytest.mark.parametrize("body", SENT.values(), ids=SENT.keys())
async def test_one_address_has_the_daemon_hold_so_much_and_no_more(body: Any) -> None:
    reading, most = Reading(), MACHINE_BYTES // FACTS_LIMIT
    server = Server(reading.app, drain_s=0)
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client, asyncio.TaskGroup() as group:

        async def post() -> int:
            async with client.post("/", data=body()) as answer:
                return answer.status

        tasks = [group.create_task(post()) for _ in range(most + 2)]
        await reading.asked(most + 2)
        while reading.held < most:
            await asyncio.sleep(0.01)
        assert reading.held == most
        tasks[0].cancel()
        await reading.asked(most + 1)
        reading.may_end.set()
    assert [await task for task in tasks[1:]] == [200] * (most + 1)
    assert not reading.app[bodies.ROOM].asking
    await server.close()


async def test_a_body_for_which_there_is_no_room_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.01)
    reading = Reading()
    server = Server(reading.app, drain_s=0)
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        with await reading.app[bodies.ROOM].begin("127.0.0.1", MACHINE_BYTES):
            async with client.post("/", data=b"body") as answer:
                assert (answer.status, reading.held) == (503, 0)
            reading.may_end.set()
            async with client.post("/") as answer:
                assert answer.status == 200, "without a body it needs none"
    await server.close()

"""What machines fetch and say, over a real TCP socket: text for a shell, and nothing that helps a stranger."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import aiohttp
import pytest

from provisioner.web.machines import FACTS_LIMIT, LOG_LIMIT
from tests.web.fakes import TOKEN, FakeConductor

Session = aiohttp.ClientSession
GOOD = {"Authorization": f"Bearer {TOKEN}"}


async def call(session: Session, method: str, path: str, **given: Any) -> tuple[int, bytes]:
    async with session.request(method, path, **given) as response:
        return response.status, await response.read()


SCRIPTS = {
    "iPXE": ("/boot/52:54:00:00:00:17/script.ipxe", 200, b"#!ipxe\nexit\n"),
    "GRUB": ("/boot/52:54:00:00:00:17/grub.cfg", 200, b"exit\n"),
    "as BOOTIF writes it": ("/boot/01-52-54-00-00-00-17/script.ipxe", 200, b"#!ipxe\nexit\n"),
    "upper case and hyphens, as iPXE's ${net0/mac:hexhyp}": (
        "/boot/52-54-00-00-00-17/script.ipxe",
        200,
        b"#!ipxe\nexit\n",
    ),
    "a MAC of nobody": ("/boot/52:54:00:00:00:99/script.ipxe", 404, b"there is no such thing\n"),
    "no MAC at all": ("/boot/..%2f..%2fetc/script.ipxe", 404, b"there is no such thing\n"),
}


@pytest.mark.parametrize(("path", "status", "body"), SCRIPTS.values(), ids=SCRIPTS.keys())
async def test_boot_scripts(
    boot: Session, caplog: pytest.LogCaptureFixture, path: str, status: int, body: bytes
) -> None:
    caplog.set_level(logging.INFO)
    assert await call(boot, "GET", path) == (status, body)
    refused = [line for line in caplog.messages if line.startswith("http.script.refused client=127.0.0.1: ")]
    assert len(refused) == (status == 404)


OWN = {
    "with what an installer tells of itself": ("POST", "answer.toml", b"{}", 200, b"[global]\n"),
    "without": ("GET", "answer.toml", None, 200, b"[global]\n"),
    "with too much": ("POST", "answer.toml", b"x" * (FACTS_LIMIT + 1), 413, b"the body is too large\n"),
    "another file": ("POST", "shadow", b"{}", 404, b"there is no such thing\n"),
    "a second time": ("POST", "gone.toml", b"{}", 410, b"this answer file was given already\n"),
}


@pytest.mark.parametrize(("method", "answer", "told", "status", "body"), OWN.values(), ids=OWN.keys())
async def test_an_answer_by_address(
    boot: Session, method: str, answer: str, told: bytes | None, status: int, body: bytes
) -> None:
    data = None if told is None else io.BytesIO(told)
    answered, text = await call(boot, method, f"/answers/own/{answer}", data=data)
    assert (answered, text[: len(body)]) == (status, body)


@pytest.mark.parametrize(
    ("path", "status"), {f"{'x' * 43}/preseed": 404, "own/shadow": 404, "own/gone.toml": 410}.items()
)
async def test_a_ticket_that_is_not_good_is_logged_without_it(
    boot: Session, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    assert (await call(boot, "GET", f"/answers/{path}"))[0] == status
    lines = [line for line in caplog.messages if line.startswith("http.ticket ")]
    assert len(lines) == 1
    assert "x" * 43 not in lines[0]


async def test_the_agent_s_journey(boot: Session, conductor: FakeConductor) -> None:
    async def post(path: str, **given: Any) -> tuple[int, bytes]:
        return await call(boot, "POST", f"/agent/v1/{path}", headers=GOOD, **given)

    facts = json.dumps({"cpu": [{"model": "x"}]}).encode()
    assert await post("facts", data=facts) == (200, b"run j-1\n")
    assert await call(boot, "GET", "/agent/v1/job/j-1", headers=GOOD) == (200, b"#!/bin/sh\nexit 0\n")
    assert await post("progress", json={"phase": "write", "percent": 41.5, "newer": 1}) == (204, b"")
    assert await post("log", data=b"sfdisk: \xff done") == (204, b"")
    assert await post("log?up=12.50", data=b"[     9.10] sfdisk") == (204, b"")
    assert (await post("log?up=soon", data=b"sfdisk"))[0] == 400
    assert await post("done", json={"job": "j-1", "status": 0}) == (200, b"reboot\n")
    assert await call(boot, "GET", "/agent/v1/next", headers=GOOD) == (200, b"wait 5\n")
    assert await post("phone-home", json={"hostname": "node17", "uptime_s": 9, "addresses": ["192.0.2.7"]}) == (
        204,
        b"",
    )
    failed = {"hook": "1002", "status": 3, "output": "no such disk\nE: gone"}
    assert await post("hook-failed", json=failed) == (204, b"")
    assert (await post("hook-failed", json=failed | {"output": "x" * 4097}))[0] == 400
    assert conductor.heard == [
        ("facts", facts),
        ("progress", "write", 41.5, ""),
        ("log", "sfdisk: \ufffd done", None),
        ("log", "[     9.10] sfdisk", 12.5),
        ("done", "j-1", 0, ""),
        ("home", "node17", "", 9.0, ("192.0.2.7",)),
        ("hook", "1002", 3, "no such disk\nE: gone"),
    ]


TOKENS = {
    "none": {},
    "unknown": {"Authorization": "Bearer nope"},
    "of another scheme": {"Authorization": f"Basic {TOKEN}"},
    "too long to be one": {"Authorization": f"Bearer {'a' * 300}"},
}
AGENT = [
    ("POST", "facts"),
    ("GET", "next"),
    ("GET", "job/j-1"),
    ("POST", "progress"),
    ("POST", "done"),
    ("POST", "log"),
    ("POST", "hook-failed"),
]


@pytest.mark.parametrize("headers", TOKENS.values(), ids=TOKENS.keys())
@pytest.mark.parametrize(("method", "path"), [*AGENT, ("POST", "phone-home")])
async def test_without_a_good_token_all_answers_are_the_same(
    boot: Session, conductor: FakeConductor, method: str, path: str, headers: dict[str, str]
) -> None:
    body = b'{"phase": "x", "job": "j-1", "hook": "1001", "status": 0}'
    assert await call(boot, method, f"/agent/v1/{path}", headers=headers, data=body) == (401, b"unauthorized\n")
    assert conductor.heard == []


@pytest.mark.parametrize("path", [path for method, path in [*AGENT, ("POST", "phone-home")] if method == "POST"])
async def test_the_body_of_a_stranger_is_not_waited_for(boot: Session, path: str) -> None:
    assert boot._base_url is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", boot._base_url.port)
    head = f"POST /agent/v1/{path} HTTP/1.1\r\nHost: us\r\nAuthorization: Bearer nope\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode())
    assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()


@pytest.mark.parametrize("path", ["progress", "done"])
async def test_who_is_to_stop_is_told_so(boot: Session, conductor: FakeConductor, path: str) -> None:
    body = b'{"phase": "x", "job": "j-1", "status": 0}'
    conductor.over = True
    assert await call(boot, "POST", f"/agent/v1/{path}", headers=GOOD, data=body) == (410, b"Gone\n")
    assert conductor.heard == []


REFUSED = {
    "facts that nest without end": ("facts", b"[" * 10_000, 400, b"the JSON body nests deeper than 32"),
    "facts without end": ("facts", b"x" * (FACTS_LIMIT + 1), 413, b"the body is too large"),
    "a log without end": ("log", b"x" * (LOG_LIMIT + 1), 413, b"the body is too large"),
    "progress beyond 100": (
        "progress",
        b'{"phase": "write", "percent": 101}',
        400,
        b"body.percent: expected float <= 100",
    ),
    "a status in words": ("done", b'{"job": "j-1", "status": "ok"}', 400, b"body.status: expected int, got str"),
}


@pytest.mark.parametrize(("path", "body", "status", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_bodies_are_bounded(boot: Session, path: str, body: bytes, status: int, says: bytes) -> None:
    answered, text = await call(boot, "POST", f"/agent/v1/{path}", headers=GOOD, data=io.BytesIO(body))
    assert (answered, text[: len(says)], text.count(b"\n")) == (status, says, 1)


async def test_the_operator_s_paths_are_not_here(boot: Session) -> None:
    for path in ("/v1/machines", "/v1/events", "/v1/info", "/readyz"):
        assert await call(boot, "GET", path) == (404, b"not found\n")

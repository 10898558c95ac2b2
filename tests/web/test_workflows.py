"""Workflows in the API, over its real socket: a real engine, and machines in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from provisioner.web.app import operator_app
from provisioner.web.server import Server
from provisioner.web.workflows import WorkflowApi
from tests.web.test_api import Session, call
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import BURN, NAMES, WAITS, over, ready

RUN = {"select": "name=*", "params": {"minutes": 1}}


@pytest.fixture
async def rack(tmp_path: Path) -> AsyncIterator[FlowRack]:
    rack = FlowRack(tmp_path, NAMES, BURN, WAITS)
    async with rack.alive(), rack.daemon():
        await ready(rack)
        yield rack


@pytest.fixture
async def api(rack: FlowRack, tmp_path: Path) -> AsyncIterator[Session]:
    server = Server(operator_app(WorkflowApi(rack.engine, rack.planning).routes()))
    await server.listen_unix(tmp_path / "flows.sock")
    connector = aiohttp.UnixConnector(str(tmp_path / "flows.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session
    await server.close()


async def test_look_plan_run_and_read(api: Session, rack: FlowRack) -> None:
    _, body, _ = await call(api, "GET", "/v1/workflows")
    assert [(row["name"], "steps" in row) for row in body["workflows"]] == [("burn", False), ("waits", False)]
    _, body, _ = await call(api, "GET", "/v1/workflows/burn")
    assert [step["name"] for step in body["steps"]] == ["memory", "together", "sensors"]
    assert body["params"]["minutes"] == {"kind": "number", "about": "", "default": 3}

    _, body, _ = await call(api, "POST", "/v1/workflows/burn/plan", json=RUN)
    assert [(each["name"], each["faults"]) for each in body["plans"]] == [("node17", []), ("node18", [])]
    assert body["plans"][0]["left_out"] == [
        {"step": "start-discovery", "reason": "discovery.running, hardware.known: holds already"}
    ]

    given = {"json": RUN, "headers": {"Idempotency-Key": "k"}}
    status, body, headers = await call(api, "POST", "/v1/workflows/burn/run", **given)
    assert (status, headers["Location"]) == (202, f"/v1/workflow-runs/{body['id']}")
    assert (await call(api, "POST", "/v1/workflows/burn/run", **given))[1]["id"] == body["id"]
    other = given | {"json": {**RUN, "at_once": 1}}
    assert (await call(api, "POST", "/v1/workflows/burn/run", **other))[0] == 409, "another run under that key"
    await over(rack, rack.engine.get(body["id"]))
    _, body, _ = await call(api, "GET", headers["Location"])
    assert (body["status"], body["counts"]["done"], body["params"]) == ("done", 2, {"minutes": 1})
    first = body["members"][0]["journal"][0]
    assert (first["step"], first["outcome"]) == ("memory", "done")
    _, listed, _ = await call(api, "GET", "/v1/workflow-runs")
    assert [(run["id"], "members" in run) for run in listed["runs"]] == [(body["id"], False)]

    log = f"{headers['Location']}/machines/node17/log"
    _, page, _ = await call(api, "GET", log, params={"step": "memory"})
    assert (page["text"], page["next"], page["over"], page["try"]) == ("memory on node17\n", 17, True, 1)
    assert [each["step"] for each in page["tries"]] == ["memory", "together", "sensors"]
    _, page, _ = await call(api, "GET", log, params={"step": "memory", "after": "7"})
    assert page["text"] == "on node17\n"
    assert '"verb": "sensors.read"' in (await call(api, "GET", log))[1]["text"]


async def test_orders_and_signals(api: Session) -> None:
    _, body, _ = await call(api, "POST", "/v1/workflows/waits/run", json={"select": "node17", "paused": True})
    run = f"/v1/workflow-runs/{body['id']}"
    assert (body["status"], body["members"][0]["reason"]) == ("paused", "the run is paused before say")
    for order, status in (("step", "paused"), ("resume", "running"), ("pause", "paused"), ("abort", "aborted")):
        assert (await call(api, "POST", f"{run}/{order}"))[1]["status"] == status
    status, body, _ = await call(api, "POST", f"{run}/pause")
    assert (status, "is aborted: it cannot pause" in body["detail"]) == (409, True)
    status, body, _ = await call(api, "POST", f"{run}/signal", json={"name": "go"})
    assert status == 409
    assert (await call(api, "POST", f"{run}/signal", json={"name": "a b"}))[0] == 400


async def test_orders_are_keyed_and_take_no_word(api: Session) -> None:
    _, body, _ = await call(api, "POST", "/v1/workflows/waits/run", json={"select": "node17", "paused": True})
    run = f"/v1/workflow-runs/{body['id']}"
    for order, given in (("signal", {"json": {"name": "go"}}), ("abort", {})):
        for _ in range(2):
            given["headers"] = {"Idempotency-Key": order}
            assert (await call(api, "POST", f"{run}/{order}", **given))[0] == 200
    other = {"headers": {"Idempotency-Key": "signal"}, "json": {"name": "stop"}}
    status, body, _ = await call(api, "POST", f"{run}/signal", **other)
    assert (status, "'signal' was used for another workflow-signal" in body["detail"]) == (409, True)
    assert (await call(api, "POST", f"{run}/resume", json={"steps": 2}))[0] == 400


REFUSED: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "no such workflow": ("POST", "/v1/workflows/brun/run", RUN, 404),
    "no such run": ("GET", "/v1/workflow-runs/x", {}, 404),
    "an unknown key": ("POST", "/v1/workflows/burn/run", RUN | {"at_onec": 1}, 400),
    "nobody is meant": ("POST", "/v1/workflows/burn/run", {"select": "rack=r9"}, 422),
    "a parameter that is none": ("POST", "/v1/workflows/burn/plan", {"select": "name=*", "params": {"x": 1}}, 422),
}


async def test_refused(api: Session) -> None:
    for what, (method, path, body, status) in REFUSED.items():
        given = {"json": body} if body else {}
        assert (await call(api, method, path, **given))[0] == status, what
    _, body, _ = await call(api, "POST", "/v1/workflows/burn/run", json=RUN | {"paused": True})
    machine = f"/v1/workflow-runs/{body['id']}/machines"
    assert (await call(api, "GET", f"{machine}/node99/log"))[0] == 404
    status, body, _ = await call(api, "GET", f"{machine}/node17/log")
    assert (status, body["detail"]) == (404, "node17 has not begun any step")

"""Rollouts in the API, over its real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from provisioner.lifecycle.restored import rollout_stopped
from provisioner.web.app import operator_app
from provisioner.web.fleet import FleetApi
from provisioner.web.server import Server
from provisioner.web.views import when
from tests.web.fakes import NOW, FakeConductor
from tests.web.rollouts import FakeRollouts
from tests.web.test_api import Session, call

BODY = {"bootenv": "debian-12", "select": "node*", "at_once": 1, "params": {"admin_secret": "canary"}}


@pytest.fixture
def rollouts(conductor: FakeConductor) -> FakeRollouts:
    return FakeRollouts(conductor)


@pytest.fixture
async def fleet(rollouts: FakeRollouts, tmp_path: Path) -> AsyncIterator[Session]:
    server = Server(operator_app(FleetApi(rollouts).routes()))
    await server.listen_unix(tmp_path / "fleet.sock")
    connector = aiohttp.UnixConnector(str(tmp_path / "fleet.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session
    await server.close()


async def test_begin_look_and_list(fleet: Session) -> None:
    status, body, headers = await call(fleet, "POST", "/v1/rollouts", json=BODY, headers={"Idempotency-Key": "k"})
    assert (status, headers["Location"], body["status"]) == (202, "/v1/rollouts/R1", "running")
    assert body["counts"] == {"waiting": 1, "starting": 1, "running": 0, "done": 0, "failed": 0, "skipped": 0}
    assert "canary" not in str(body)
    again = await call(fleet, "POST", "/v1/rollouts", json=BODY, headers={"Idempotency-Key": "k"})
    assert again[1]["id"] == "R1"
    _, body, _ = await call(fleet, "GET", "/v1/rollouts/R1")
    assert [member["stage"] for member in body["members"]] == ["done", "starting"]
    _, body, _ = await call(fleet, "GET", "/v1/rollouts")
    assert [(row["id"], "members" in row) for row in body["rollouts"]] == [("R1", False)]


async def test_a_plan_begins_nothing(fleet: Session) -> None:
    status, body, _ = await call(fleet, "POST", "/v1/rollouts/plan", json=BODY)
    assert (status, [member["stage"] for member in body["members"]]) == (200, ["waiting", "waiting"])
    assert "canary" not in str(body)
    assert (await call(fleet, "GET", "/v1/rollouts"))[1] == {"rollouts": []}


async def test_orders_are_keyed_and_take_no_word(fleet: Session) -> None:
    await call(fleet, "POST", "/v1/rollouts", json=BODY)
    for _ in range(2):
        given = {"headers": {"Idempotency-Key": "o1"}}
        assert (await call(fleet, "POST", "/v1/rollouts/R1/pause", **given))[0] == 200
    assert (await call(fleet, "POST", "/v1/rollouts/R1/resume", json={"at_once": 9}))[0] == 400


async def test_one_that_a_backup_held_is_resumed_by_who_says_so(fleet: Session, rollouts: FakeRollouts) -> None:
    rollouts.stuck = True
    await call(fleet, "POST", "/v1/rollouts", json=BODY)
    assert (await call(fleet, "POST", "/v1/rollouts/R1/resume", json={"restored": True}))[0] == 409, "it is not paused"
    rollouts.replace("R1", rollout_stopped(rollouts.get("R1"), NOW))
    assert (await call(fleet, "GET", "/v1/rollouts/R1"))[1]["restored"] == when(NOW)
    status, body, _ = await call(fleet, "POST", "/v1/rollouts/R1/resume")
    assert (status, "would install 2 machines" in body["detail"]) == (409, True)
    assert "rollout-resume R1 --restored" in body["hint"]
    body = (await call(fleet, "POST", "/v1/rollouts/R1/resume", json={"restored": True}))[1]
    assert (body["status"], body.get("restored")) == ("running", None)


async def test_orders(fleet: Session) -> None:
    await call(fleet, "POST", "/v1/rollouts", json=BODY)
    for order, status in (("pause", "paused"), ("resume", "running"), ("abort", "aborted")):
        assert (await call(fleet, "POST", f"/v1/rollouts/R1/{order}"))[1]["status"] == status
    status, body, _ = await call(fleet, "POST", "/v1/rollouts/R1/pause")
    assert (status, body["detail"]) == (409, "rollout R1 is aborted: it cannot pause from there")


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no machine is like that": (BODY | {"select": "rack=r9"}, 422),
    "not a selector": (BODY | {"select": "node[1"}, 400),
    "no machine at once": (BODY | {"at_once": 0}, 422),
    "an unknown key": (BODY | {"at_one": 1}, 400),
    "no selector": ({"bootenv": "debian-12"}, 400),
    "an unknown bootenv": (BODY | {"bootenv": "debain-12"}, 404),
}


@pytest.mark.parametrize(("body", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(fleet: Session, body: dict[str, Any], status: int) -> None:
    for path in ("/v1/rollouts", "/v1/rollouts/plan"):
        assert (await call(fleet, "POST", path, json=body))[0] == status
    assert (await call(fleet, "GET", "/v1/rollouts/R1"))[0] == 404

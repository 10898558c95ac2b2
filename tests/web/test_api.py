"""The operator API over its real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from provisioner.model.trace import Channel
from provisioner.web.replies import BODY_LIMIT
from tests.web.fakes import NOW, FakeConductor

Session = aiohttp.ClientSession


async def call(session: Session, method: str, path: str, **given: Any) -> tuple[int, Any, Any]:
    async with session.request(method, path, **given) as response:
        raw = await response.read()
        return response.status, json.loads(raw) if "json" in response.content_type else raw, response.headers


async def test_machines_are_listed_by_name(api: Session) -> None:
    status, body, _ = await call(api, "GET", "/v1/machines")
    assert (status, [m["name"] for m in body["machines"]], body["next"]) == (200, ["node17", "node18"], None)


LISTS = {
    "by name": ("name=node18", ["node18"]),
    "by several names": ("name=node18,node17", ["node17", "node18"]),
    "by a name repeated": ("name=node18&name=node17", ["node17", "node18"]),
    "by state": ("state=active", []),
    "by tag": ("tag=rack%3Dr1", ["node17"]),
    "by selector": ("select=node*,!rack%3Dr1", ["node18"]),
    "the first page": ("limit=1", ["node17"]),
    "the page after": ("limit=1&after=node17", ["node18"]),
}


@pytest.mark.parametrize(("query", "names"), LISTS.values(), ids=LISTS.keys())
async def test_lists_are_narrowed(api: Session, query: str, names: list[str]) -> None:
    _, body, _ = await call(api, "GET", f"/v1/machines?{query}")
    assert [machine["name"] for machine in body["machines"]] == names


async def test_a_page_says_where_the_next_begins(api: Session) -> None:
    _, body, _ = await call(api, "GET", "/v1/machines?limit=1")
    assert body["next"] == "node17"


async def test_a_machine_comes_with_its_generation_as_etag(api: Session) -> None:
    status, body, headers = await call(api, "GET", "/v1/machines/m-17")
    assert (status, body["name"], headers["ETag"]) == (200, "node17", '"3"')


ENROL = {
    "name": "node20",
    "bmc": {"driver": "redfish", "host": "192.0.2.20", "username": "admin", "password": "canary-bmc"},
    "macs": ["52-54-00-00-00-20"],
    "boot_via": "http",
    "tags": ["rack=r2"],
}


async def test_enrol_and_forget(api: Session, conductor: FakeConductor) -> None:
    status, body, headers = await call(api, "POST", "/v1/machines", json=ENROL)
    assert (status, headers["Location"]) == (201, "/v1/machines/node20")
    assert body["macs"] == ["52:54:00:00:00:20"]
    assert body["bmc"]["url"] == "redfish://admin@192.0.2.20:443"
    assert conductor.passwords["node20"] == "canary-bmc"
    assert (await call(api, "DELETE", "/v1/machines/node20"))[0] == 204
    assert (await call(api, "GET", "/v1/machines/node20"))[0] == 404


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, " a", "a\nb", "\u202ea"])
async def test_what_a_machine_runs_has_a_name(api: Session, name: str) -> None:
    status, body, _ = await call(api, "POST", "/v1/machines/node17/adopt", json={"bootenv": name})
    assert (status, "a name of your own will do" in body["hint"]) == (400, True)


async def test_a_machine_in_use_is_forgotten_by_force_only(api: Session) -> None:
    assert (await call(api, "POST", "/v1/machines/node17/adopt", json={"bootenv": "debian-12"}))[0] == 200
    path = "/v1/machines/node17"
    assert [(await call(api, "DELETE", path + more))[0] for more in ("", "?force=false")] == [409, 409]
    status, body, _ = await call(api, "DELETE", f"{path}?force=yes")
    assert (status, body["hint"]) == (400, "true or false")
    assert (await call(api, "DELETE", f"{path}?force=true"))[0] == 204


async def test_no_answer_holds_a_secret(api: Session) -> None:
    answers = [await call(api, "POST", "/v1/machines", json=ENROL)]
    answers += [await call(api, "GET", path) for path in ("/v1/machines", "/v1/machines/node17", "/v1/events")]
    assert "canary" not in str(answers)


async def test_boot_is_accepted_once_for_one_key(api: Session, conductor: FakeConductor) -> None:
    headers = {"Idempotency-Key": "k-1", "If-Match": '"3"'}
    first = await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12"}, headers=headers)
    again = await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12"}, headers=headers)
    assert first[0] == again[0] == 202
    assert first[1]["run"]["id"] == again[1]["run"]["id"] == "r-1"
    assert first[1]["run"]["phase"] == "power"
    assert [event.type for event in conductor.log] == ["run.started"]


async def test_the_way_of_a_boot(api: Session, conductor: FakeConductor) -> None:
    status, _, _ = await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12", "via": "media"})
    assert (status, conductor.via) == (202, "media")
    status, _, _ = await call(api, "GET", "/v1/machines/node18/preflight?bootenv=debian-12&via=network")
    assert (status, conductor.via) == (200, "network")
    for method, path, given in (
        ("POST", "/v1/machines/node17/boot", {"json": {"bootenv": "debian-12", "via": "floppy"}}),
        ("GET", "/v1/machines/node17/preflight?bootenv=debian-12&via=floppy", {}),
    ):
        assert (await call(api, method, path, **given))[0] == 400


CONDITIONAL: dict[str, dict[str, Any]] = {
    "boot": {"bootenv": "debian-12"},
    "release": {},
    "rescue": {},
    "unrescue": {},
    "cancel": {},
    "resume": {},
    "power": {"power": "off"},
    "hold": {"reason": "new DIMM"},
    "let-go": {},
    "adopt": {"bootenv": "theirs"},
    "boot-via": {"boot_via": "http"},
    "retire": {},
    "unretire": {},
}
"""Everything that is asked of a machine's life, with what it takes."""


@pytest.mark.parametrize("verb", CONDITIONAL)
async def test_every_verb_is_refused_of_an_old_generation(api: Session, verb: str) -> None:
    given = {"json": CONDITIONAL[verb], "headers": {"If-Match": '"2"'}}
    status, body, _ = await call(api, "POST", f"/v1/machines/node17/{verb}", **given)
    assert (status, body["type"]) == (412, "urn:problem:provisioner:stale")
    assert body["hint"].startswith("it is now 3")


async def test_a_machine_of_an_old_generation_is_not_forgotten(api: Session) -> None:
    status, body, _ = await call(api, "DELETE", "/v1/machines/node17", headers={"If-Match": '"2"'})
    assert (status, body["type"]) == (412, "urn:problem:provisioner:stale")


async def test_a_second_boot_is_a_conflict(api: Session) -> None:
    await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12"})
    status, body, _ = await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12"})
    assert (status, body["hint"]) == (409, "provisionctl cancel node17")


async def test_preflight_refuses_a_boot_and_says_how_to_mend_it(api: Session, conductor: FakeConductor) -> None:
    status, body, headers = await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "ubuntu-22.04"})
    assert (status, headers["Content-Type"]) == (422, "application/problem+json")
    assert body["faults"] == ["iso is missing: provisionctl artifacts fetch ubuntu-22.04"]
    assert conductor.machines.get("node17").run is None
    status, body, _ = await call(api, "GET", "/v1/machines/node17/preflight?bootenv=ubuntu-22.04")
    assert (status, body["ok"], [check["ok"] for check in body["checks"]]) == (200, False, [True, False])


async def test_release_power_and_cancel(api: Session) -> None:
    assert (await call(api, "POST", "/v1/machines/node17/power", json={"power": "on"}))[1]["power"] == "on"
    status, body, _ = await call(api, "POST", "/v1/machines/node17/release")
    assert (status, body["run"]["verb"]) == (202, "release")
    status, body, _ = await call(api, "POST", "/v1/machines/node17/cancel")
    assert (status, body["run"]["outcome"]) == (202, "cancelled")
    _, body, _ = await call(api, "POST", "/v1/machines/node17/release", json={"erase": False})
    assert body["run"]["verb"] == "release-keep"


async def test_a_machine_is_held_and_let_go(api: Session) -> None:
    held = {"reason": "new DIMM", "return_to": "ready"}
    status, body, _ = await call(api, "POST", "/v1/machines/node17/hold", json={"reason": "new DIMM"})
    assert (status, body["state"], {key: body["hold"][key] for key in held}) == (200, "maintenance", held)
    status, body, _ = await call(api, "POST", "/v1/machines/node17/let-go")
    assert (status, body["state"], body["hold"]) == (200, "ready", None)
    status, body, _ = await call(api, "POST", "/v1/machines/node17/let-go")
    assert (status, body["detail"]) == (409, "node17 is ready: it is not held")
    _, body, _ = await call(api, "POST", "/v1/machines/node17/hold", json={"reason": "odd", "quarantine": True})
    assert body["state"] == "quarantined"


async def test_adopt_retire_and_back(api: Session) -> None:
    _, body, _ = await call(api, "POST", "/v1/machines/node17/adopt", json={"bootenv": "an old system"})
    assert (body["state"], body["bootenv"]) == ("active", "an old system")
    status, body, _ = await call(api, "POST", "/v1/machines/node17/retire")
    assert (status, body["hint"]) == (409, "`provisionctl release node17` first")
    assert (await call(api, "POST", "/v1/machines/node18/retire"))[1]["state"] == "retired"
    assert (await call(api, "POST", "/v1/machines/node18/unretire"))[1]["state"] == "enrolled"


async def test_rescue_and_resume(api: Session) -> None:
    status, body, _ = await call(api, "POST", "/v1/machines/node17/rescue", headers={"If-Match": '"3"'})
    assert (status, body["run"]["verb"]) == (202, "rescue")
    assert (await call(api, "POST", "/v1/machines/node17/resume"))[0] == 409
    await call(api, "POST", "/v1/machines/node17/cancel")
    status, body, _ = await call(api, "POST", "/v1/machines/node17/resume")
    assert (status, body["run"]["outcome"]) == (202, "running")
    assert (await call(api, "POST", "/v1/machines/node18/unrescue"))[1]["run"]["verb"] == "unrescue"


async def test_why_says_what_is_the_matter(api: Session, conductor: FakeConductor) -> None:
    await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12"})
    await conductor.fail("node17", "something that nobody knows", "look at the console")
    conductor.see("node17", Channel.BMC, "power is on")
    _, body, _ = await call(api, "GET", "/v1/machines/node17/why")
    assert (body["diagnosis"], body["todo"]) == ("unknown", "look at the console")
    assert body["text"] == "node17 failed at dhcp: something that nobody knows"
    assert [line["text"] for line in body["evidence"]] == ["power is on"]
    assert (await call(api, "GET", "/v1/machines/node18/why"))[1]["diagnosis"] == "fine"


@pytest.mark.parametrize("limit", [1, 2, 1000])
async def test_a_trace_that_is_paged_through_has_each_line_once(
    api: Session, conductor: FakeConductor, limit: int
) -> None:
    for text, at in (("first", NOW), ("third", NOW + 9), ("reported late", NOW + 5)):
        conductor.see("node17", Channel.AGENT, text, at=at)
    told, after = [], 0
    while len(told) < 9:
        _, body, _ = await call(api, "GET", f"/v1/machines/node17/trace?after={after}&limit={limit}")
        told += [line["text"] for line in body["trace"]]
        if not body["trace"]:
            break
        after = body["next"]
    assert (sorted(told), after) == (["first", "reported late", "third"], 3)


async def test_bootenvs_say_what_they_lack(api: Session) -> None:
    _, body, _ = await call(api, "GET", "/v1/bootenvs")
    assert {b["name"]: b["ready"] for b in body["bootenvs"]} == {
        "debian-12": True,
        "discovery": True,
        "ubuntu-22.04": False,
    }


async def test_events_by_cursor(api: Session, conductor: FakeConductor) -> None:
    for number in range(5):
        await conductor.emit(f"node1{7 + number % 2}", "machine.power")
    _, body, _ = await call(api, "GET", "/v1/events?after=1&limit=2")
    assert ([e["seq"] for e in body["events"]], body["next"]) == ([2, 3], 3)
    _, body, _ = await call(api, "GET", "/v1/events?machine=node18")
    assert [(e["seq"], e["machine"], e["name"]) for e in body["events"]] == [
        (2, "m-18", "node18"),
        (4, "m-18", "node18"),
    ]
    _, body, _ = await call(api, "GET", "/v1/events?after=5")
    assert (body["events"], body["next"]) == ([], 5)


async def frames(response: aiohttp.ClientResponse, count: int) -> list[tuple[int, str, str]]:
    """Read `count` events off a stream: their id, type and machine."""
    found: list[tuple[int, str, str]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(5):
        while len(found) < count:
            line = (await response.content.readline()).decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])["name"]))
                fields = {}
    return found


SSE = {"Accept": "text/event-stream"}


async def test_a_stream_gives_what_was_and_what_comes(api: Session, conductor: FakeConductor) -> None:
    await conductor.emit("node17", "one")
    async with api.get("/v1/events", headers=SSE) as response:
        assert response.content_type == "text/event-stream"
        assert await frames(response, 1) == [(1, "one", "node17")]
        await conductor.emit("node18", "two")
        assert await frames(response, 1) == [(2, "two", "node18")]


async def test_a_stream_goes_on_from_the_last_event_id(api: Session, conductor: FakeConductor) -> None:
    for kind in ("one", "two", "three"):
        await conductor.emit("node17", kind)
    async with api.get("/v1/events", headers=SSE | {"Last-Event-ID": "2"}) as response:
        assert await frames(response, 1) == [(3, "three", "node17")]


async def test_a_stream_of_one_machine_leaves_out_the_others(api: Session, conductor: FakeConductor) -> None:
    await conductor.emit("node17", "old")
    await conductor.emit("node18", "old")
    async with api.get("/v1/events?machine=node17", headers=SSE) as response:
        assert await frames(response, 1) == [(1, "old", "node17")]
        await conductor.emit("node18", "new")
        await conductor.emit("node17", "new")
        assert await frames(response, 1) == [(4, "new", "node17")]


async def test_info_health_and_readiness(api: Session) -> None:
    _, body, _ = await call(api, "GET", "/v1/info")
    assert body["listeners"] == [{"service": "boot", "address": "http://192.0.2.1:8080"}]
    assert body["services"] == [{"name": "names", "ends": 0, "error": "", "runs": True}]
    assert body["mirror"] is None
    assert [(await call(api, "GET", path))[:2] for path in ("/healthz", "/readyz")] == [(200, b"ok\n")] * 2


async def test_head_is_get_without_the_body(api: Session) -> None:
    async with api.head("/v1/machines/node17") as response:
        assert (response.status, response.headers["ETag"], await response.read()) == (200, '"3"', b"")


REFUSED: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "an unknown machine": ("GET", "/v1/machines/nope", {}, 404, "no machine is called 'nope'"),
    "an unknown bootenv": (
        "POST",
        "/v1/machines/node17/boot",
        {"json": {"bootenv": "x"}},
        404,
        "no bootenv is called 'x'",
    ),
    "an unknown path": ("GET", "/v1/nodes", {}, 404, "no such path: /v1/nodes"),
    "a wrong method": ("PUT", "/v1/machines", {}, 405, "PUT is not for this path"),
    "an unknown key": ("POST", "/v1/machines/node17/boot", {"json": {"os": "x"}}, 400, "body: unknown key os"),
    "a limit that is no number": ("GET", "/v1/events?limit=-1", {}, 400, "limit: '-1'"),
    "preflight of nothing": ("GET", "/v1/machines/node17/preflight", {}, 400, "bootenv: missing in the query"),
    "a hold without a reason": ("POST", "/v1/machines/node17/hold", {"json": {"reason": " "}}, 400, "reason: empty"),
    "an ETag of something else": (
        "POST",
        "/v1/machines/node17/release",
        {"headers": {"If-Match": '"abc"'}},
        400,
        "If-Match: not an ETag",
    ),
    "a key without end": (
        "POST",
        "/v1/machines/node17/release",
        {"headers": {"Idempotency-Key": "k" * 201}},
        400,
        "Idem",
    ),
    "a body without end": ("POST", "/v1/machines", {"data": b"x" * (BODY_LIMIT + 1)}, 413, "the body is too large"),
    "a taken name": ("POST", "/v1/machines", {"json": {"name": "node17"}}, 409, "node17: this name is taken"),
    "a BMC that refuses": (
        "POST",
        "/v1/machines",
        {"json": {"name": "n", "bmc": {"driver": "ipmi", "host": "h", "username": "u", "password": "wrong"}}},
        502,
        "ipmi://u@h:623: user or password refused",
    ),
}


@pytest.mark.parametrize(("method", "path", "given", "status", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_wrong_input_is_a_problem_that_says_what(
    api: Session, method: str, path: str, given: dict[str, Any], status: int, says: str
) -> None:
    answered, body, headers = await call(api, method, path, **given)
    assert (answered, headers["Content-Type"]) == (status, "application/problem+json")
    assert body["status"] == status
    assert body["detail"].startswith(says)
    assert body["title"]
    assert body["type"].startswith("urn:problem:provisioner:")


async def test_a_body_without_a_length_is_bounded_too(api: Session) -> None:
    async def endless() -> Any:
        for _ in range(BODY_LIMIT // 1024 + 2):
            yield b"x" * 1024

    assert (await call(api, "POST", "/v1/machines", data=endless()))[0] == 413


async def test_everything_wrong_in_an_enrolment_is_told_at_once(api: Session) -> None:
    bmc = {"driver": "ipmi", "host": "a b", "username": "u", "password": "x" * 21, "port": 70000, "fingerprint": "zz"}
    body = {"name": "Node_1", "boot_via": "floppy", "macs": ["aa:bb"], "bmc": bmc}
    status, problem, _ = await call(api, "POST", "/v1/machines", json=body)
    assert status == 422
    assert [fault.split(": ")[0] for fault in problem["faults"]] == [
        "name",
        "boot_via",
        "macs[0]",
        "bmc.host",
        "bmc.port",
        "bmc.password",
        "bmc.fingerprint",
    ]


async def test_events_as_cloudevents(api: Session, conductor: FakeConductor) -> None:
    await call(api, "POST", "/v1/machines/node17/boot", json={"bootenv": "debian-12"})
    headers = {"Accept": "application/cloudevents+json"}
    status, body, answered = await call(api, "GET", "/v1/events?after=0", headers=headers)
    assert (status, answered["Content-Type"]) == (200, "application/cloudevents-batch+json")
    assert [(event["type"], event["subject"], event["specversion"]) for event in body] == [
        ("provisioner.run.started", "node17", "1.0")
    ]

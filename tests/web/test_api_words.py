"""Words that mean nothing are refused: filters that select by themselves, words that nobody reads, no real machines."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.web.verbs import REASON_CHARS
from tests.web.fakes import FakeConductor
from tests.web.test_api import Session, call

LIMIT = "a whole number from 1 to 1000"
FILTERS = {
    "a state that is none": ("/v1/machines?state=foo", "state: 'foo'", "one of discovered, enrolled"),
    "a limit of nothing": ("/v1/machines?limit=0", "limit: '0'", LIMIT),
    "a limit beyond a page": ("/v1/events?limit=1001", "limit: '1001'", LIMIT),
    "a limit beyond any number": (f"/v1/machines?limit={'9' * 20}", "limit: '999", LIMIT),
    "two limits": ("/v1/machines?limit=1&limit=2", "limit: given more than once", ""),
}


@pytest.mark.parametrize(("path", "says", "hint"), FILTERS.values(), ids=FILTERS.keys())
async def test_a_filter_that_means_nothing(api: Session, path: str, says: str, hint: str) -> None:
    status, problem, _ = await call(api, "GET", path)
    assert (status, problem["detail"][: len(says)]) == (400, says)
    assert hint in problem.get("hint", "")


async def test_several_names_and_the_largest_page(api: Session) -> None:
    status, body, _ = await call(api, "GET", "/v1/machines?name=node17&name=node18&limit=1000")
    assert (status, [row["name"] for row in body["machines"]]) == (200, ["node17", "node18"])


WORDLESS = ("rescue", "unrescue", "cancel", "resume", "let-go", "retire", "unretire")


@pytest.mark.parametrize("verb", WORDLESS)
async def test_a_word_for_what_takes_none(api: Session, conductor: FakeConductor, verb: str) -> None:
    status, problem, _ = await call(api, "POST", f"/v1/machines/node17/{verb}", json={"x": 1})
    assert (status, problem["detail"]) == (400, "body: unknown key x")
    assert conductor.log == []


@pytest.mark.parametrize(("count", "status"), [(REASON_CHARS, 200), (REASON_CHARS + 1, 400)])
async def test_a_reason_is_what_a_list_can_show(api: Session, count: int, status: int) -> None:
    given: dict[str, Any] = {"reason": "x" * count}
    assert (await call(api, "POST", "/v1/machines/node17/hold", json=given))[0] == status


async def test_what_no_machine_can_have(api: Session) -> None:
    macs = ["ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:00:5e:00:00:01", "52:54:00:00:00:99"]
    body = {"name": "node40", "macs": macs, "tags": ["rack=r1", "a\0b"]}
    status, problem, _ = await call(api, "POST", "/v1/machines", json=body)
    assert status == 422
    assert [fault.split(": ")[0] for fault in problem["faults"]] == ["macs[0]", "macs[1]", "macs[2]", "tags[1]"]


async def test_what_is_given_twice_is_stored_once(api: Session) -> None:
    body = {"name": "node40", "macs": ["52:54:00:00:00:99", "52-54-00-00-00-99"], "tags": ["rack=r1", "x", "rack=r1"]}
    status, machine, _ = await call(api, "POST", "/v1/machines", json=body)
    assert (status, machine["macs"], machine["tags"]) == (201, ["52:54:00:00:00:99"], ["rack=r1", "x"])


async def test_how_a_machine_boots_is_said_anew(api: Session) -> None:
    _, body, _ = await call(api, "POST", "/v1/machines/node17/boot-via", json={"boot_via": "http"})
    assert (body["boot_via"], body["state"]) == ("http", "ready")
    status, body, _ = await call(api, "POST", "/v1/machines/node17/boot-via", json={"boot_via": "floppy"})
    assert (status, (await call(api, "GET", "/v1/machines/node17"))[1]["boot_via"]) == (400, "http")

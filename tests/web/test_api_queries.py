"""A query that is not looked at is refused: who wrote it takes it for heard."""

from __future__ import annotations

import re

import pytest

from provisioner.web.api import Api
from provisioner.web.ports import Route
from tests.web.fakes import FakeConductor, site
from tests.web.test_api import Session, call

ROUTES = {f"{route.method} {route.path}": route for route in Api(site(FakeConductor())).routes()}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
async def test_no_path_takes_a_query_that_it_does_not_look_at(api: Session, route: Route) -> None:
    path = re.sub(r"\{\w+\}", "node17", route.path)
    status, body, _ = await call(api, route.method, f"{path}?force=true&dry_run=true")
    assert (status, body["detail"][:25]) == (400, "unknown query parameter '")


REFUSED = {
    "an unknown filter": ("GET", "/v1/machines?stat=active", "unknown query parameter 'stat'"),
    "a filter where none is": ("GET", "/v1/bootenvs?name=a", "unknown query parameter 'name'"),
    "a key of the body": ("POST", "/v1/machines/node17/release?erase=false", "unknown query parameter 'erase'"),
    "a filter twice": ("GET", "/v1/events?limit=1&limit=2", "limit: given more than once"),
}


@pytest.mark.parametrize(("method", "path", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused_is_named(api: Session, method: str, path: str, says: str) -> None:
    status, body, _ = await call(api, method, path)
    assert (status, body["detail"]) == (400, says)

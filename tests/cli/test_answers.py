"""What is taken for a daemon's answer, and what for a stranger's."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from provisioner.cli.answers import comes_back
from provisioner.cli.client import Client
from provisioner.cli.exits import ApiProblem, Exit, Forbidden, Stranger, Unreachable, exit_of
from provisioner.errors import ApiError

STRANGERS = {
    "what machines ask": (404, "text/plain", "HTTP 404 Not Found"),
    "a server that knows no such verb": (405, "text/plain", "HTTP 405 Method Not Allowed"),
    "a port of TLS": (400, "text/html", "HTTP 400 Bad Request"),
    "somebody's page": (200, "text/html", "HTTP 200 OK"),
    "somebody's word": (200, "text/plain", "it does not answer in JSON"),
    "what calls itself JSON": (200, "application/json", "it does not answer in JSON"),
    "what calls itself a problem": (502, "application/problem+json", "it does not answer in JSON"),
}


@pytest.mark.parametrize(("status", "kind", "said"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_what_is_no_daemon_is_not_taken_for_one(status: int, kind: str, said: str) -> None:
    async def stranger(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text="not found", content_type=kind)

    async with RawTestServer(stranger) as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(Stranger, match=f"{url} is not the operator API: {said} .that is a UNIX socket") as caught:
            await asyncio.to_thread(Client(url).get, "/v1/machines/node17")
    assert exit_of(caught.value) == Exit.UNREACHABLE


@pytest.mark.parametrize("status", [414, 431])
async def test_a_proxy_that_takes_no_such_query_is_no_stranger(status: int) -> None:
    async def proxy(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text="<h1>too long</h1>", content_type="text/html")

    async with RawTestServer(proxy) as server:
        with pytest.raises(ApiProblem, match=f"the request is too long: HTTP {status}"):
            await asyncio.to_thread(Client(f"http://127.0.0.1:{server.port}").get, "/v1/machines")


async def test_a_problem_that_has_no_words_is_told_by_its_status() -> None:
    async def proxy(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({}, status=502, content_type="application/problem+json")

    async with RawTestServer(proxy) as server:
        with pytest.raises(ApiProblem, match="Bad Gateway"):
            await asyncio.to_thread(Client(f"http://127.0.0.1:{server.port}").get, "/v1/machines")


async def test_what_a_proxy_says_before_a_daemon_stays_what_it_is() -> None:
    async def proxy(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=401)

    async with RawTestServer(proxy) as server:
        with pytest.raises(ApiProblem, match="401") as caught:
            await asyncio.to_thread(Client(f"http://127.0.0.1:{server.port}").get, "/v1/machines")
    assert exit_of(caught.value) == Exit.AUTH


AWAY = {
    "it is not there": (Unreachable("no daemon at x"), "the daemon does not answer; waiting for it"),
    "it hung up, and it was asked again for ten seconds": (ApiError("x: the daemon hung up"), "x: the daemon hung up"),
    "it cannot write": (ApiProblem(503, "the disk is full"), "the disk is full"),
    "something between is out of order": (ApiProblem(502, "bad\x1b gateway"), "bad\\x1b gateway"),
}


@pytest.mark.parametrize(("error", "told"), AWAY.values(), ids=AWAY.keys())
def test_who_follows_waits_for_a_daemon_that_is_away(error: ApiError, told: str) -> None:
    assert comes_back(error) == told


@pytest.mark.parametrize(
    "error", [ApiProblem(404, "forgotten"), Stranger("no daemon"), Forbidden("not yours")], ids=repr
)
def test_what_does_not_come_back_ends_who_follows(error: ApiError) -> None:
    with pytest.raises(type(error)):
        comes_back(error)

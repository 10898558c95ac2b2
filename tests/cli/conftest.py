"""A daemon's API, served for real by a loop in another thread, and `provisionctl` run against it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from provisioner.cli.root import run
from provisioner.errors import ProvisionerError
from provisioner.lifecycle.declared import Applied
from provisioner.netwatch.rogues import Rogue
from provisioner.web.api import Api
from provisioner.web.app import operator_app
from provisioner.web.ca import CaApi
from provisioner.web.fleet import FleetApi
from provisioner.web.network import NetworkApi
from provisioner.web.ports import Route, Site
from provisioner.web.preview import PreviewApi
from provisioner.web.replies import json_reply
from provisioner.web.server import MAX_QUERY_BYTES, Server
from provisioner.web.site import SiteApi
from tests.lifecycle.previews import previews, readiness
from tests.web.fakes import FakeConductor, site
from tests.web.rollouts import FakeRollouts

Do = Callable[[Coroutine[Any, Any, Any]], Any]


class FakeWatch:
    """What is seen on the wires."""

    def __init__(self) -> None:
        self.seen: list[Rogue] = []
        self.proxies: dict[str, str] = {}
        self.deaf: dict[str, str] = {}
        self.fault = ""

    def rogues(self) -> list[Rogue]:
        return self.seen

    def fallen(self) -> dict[str, str]:
        return self.proxies


class FakeDeclared:
    """What was applied from a directory, and why it is not in use."""

    def __init__(self) -> None:
        self.applied, self.lacking = Applied(), list[str]()


class NoNames:
    """No names are kept in the DNS."""

    def routes(self) -> list[Route]:
        return [Route("GET", "/v1/dhcp/names", self.names)]

    async def names(self, _request: web.Request) -> web.Response:
        return json_reply({"enabled": False})


class NoSubnets:
    """No DHCP is served."""

    def routes(self) -> list[Route]:
        return [Route("GET", f"/v1/dhcp/{word}", self.none) for word in ("subnets", "subnets6")]

    async def none(self, request: web.Request) -> web.Response:
        return json_reply({request.path.rpartition("/")[2]: []})


class FakeLoaders:
    """One boot loader that is served."""

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/v1/loaders", self.list),)

    async def list(self, request: web.Request) -> web.Response:
        return web.json_response({"loaders": [{"name": "snponly.efi", "size_bytes": 10_000}]})


class FakeBoards:
    """Says that machines are on, unless their BMCs are `dead`."""

    def __init__(self, conductor: FakeConductor) -> None:
        self._conductor = conductor
        self.dead: dict[str, ProvisionerError] = {}

    def routes(self) -> tuple[Route, ...]:
        return (Route("POST", "/v1/machines/{ref}/bmc/power.status", self.power),)

    async def power(self, request: web.Request) -> web.Response:
        name = self._conductor.machines.get(request.match_info["ref"]).name
        if name in self.dead:
            raise self.dead[name]
        return web.json_response({"result": "on"})


class Daemon:
    """The API over a `FakeConductor`. `do` runs something on its loop; it can be stopped and started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.conductor = FakeConductor()
        self.rollouts = FakeRollouts(self.conductor)
        self.watch = FakeWatch()
        self.boards = FakeBoards(self.conductor)
        self.declared = FakeDeclared()
        self.ca = CaApi(path.with_name("ca.pem"), 0)
        self.site: Callable[[FakeConductor], Site] = site
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server | None = None

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def start(self) -> None:
        site, watch = self.site(self.conductor), self.watch
        machines = self.conductor.machines
        shown = PreviewApi(previews(machines), readiness(machines).forecast)
        apis = (
            Api(site),
            FleetApi(self.rollouts),
            NetworkApi(watch, watch),
            NoNames(),
            NoSubnets(),
            shown,
            self.ca,
            SiteApi(self.declared),
            self.boards,
            FakeLoaders(),
        )
        routes = [route for api in apis for route in api.routes()]
        self._server = Server(operator_app(routes), drain_s=0.05, line_bytes=MAX_QUERY_BYTES)
        self.do(self._server.listen_unix(self.path))

    def serve_ca(self, certificate: Path, tls_port: int) -> None:
        """Serve anew, with this CA."""
        self.stop()
        self.ca = CaApi(certificate, tls_port)
        self.start()

    def stop(self) -> None:
        if self._server is not None:
            self.do(self._server.close())
            self._server = None

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str


Ctl = Callable[..., Ran]
Ask = Callable[..., Coroutine[Any, Any, Any]]


def cut_once(ask: Ask) -> Ask:
    """Have the line cut the first time, after what is asked for was done and before the answer."""
    whole = iter([False])

    async def asked(*args: Any, **given: Any) -> Any:
        answer = await ask(*args, **given)
        if not next(whole, True):
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return answer

    return asked


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "api.sock")
    daemon.start()
    yield daemon
    daemon.close()


@pytest.fixture
def ctl(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run `provisionctl` in this process, with the daemon's socket in the environment."""
    monkeypatch.setenv("PROVISIONER_SOCKET", str(daemon.path))
    monkeypatch.setenv("TZ", "UTC")

    def call(*args: str) -> Ran:
        capsys.readouterr()
        status = run(args)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return call


@pytest.fixture
def loop() -> Iterator[Do]:
    """Run something on a loop in another thread."""
    turning = asyncio.new_event_loop()
    thread = threading.Thread(target=turning.run_forever, daemon=True)
    thread.start()
    yield lambda work: asyncio.run_coroutine_threadsafe(work, turning).result(timeout=20)
    turning.call_soon_threadsafe(turning.stop)
    thread.join()
    turning.close()

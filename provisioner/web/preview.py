"""Previews in the operator API: what a machine would get, and where each value comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from provisioner.dhcp.foretell import Foretold
from provisioner.errors import WireError
from provisioner.lifecycle.forecast import Forecast
from provisioner.lifecycle.preview import Preview, Value
from provisioner.model.facts import Disk
from provisioner.web.bodies import decode
from provisioner.web.intents import check_via
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply
from provisioner.web.views import masked, when

MACHINE = "/v1/machines/{ref}"


Given = Mapping[str, Any] | None
"""Parameters of one boot; None where the query has none."""


class Asked(Protocol):
    """Who knows; `lifecycle.preview.Previews` is the real one."""

    async def render(self, ref: str, bootenv: str, file: str = "", params: Given = None) -> Preview: ...

    def values(self, ref: str, bootenv: str = "", name: str = "", params: Given = None) -> tuple[Value, ...]: ...


Foresee = Callable[[str, str, str, Given], Awaitable[Forecast]]
"""Says what a boot would do; `Conductor.forecast` is the real one."""


class PreviewApi:
    """Handlers: they read, ask and answer."""

    def __init__(self, previews: Asked, forecast: Foresee) -> None:
        self._ask = previews
        self._forecast = forecast

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (
            Route("GET", f"{MACHINE}/render", self.render, query=("bootenv", "file", "params")),
            Route("GET", f"{MACHINE}/params", self.params, query=("bootenv", "name", "params")),
            Route("GET", f"{MACHINE}/plan", self.plan, query=("bootenv", "via", "params")),
        )

    async def render(self, request: web.Request) -> web.Response:
        """Render a boot's files for one machine; nothing is made that would open anything."""
        given = request.query
        if not given.get("bootenv"):
            raise WireError("bootenv: missing in the query", hint="GET .../render?bootenv=debian-12")
        params, ref = _params(given.get("params", "")), request.match_info["ref"]
        found = await self._ask.render(ref, given["bootenv"], given.get("file", ""), params)
        files = [{"name": one.name, "content_type": one.content_type, "text": one.text} for one in found.files]
        head = {"bootenv": found.bootenv, "arch": found.arch, "address": found.address, "files": files}
        return json_reply(head | {"params": [value_view(value) for value in found.values]})

    async def params(self, request: web.Request) -> web.Response:
        """Explain a machine's parameters: every layer, and which of them won."""
        given = request.query
        params, ref = _params(given.get("params", "")), request.match_info["ref"]
        values = self._ask.values(ref, given.get("bootenv", ""), given.get("name", ""), params)
        return json_reply({"params": [value_view(value) for value in values]})

    async def plan(self, request: web.Request) -> web.Response:
        """Say everything that a boot would do, and what it would be refused for; nothing is touched."""
        given = request.query
        bootenv, via = given.get("bootenv", ""), given.get("via", "")
        if not bootenv:
            raise WireError("bootenv: missing in the query", hint="GET .../plan?bootenv=debian-12")
        check_via(via)
        params = _params(given.get("params", ""))
        return json_reply(forecast_view(await self._forecast(request.match_info["ref"], bootenv, via, params)))


def _params(text: str) -> Given:
    try:
        return decode(text.encode(errors="surrogatepass"), dict[str, Any]) if text else None
    except WireError as error:
        raise WireError(f"params: {text[:80]!r} is no JSON object", hint='params={"disk.layout":"lvm"}') from error


def forecast_view(found: Forecast) -> dict[str, Any]:
    """Show what a boot would do."""
    facts, bootenv = found.machine.facts, found.bootenv
    return {
        "machine": found.machine.name,
        "bootenv": bootenv.name,
        "title": bootenv.title,
        "tested": bootenv.tested,
        "untested": bootenv.untested,
        "verb": str(found.verb),
        "arch": found.arch,
        "ok": found.ok,
        "steps": list(found.steps),
        "dhcp": [{"asker": each.asker, "plan": each.plan, **_told_view(each.told)} for each in found.said],
        "chain": list(found.chain),
        "script": found.script,
        "files": list(found.files),
        "disks": [{**disk_view(each.disk), "loses": each.loses} for each in found.targets],
        "observed": when(facts.observed_at) if facts else None,
        "checks": list(found.checks),
    }


def _told_view(told: Foretold) -> dict[str, Any]:
    return {
        "link": told.link,
        "address": told.address,
        "next_server": told.next_server,
        "boot_file": told.boot_file,
        "answered": not told.silent,
        "reason": told.reason,
    }


def disk_view(disk: Disk) -> dict[str, Any]:
    """Show a disk: what tells it apart, and what it holds."""
    return {
        "name": disk.name,
        "path": disk.path,
        "by_path": disk.by_path,
        "size_bytes": disk.size_bytes,
        "model": disk.model,
        "serial": disk.serial,
        "wwn": disk.wwn,
        "holds": disk.holds,
    }


def value_view(value: Value) -> dict[str, Any]:
    """Show a parameter. What looks like a secret is not shown, whoever declared it."""
    layers = [
        {"layer": each.layer, "origin": each.origin, "wins": each.wins, **masked({"value": each.value})}
        for each in value.settings
    ]
    itself, *inside = value.words
    head = {"name": value.name, "about": value.about, "merge": value.merge, "takes": itself.takes}
    keys = [word._asdict() for word in inside]
    return head | {"inside": keys} | masked({"value": value.value}) | {"layers": layers}

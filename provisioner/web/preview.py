"""Previews in the operator API: what a machine would get, and where each value comes from."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from provisioner.errors import WireError
from provisioner.lifecycle.preview import Preview, Value
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply, query
from provisioner.web.views import masked

MACHINE = "/v1/machines/{ref}"


class Asked(Protocol):
    """Who knows; `lifecycle.preview.Previews` is the real one."""

    async def render(self, ref: str, bootenv: str, file: str = "") -> Preview: ...

    def values(self, ref: str, bootenv: str = "", name: str = "") -> tuple[Value, ...]: ...


class PreviewApi:
    """Handlers: they read, ask and answer."""

    def __init__(self, previews: Asked) -> None:
        self._ask = previews

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return Route("GET", f"{MACHINE}/render", self.render), Route("GET", f"{MACHINE}/params", self.params)

    async def render(self, request: web.Request) -> web.Response:
        """Render a boot's files for one machine; nothing is made that would open anything."""
        given = query(request, "bootenv", "file")
        if not given.get("bootenv"):
            raise WireError("bootenv: missing in the query", hint="GET .../render?bootenv=debian-12")
        found = await self._ask.render(request.match_info["ref"], given["bootenv"], given.get("file", ""))
        files = [{"name": one.name, "content_type": one.content_type, "text": one.text} for one in found.files]
        head = {"bootenv": found.bootenv, "arch": found.arch, "address": found.address, "files": files}
        return json_reply(head | {"params": [value_view(value) for value in found.values]})

    async def params(self, request: web.Request) -> web.Response:
        """Explain a machine's parameters: every layer, and which of them won."""
        given = query(request, "bootenv", "name")
        values = self._ask.values(request.match_info["ref"], given.get("bootenv", ""), given.get("name", ""))
        return json_reply({"params": [value_view(value) for value in values]})


def value_view(value: Value) -> dict[str, Any]:
    """Show a parameter. What looks like a secret is not shown, whoever declared it."""
    layers = [
        {"layer": each.layer, "origin": each.origin, "wins": each.wins, **masked({"value": each.value})}
        for each in value.settings
    ]
    head = {"name": value.name, "about": value.about, "merge": value.merge}
    return head | masked({"value": value.value}) | {"layers": layers}

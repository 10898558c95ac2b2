"""Settings of DHCP in the operator API: how they are read and shown, and the subnets of either family. docs/api.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Generic

import msgspec
from aiohttp import web

from provisioner import yamlfile
from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import FOR_EVER, Lease
from provisioner.dhcp.subnetbook import S, SubnetBook
from provisioner.errors import WireError
from provisioner.fields import Faults
from provisioner.model.net import mac_from_bytes
from provisioner.settings import decode
from provisioner.web import bodies
from provisioner.web.ports import Route
from provisioner.web.replies import BODY_LIMIT, json_reply
from provisioner.web.views import when


class SubnetsApi(Generic[S]):
    """Handlers over the subnets of one family, below /v1/dhcp/`word`."""

    def __init__(self, book: SubnetBook[S], kind: type[S], word: str, fallen: Callable[[], Mapping[str, str]]) -> None:
        self._book, self._kind, self._word = book, kind, word
        self._fallen = fallen
        """In which we are a proxy only for now, and whose."""

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        all_of_them = f"/v1/dhcp/{self._word}"
        return (
            Route("GET", all_of_them, self.list),
            Route("POST", all_of_them, self.set_all),
            Route("PUT", f"{all_of_them}/{{name:.+}}", self.set),
            Route("DELETE", f"{all_of_them}/{{name:.+}}", self.remove),
        )

    async def list(self, request: web.Request) -> web.Response:
        """List the subnets that are served."""
        return json_reply({self._word: [self._view(said, by) for said, by in self._book.all()]})

    async def set(self, request: web.Request) -> web.Response:
        """Add or change a subnet."""
        name, wanted = request.match_info["name"], await read_settings(request, self._kind)
        if wanted.title != name:
            raise WireError(f"body.name: the subnet of this body is called {wanted.title[:40]!r}, that of the path not")
        await self._book.set(wanted)
        return json_reply(self._view(wanted, Origin.OPERATOR))

    async def set_all(self, request: web.Request) -> web.Response:
        """Add or change some together, all or none: those on one wire have settings that are alike."""
        wanted = await read_list(request, self._word, self._kind)
        await self._book.set(*wanted)
        return json_reply({self._word: [self._view(each, Origin.OPERATOR) for each in wanted]})

    async def remove(self, request: web.Request) -> web.Response:
        """Take back what was said of a subnet."""
        await self._book.remove(request.match_info["name"])
        return web.Response(status=204)

    def _view(self, subnet: S, origin: Origin) -> dict[str, Any]:
        return said_view(subnet, origin) | {"fallback": self._fallen().get(subnet.title, "")}


def said_view(settings: Any, origin: Origin) -> dict[str, Any]:
    """Show settings by the keys of the configuration file, with who said them."""
    words = {Origin.FILE: "file", Origin.OPERATOR: "api", Origin.MACHINE: "machine"}
    return {field.name: getattr(settings, field.name) for field in fields(settings)} | {"origin": words[origin]}


def held_view(leases: Iterable[Lease], spell: Callable[[int], str]) -> dict[str, Any]:
    """Show who else has the addresses of a reservation that was just made."""
    return {
        "held": [
            {
                "address": spell(lease.ip),
                "mac": mac_from_bytes(lease.key[:6]) if len(lease.key) in (6, 7) else "",
                "until": when(lease.until) if lease.until < FOR_EVER else None,
            }
            for lease in leases
        ]
    }


async def read_settings(request: web.Request, kind: type[Any]) -> Any:
    """Read a body as the configuration file is read: unknown keys are refused with a hint."""
    return _settings(bodies.decode(await bodies.read_body(request, BODY_LIMIT), dict[str, Any]), kind, "body")


async def read_list(request: web.Request, word: str, kind: type[Any]) -> list[Any]:
    """Read a body that has a list of settings below `word`; one at least."""
    said = bodies.decode(await bodies.read_body(request, BODY_LIMIT), dict[str, list[dict[str, Any]]])
    if list(said) != [word] or not said[word]:
        raise WireError(f"body: wants a list as {word}, of one at least, and nothing else")
    return [_settings(each, kind, f"body.{word}[{at}]") for at, each in enumerate(said[word])]


def _settings(said: dict[str, Any], kind: type[Any], where: str) -> Any:
    faults = Faults()
    found = decode(kind, yamlfile.load(msgspec.json.encode(said).decode(), where), faults)  # not all of JSON is YAML
    faults.check(where)
    return found

"""Declarations of a site in the operator API: machines and catalogue as one directory says them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import web

from provisioner.errors import ConfigError
from provisioner.lifecycle.declared import PROFILE, ROLE, Applied, Declared, Planned, Wanted
from provisioner.web import bodies
from provisioner.web.intents import BmcBody, EnrolBody, bmc_address, enrol_request
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply, query
from provisioner.web.views import when

BODY_BYTES = 32 << 20
"""A catalogue of 16 MiB as JSON, and some ten thousand machines."""
_REFERENCE = re.compile(r"(store|file|env|vault):\S{1,200}")


class Asked(Protocol):
    """Who does it; `declaring.Declaring` is the real one."""

    applied: Applied

    @property
    def lacking(self) -> Sequence[str]: ...

    async def plan(self, wanted: Wanted) -> Planned: ...

    async def apply(self, wanted: Wanted, after: int | None = None) -> Planned: ...


class MachineBody(msgspec.Struct, forbid_unknown_fields=True):
    """One machine. `bmc.password` refers to a secret; `source` says where it is declared."""

    name: str
    source: str = ""
    macs: list[str] = msgspec.field(default_factory=list)
    bmc: BmcBody | None = None
    boot_via: str = ""
    params: dict[str, Any] | None = None
    tags: list[str] | None = None
    roles: list[str] = msgspec.field(default_factory=list)
    profile: str = ""
    address: str = ""


class SiteBody(msgspec.Struct, forbid_unknown_fields=True):
    """A directory. Machines are decoded one by one, so that every fault is told with its file."""

    revision: str = ""
    machines: list[dict[str, Any]] = msgspec.field(default_factory=list)
    files: dict[str, str] = msgspec.field(default_factory=dict)
    prune: bool = False
    verify: bool = True
    after: int | None = None


class SiteApi:
    """Handlers: they read, ask and answer."""

    def __init__(self, site: Asked) -> None:
        self._ask = site

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (
            Route("GET", "/v1/site", self.site),
            Route("POST", "/v1/site/plan", self.plan),
            Route("POST", "/v1/site/apply", self.apply),
        )

    async def site(self, request: web.Request) -> web.Response:
        """Say what was applied last."""
        query(request)
        return json_reply(_applied_view(self._ask.applied) | {"lacking": list(self._ask.lacking)})

    async def plan(self, request: web.Request) -> web.Response:
        """Say what an apply would do, and why it would be refused."""
        wanted, _ = await self._read(request)
        return json_reply(planned_view(await self._ask.plan(wanted)) | {"lacking": list(self._ask.lacking)})

    async def apply(self, request: web.Request) -> web.Response:
        """Apply a directory, all of it or nothing."""
        wanted, after = await self._read(request)
        planned = await self._ask.apply(wanted, after)
        return json_reply(planned_view(planned) | {"applied": _applied_view(self._ask.applied)})

    async def _read(self, request: web.Request) -> tuple[Wanted, int | None]:
        query(request)
        raw = await bodies.read_body(request, BODY_BYTES)
        return await asyncio.to_thread(_wanted, raw)  # ten thousand machines: half a second


def _wanted(raw: bytes) -> tuple[Wanted, int | None]:
    body = bodies.decode(raw, SiteBody)
    faults: list[str] = []
    machines = tuple(each for given in body.machines if (each := _declared(given, faults)) is not None)
    if faults:
        raise ConfigError("the declarations are not in order", faults=faults)
    return Wanted(body.revision[:200], machines, body.files, body.prune, body.verify), body.after


def _declared(raw: dict[str, Any], faults: list[str]) -> Declared | None:
    where = f"{raw.get('source', 'machines')}: {raw.get('name', '?')}"
    try:
        body = msgspec.convert(raw, MachineBody)
        reference, bmc = "", None
        if body.bmc is not None:
            reference, body.bmc.password = body.bmc.password, ""
            bmc = bmc_address(body.bmc)
        request = enrol_request(EnrolBody(body.name, macs=body.macs, boot_via=body.boot_via or "pxe"))
    except msgspec.ValidationError as error:
        faults.append(f"{where}: {str(error).replace('`', '')}")
        return None
    except ConfigError as error:
        faults += [f"{where}: {fault}" for fault in error.faults or [error.message]]
        return None
    if reference and not _REFERENCE.fullmatch(reference):
        faults.append(
            f"{where}: bmc.password: refer to a secret, never write one: store:NAME, file:NAME, env:NAME, ..."
        )
    if body.address and not body.macs:
        faults.append(f"{where}: address: is kept for a hardware address, and macs has none")
    tags = None
    if body.tags is not None or body.roles or body.profile:
        profile = [PROFILE + body.profile] if body.profile else []
        tags = tuple(dict.fromkeys((*(body.tags or ()), *(ROLE + role for role in body.roles), *profile)))
    return Declared(
        body.name, request.macs, bmc, reference, body.boot_via, body.params, tags, body.address, body.source
    )


def planned_view(planned: Planned) -> dict[str, Any]:
    """Show what an apply would do."""
    return {
        "base": _applied_view(planned.base),
        "revision": planned.revision,
        "catalogue": list(planned.catalogue),
        "machines": [{"what": deed.what, "name": deed.name, "lines": list(deed.lines)} for deed in planned.deeds],
        "faults": list(planned.faults),
    }


def _applied_view(applied: Applied) -> dict[str, Any]:
    return {
        "seq": applied.seq,
        "at": when(applied.at),
        "revision": applied.revision,
        "machines": len(applied.machines),
        "catalogue": applied.folder,
    }

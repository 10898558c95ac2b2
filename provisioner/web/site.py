"""Declarations of a site in the operator API: machines and catalogue as one directory says them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from aiohttp import web

from provisioner.errors import ConfigError
from provisioner.fields import nearest
from provisioner.lifecycle.declared import PROFILE, ROLE, Applied, Declared, Planned, Wanted
from provisioner.web import bodies
from provisioner.web.intents import BmcBody, EnrolBody, enrol_request
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply
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


_BESIDE = frozenset({"name", "source"})
_OF_MACHINE = frozenset(MachineBody.__struct_fields__) - _BESIDE
_OF_BMC = frozenset(BmcBody.__struct_fields__)


class SiteBody(msgspec.Struct, forbid_unknown_fields=True):
    """A directory. Machines are decoded one by one, so that every fault is told with its file.

    `lines` says of each file on which line the keys in it stand: `node17`, `node17.bmc`, `node17.bmc.host`.
    """

    revision: str = ""
    machines: list[dict[str, Any]] = msgspec.field(default_factory=list)
    lines: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
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
        raw = await bodies.read_body(request, BODY_BYTES)
        return await asyncio.to_thread(_wanted, raw)  # ten thousand machines: half a second


def _wanted(raw: bytes) -> tuple[Wanted, int | None]:
    body = bodies.decode(raw, SiteBody)
    faults: list[str] = []
    machines = tuple(each for given in body.machines if (each := _declared(given, body.lines, faults)) is not None)
    if faults:
        raise ConfigError("the declarations are not in order", faults=faults)
    return Wanted(body.revision[:200], machines, body.files, body.prune, body.verify), body.after


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a machine is declared. `lines` are those of its file, by the names of machines and their keys."""

    source: str
    name: str
    lines: Mapping[str, int]

    def of(self, key: str = "") -> str:
        """Name the file, and the line of a key: that of what it is in, where it has none of its own."""
        path = f"{self.name}.{key}"
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return f"{self.source}:{self.lines[path]}" if path else self.source

    def fault(self, text: str) -> str:
        """Say a fault that begins with its key, such as `macs[0]`, with its place."""
        key = text.partition(":")[0].replace("[", ".").replace("]", "")
        return f"{self.of(key)}: {self.name}: {text}"


def _known(
    given: Mapping[str, Any], keys: Collection[str], place: _Place, faults: list[str], inside: str = ""
) -> dict[str, Any]:
    """Leave out what is not one of `keys`: each is a fault."""
    faults += [
        place.fault(f"{inside}{key}: unknown key{nearest(key, keys)}") for key in given if key not in {*keys, *_BESIDE}
    ]
    return {key: value for key, value in given.items() if key in keys}


def _declared(raw: dict[str, Any], lines: Mapping[str, Mapping[str, int]], faults: list[str]) -> Declared | None:
    source = str(raw.get("source", "machines"))
    place = _Place(source, str(raw.get("name", "?")), lines.get(source, {}))
    known = _known(raw, _OF_MACHINE, place, faults) | {key: raw[key] for key in _BESIDE if key in raw}
    if isinstance(known.get("bmc"), dict):
        known["bmc"] = _known(known["bmc"], _OF_BMC, place, faults, "bmc.")
    try:
        body = msgspec.convert(known, MachineBody)
        reference = ""
        if body.bmc is not None:
            reference, body.bmc.password = body.bmc.password, ""
        request = enrol_request(EnrolBody(body.name, body.bmc, body.macs, body.boot_via))
    except msgspec.ValidationError as error:
        path, said = bodies.in_words(error)
        faults.append(place.fault(f"{path.removeprefix('.')}: {said}" if path else said))
        return None
    except ConfigError as error:
        faults += [place.fault(fault) for fault in error.faults or [error.message]]
        return None
    if reference and not _REFERENCE.fullmatch(reference):
        text = "bmc.password: refer to a secret, never write one: store:NAME, file:NAME, env:NAME, ..."
        faults.append(place.fault(text))
    if body.address and not body.macs:
        faults.append(place.fault("address: is kept for a hardware address, and macs has none"))
    tags = None
    if body.tags is not None or body.roles or body.profile:
        profile = [PROFILE + body.profile] if body.profile else []
        tags = tuple(dict.fromkeys((*(body.tags or ()), *(ROLE + role for role in body.roles), *profile)))
    return Declared(
        body.name, request.macs, request.bmc, reference, body.boot_via, body.params, tags, body.address, place.of()
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

"""The operator API of BMCs: every verb by its name, why which driver is asked, and the serial console."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from provisioner.bmc.arguments import NOT_HERE, SECRETS, arguments, parameters, plain
from provisioner.bmc.consoles import Consoles
from provisioner.bmc.pool import DRIVERS, Bmcs, offered_by
from provisioner.bmc.table import DESTROYS, VERBS, Verb
from provisioner.errors import ConflictError, WireError
from provisioner.model.bmc import BmcAddress
from provisioner.model.machine import Machine, State
from provisioner.web.bodies import decode, read_body
from provisioner.web.ports import Machines, Route
from provisioner.web.replies import json_reply, query

Login = Callable[[Machine], Awaitable[tuple[BmcAddress, str]]]
"""Finds a machine's BMC and its password; raises a `ProvisionerError` where it has none."""

BODY_BYTES = 256 * 1024
KEYS_BYTES = 64 * 1024
SET_PASSWORD = "accounts.password"  # noqa: S105 - a verb


class BmcApi:
    """Handlers over the BMCs of machines. `rotate` gives our own account a new password and keeps it."""

    def __init__(
        self,
        machines: Machines,
        bmcs: Bmcs,
        login: Login,
        consoles: Consoles,
        rotate: Callable[[Machine], Awaitable[None]],
    ) -> None:
        self._machines = machines
        self._bmcs = bmcs
        self._login = login
        self._consoles = consoles
        self._rotate = rotate

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        machine = "/v1/machines/{ref}"
        return (
            Route("GET", "/v1/bmc/verbs", self.verbs),
            Route("GET", f"{machine}/bmc/why/{{verb}}", self.why),
            Route("POST", f"{machine}/bmc/rotate", self.rotate),
            Route("POST", f"{machine}/bmc/{{verb}}", self.do),
            Route("GET", f"{machine}/console", self.console),
            Route("POST", f"{machine}/console", self.type),
        )

    async def verbs(self, request: web.Request) -> web.Response:
        """List all verbs, what they take, and which drivers offer them."""
        query(request)
        return json_reply({"verbs": [verb_view(verb) for verb in VERBS.values()]})

    async def why(self, request: web.Request) -> web.Response:
        """Say which driver a verb is asked of on this machine, and why."""
        query(request)
        verb = request.match_info["verb"]
        if verb not in VERBS:
            raise WireError(f"no verb {verb[:60]!r}", hint="GET /v1/bmc/verbs lists them")
        machine = self._machine(request)
        found = await self._bmcs.resolve(verb, [await self._login(machine)])
        return json_reply({**plain(found), "lines": found.lines()})

    async def do(self, request: web.Request) -> web.Response:
        """Do a verb; the body holds its arguments. Answers when its end state was read back."""
        query(request)
        name = request.match_info["verb"]
        machine = self._machine(request)
        raw = await read_body(request, BODY_BYTES)
        given = decode(raw, dict[str, Any]) if raw.strip() else {}
        read = arguments(name, given)
        _refuse_in_use(machine, VERBS[name])
        address, password = await self._login(machine)
        if name == SET_PASSWORD and read["name"] == address.username:
            raise ConflictError(
                f"{machine.name}: {address.username!r} is the daemon's own account",
                hint=f"`provisionctl bmc rotate {machine.name}` gives it a new password, and keeps it",
            )
        return json_reply({"result": plain(await self._bmcs.do(address, password, name, **read))})

    async def rotate(self, request: web.Request) -> web.Response:
        """Give the daemon's own account at the BMC a new random password."""
        query(request)
        machine = self._machine(request)
        _refuse_in_use(machine, VERBS[SET_PASSWORD])
        await self._rotate(machine)
        return web.Response(status=204)

    async def console(self, request: web.Request) -> web.StreamResponse:
        """Stream what the machine prints on its serial console, from a little before."""
        query(request)
        address, password = await self._login(self._machine(request))
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async with self._consoles.read(address, password) as reader:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                async for data in reader.output():
                    await response.write(data)
        return response

    async def type(self, request: web.Request) -> web.Response:
        """Type the body into the console that somebody reads."""
        query(request)
        keys = await read_body(request, KEYS_BYTES)
        address, password = await self._login(self._machine(request))
        async with self._consoles.read(address, password) as reader:
            await reader.type(keys)
        return web.Response(status=204)

    def _machine(self, request: web.Request) -> Machine:
        return self._machines.get(request.match_info["ref"])


def verb_view(verb: Verb) -> dict[str, Any]:
    """Show a verb."""
    takes = {} if verb.name in NOT_HERE else parameters(verb)
    return {
        "name": verb.name,
        "does": verb.does,
        "changes": verb.changes,
        "takes": {name: {"needed": needed, "secret": name in SECRETS} for name, (_, needed) in takes.items()},
        "drivers": [str(driver) for driver in DRIVERS if verb.name in offered_by(driver)],
    }


def _refuse_in_use(machine: Machine, verb: Verb) -> None:
    """Keep a run's machine for the run, and the data of a machine in use."""
    if not verb.changes:
        return
    if machine.run is not None and machine.run.step is not None:
        raise ConflictError(
            f"{machine.name}: {verb.name}: a run is under way", hint=f"`provisionctl cancel {machine.name}` ends it"
        )
    if verb.name in DESTROYS and machine.state is State.ACTIVE:
        raise ConflictError(
            f"{machine.name}: {verb.name}: the machine is in use", hint=f"`provisionctl release {machine.name}` first"
        )

"""The operator API of BMCs: every verb by its name, why which driver is asked, and the serial console."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from aiohttp import web

from provisioner.bmc.arguments import NOT_HERE, SECRETS, arguments, parameters, plain
from provisioner.bmc.bootmode import told
from provisioner.bmc.consoles import Consoles
from provisioner.bmc.pool import DRIVERS, Bmcs, Waiver, offered_by
from provisioner.bmc.rotation import spare_own
from provisioner.bmc.table import DESTROYS, VERBS, Verb
from provisioner.bmc.ways import Ways
from provisioner.dhcp.boards import BoardSeen
from provisioner.errors import BmcError, ConflictError, WireError
from provisioner.lifecycle.rest import in_use
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.web.bodies import decode, read_body
from provisioner.web.intents import BmcBody, bmc_address
from provisioner.web.ports import Machines, Route
from provisioner.web.replies import begin, json_reply
from provisioner.web.spool import Spool
from provisioner.web.underway import UnderWay
from provisioner.web.views import when


class Doors(Protocol):
    """Adds and removes ways to a machine's board."""

    async def add(self, ref: str, address: BmcAddress, password: str) -> Machine: ...

    async def remove(self, ref: str, driver: Driver) -> Machine: ...


@dataclass(frozen=True, slots=True)
class Boards:
    """The boards of machines. `rotate` gives our own accounts at a board new passwords and keeps them; `did` is told
    what an operator had a machine's board do, and what came of it, or the `BmcError` that it ended with.
    """

    bmcs: Bmcs
    ways: Ways
    doors: Doors
    rotate: Callable[[Machine], Awaitable[None]]
    did: Callable[[Machine, str, object], Awaitable[None]]
    seen: Callable[[], Sequence[BoardSeen]] = tuple
    """BMCs that DHCP gave addresses to."""
    engaged: Callable[[str], str] = lambda _machine: ""
    """Says which workflow a machine (its id) is in; empty where it is free."""


class WaiveBody(msgspec.Struct, forbid_unknown_fields=True):
    verb: str
    driver: Driver
    reason: str
    days: float = 30.0


MAX_DAYS = 366.0
"""A waiver is for a while: boards get other firmware."""

BODY_BYTES = 256 * 1024
KEYS_BYTES = 64 * 1024
FIRMWARE_BYTES = 1 << 30
"""The largest bundle of a vendor's seen is 800 MB."""
PUSH = "firmware.push"
SET_PASSWORD = "accounts.password"  # noqa: S105 - a verb


class BmcApi:
    """Handlers over the BMCs of machines."""

    def __init__(
        self, machines: Machines, boards: Boards, consoles: Consoles, underway: UnderWay, spool: Spool
    ) -> None:
        self._machines = machines
        self._boards = boards
        self._bmcs = boards.bmcs
        self._ways = boards.ways
        self._consoles = consoles
        self._underway, self._spool = underway, spool

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        machine = "/v1/machines/{ref}"
        return (
            Route("GET", "/v1/bmc/verbs", self.verbs),
            Route("GET", "/v1/bmc/found", self.found),
            Route("GET", f"{machine}/bmc/why/{{verb}}", self.why),
            Route("POST", f"{machine}/bmc/rotate", self.rotate),
            Route("PUT", f"{machine}/bmc/firmware", self.push, query=("name",)),
            Route("POST", f"{machine}/bmc/ways", self.add_way),
            Route("DELETE", f"{machine}/bmc/ways/{{driver}}", self.remove_way),
            Route("POST", f"{machine}/bmc/waive", self.waive),
            Route("POST", f"{machine}/bmc/{{verb}}", self.do),
            Route("GET", f"{machine}/console", self.console),
            Route("POST", f"{machine}/console", self.type),
        )

    async def verbs(self, request: web.Request) -> web.Response:
        """List all verbs, what they take, and which drivers offer them."""
        return json_reply({"verbs": [verb_view(verb) for verb in VERBS.values()]})

    async def found(self, request: web.Request) -> web.Response:
        """List the BMCs that DHCP gave addresses to and those that machines see of themselves, and whose they are."""
        rows = found_view(self._machines.all(), self._boards.seen())
        return json_reply({"found": rows})

    async def why(self, request: web.Request) -> web.Response:
        """Say which driver a verb is asked of on this machine, and why."""
        verb = request.match_info["verb"]
        if verb not in VERBS:
            raise WireError(f"no verb {verb[:60]!r}", hint="GET /v1/bmc/verbs lists them")
        machine = self._machine(request)
        found = await self._bmcs.resolve(verb, await self._ways.all(machine))
        return json_reply({**plain(found), "lines": found.lines()})

    async def do(self, request: web.Request) -> web.Response:
        """Do a verb; the body holds its arguments. Answers when its end state was read back."""
        name = request.match_info["verb"]
        machine = self._machine(request)
        raw = await read_body(request, BODY_BYTES)
        given = decode(raw, dict[str, Any]) if raw.strip() else {}
        read = arguments(name, given)
        self._check_free(machine, VERBS[name])
        spare_own(machine, name, read)
        return json_reply({"result": plain(await self._done(machine, name, **read))})

    async def push(self, request: web.Request) -> web.Response:
        """Send firmware to the BMC and have it installed; answers when its task has ended well."""
        name = request.query.get("name", "")
        machine = self._machine(request)
        self._check_free(machine, VERBS[PUSH])
        async with contextlib.AsyncExitStack() as stack:
            file = await stack.enter_async_context(self._spool.file(request, name, FIRMWARE_BYTES))
            await self._underway.finish(self._pushed(machine, file, stack.pop_all()))
        return json_reply({"result": None})

    async def _pushed(self, machine: Machine, file: Path, kept: contextlib.AsyncExitStack) -> None:
        """Push a file that is kept until then, whoever sent it."""
        async with kept:
            await self._do(machine, PUSH, file=file)

    async def add_way(self, request: web.Request) -> web.Response:
        """Put another way to the machine's board on record, after a look at whose board it is."""
        body = decode(await read_body(request, BODY_BYTES), BmcBody)
        machine = await self._boards.doors.add(self._machine(request).id, bmc_address(body), body.password)
        return json_reply({"ways": ways_view(machine)})

    async def remove_way(self, request: web.Request) -> web.Response:
        """Take a way to the machine's board off the record."""
        wanted = request.match_info["driver"]
        if wanted not in set(Driver):
            raise WireError(f"no driver {wanted[:40]!r}", hint=f"one of {', '.join(Driver)}")
        machine = await self._boards.doors.remove(self._machine(request).id, Driver(wanted))
        return json_reply({"ways": ways_view(machine)})

    async def waive(self, request: web.Request) -> web.Response:
        """Have a driver that failed a verb on boards like this one asked again, last, for a while."""
        body = decode(await read_body(request, BODY_BYTES), WaiveBody)
        if body.verb not in VERBS:
            raise WireError(f"no verb {body.verb[:60]!r}", hint="GET /v1/bmc/verbs lists them")
        if not body.reason.strip() or not 0 < body.days <= MAX_DAYS:
            raise WireError(f"a waiver has a reason, and holds for at most {MAX_DAYS:g} days")
        logins = await self._ways.all(self._machine(request))
        await self._bmcs.waive(body.verb, body.driver, logins, Waiver(body.reason.strip()[:300], body.days))
        return web.Response(status=204)

    async def rotate(self, request: web.Request) -> web.Response:
        """Give the daemon's own account at the BMC a new random password."""
        machine = self._machine(request)
        self._check_free(machine, VERBS[SET_PASSWORD])
        await self._boards.rotate(machine)
        return web.Response(status=204)

    async def console(self, request: web.Request) -> web.StreamResponse:
        """Stream what the machine prints on its serial console, from a little before."""
        machine = self._machine(request)
        await self._ways.first(machine)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Cache-Control": "no-store"})
        if not await begin(request, response):
            return response
        async with self._consoles.read(machine) as reader:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                async for data in reader.output():
                    await response.write(data)
                await response.write(f"\r\n{machine.name}: {reader.trouble}\r\n".encode())
        return response

    async def type(self, request: web.Request) -> web.Response:
        """Type the body into the console that somebody reads."""
        keys = await read_body(request, KEYS_BYTES)
        machine = self._machine(request)
        await self._ways.first(machine)
        async with self._consoles.read(machine) as reader:
            await reader.type(keys)
        return web.Response(status=204)

    def _machine(self, request: web.Request) -> Machine:
        return self._machines.get(request.match_info["ref"])

    async def _done(self, machine: Machine, name: str, **given: Any) -> Any:
        """Have a verb done. A change is brought to its end also where the client hangs up."""
        work = self._do(machine, name, **given)
        return await (self._underway.finish(work) if VERBS[name].changes else work)

    async def _do(self, machine: Machine, name: str, **given: Any) -> Any:
        """Have a verb done, and put on record what came of it.

        What the machine is doing is looked at again, in the turn in which its BMC is asked.
        """

        def call(to: BmcAddress, password: str) -> Awaitable[Any]:
            self._check_free(self._machines.get(machine.id), VERBS[name])
            return self._bmcs.do(to, password, name, **told(machine, to, name, given))

        try:
            result = await self._ways.ask(machine, name, call)
        except BmcError as error:
            await self._boards.did(machine, name, error)
            raise
        await self._boards.did(machine, name, result)
        return result

    def _check_free(self, machine: Machine, verb: Verb) -> None:
        """Keep a run's machine for the run, a workflow's for the workflow, and the data of a machine in use."""
        if not verb.changes:
            return
        about = f"{machine.name}: {verb.name}"
        if machine.run is not None and machine.run.step is not None:
            raise ConflictError(f"{about}: a run is under way", hint=f"`provisionctl cancel {machine.name}` ends it")
        if by := self._boards.engaged(machine.id):
            raise ConflictError(f"{about}: it is in {by}", hint="`provisionctl workflow abort RUN` ends it")
        if verb.name in DESTROYS and in_use(machine):
            now = "" if machine.state is State.ACTIVE else f", though it is {machine.state} now"
            raise ConflictError(
                f"{about}: the machine is in use{now}", hint=f"`provisionctl release {machine.name}` first"
            )


def found_view(machines: Iterable[Machine], seen: Iterable[BoardSeen]) -> list[dict[str, Any]]:
    """Join what DHCP saw with what machines say of their own BMCs: by its hardware address, never by its IP address."""
    inside = {machine.facts.bmc.mac: machine for machine in machines if machine.facts and machine.facts.bmc.mac}
    rows: dict[str, dict[str, Any]] = {
        str(one.mac): {"mac": one.mac, "address": one.address, "kind": one.kind, "how": ["dhcp"], "at": when(one.at)}
        for one in seen
    }
    for mac, machine in inside.items():
        assert machine.facts is not None
        plain_row = {"mac": mac, "address": machine.facts.bmc.address, "kind": "", "at": when(machine.seen)}
        row = rows.setdefault(mac, {**plain_row, "how": []})
        row["how"] += ["in-band"]
    for mac, row in rows.items():
        owner = inside.get(Mac(mac))
        row["machine"], row["on_record"] = (owner.name, owner.bmc is not None) if owner else ("", False)
    return sorted(rows.values(), key=lambda row: (row["machine"], row["mac"]))


def ways_view(machine: Machine) -> list[dict[str, Any]]:
    """Show the ways to a machine's board, without passwords."""
    return [{"url": str(one), "driver": one.driver, "fingerprint": one.fingerprint} for one in machine.bmcs]


def verb_view(verb: Verb) -> dict[str, Any]:
    """Show a verb."""
    takes = {} if verb.name in NOT_HERE else parameters(verb)
    return {
        "name": verb.name,
        "does": verb.does,
        "changes": verb.changes,
        "limit_s": verb.limit_s,
        "takes": {name: {"needed": needed, "secret": name in SECRETS} for name, (_, needed) in takes.items()},
        "drivers": [str(driver) for driver in DRIVERS if verb.name in offered_by(driver)],
    }

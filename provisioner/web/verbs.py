"""What can be asked of one machine: handlers and their part of the operator API's route table."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from multidict import MultiMapping

from provisioner.errors import ConfigError, WireError
from provisioner.model.net import parse_mac
from provisioner.model.trace import Channel, TraceFilter
from provisioner.web import views
from provisioner.web.intents import AdoptBody, BootBody, BootViaBody, HoldBody, PowerBody, ReleaseBody, check_via
from provisioner.web.ports import Operator, Route
from provisioner.web.replies import (
    Condition,
    condition,
    current,
    json_reply,
    machine_reply,
    nothing,
    page,
    read,
    truth,
)

MACHINE = "/v1/machines/{ref}"
QUERY_CHARS = 200
SYSTEM_CHARS = 100
"""Every list of machines shows what they run."""
REASON_CHARS = 500
"""Every list that shows why a machine is held has all of it."""


class Verbs:
    """Handlers over the `Operator`. Each reads its input, asks, and shows the machine as it is then."""

    def __init__(self, operator: Operator) -> None:
        self._ask = operator

    def routes(self) -> tuple[Route, ...]:
        """The route table of one machine."""
        verbs = {
            "boot": self.boot,
            "release": self.release,
            "rescue": self.rescue,
            "unrescue": self.unrescue,
            "cancel": self.cancel,
            "resume": self.resume,
            "power": self.power,
            "hold": self.hold,
            "let-go": self.let_go,
            "adopt": self.adopt,
            "boot-via": self.boot_via,
            "retire": self.retire,
            "unretire": self.unretire,
        }
        return (
            Route("GET", MACHINE, self.machine),
            Route("DELETE", MACHINE, self.forget, query=("force",)),
            *(Route("POST", f"{MACHINE}/{name}", handler) for name, handler in verbs.items()),
            Route("GET", f"{MACHINE}/preflight", self.preflight, query=("bootenv", "via")),
            Route("GET", f"{MACHINE}/trace", self.trace, query=("after", "limit", "q", "channel", "run", "troubles")),
            Route("GET", f"{MACHINE}/why", self.why),
        )

    async def machine(self, request: web.Request) -> web.Response:
        """Show one machine; its generation is the ETag."""
        return machine_reply(self._ask.machines.get(_ref(request)))

    async def forget(self, request: web.Request) -> web.Response:
        """Drop a machine from the record; the machine itself is not touched."""
        force = truth(request.query, "force")
        given, ref = condition(request), _ref(request)
        with current(self._ask.machines, ref, given):
            await self._ask.forget(ref, force=force, key=given.key, generation=given.generation)
        return web.Response(status=204)

    # runs

    async def boot(self, request: web.Request) -> web.Response:
        """Take a machine to a bootenv."""
        body, given = await read(request, BootBody), condition(request)
        return await self._run(request, given, self._ask.boot, body.bootenv, params=body.params, via=body.via)

    async def release(self, request: web.Request) -> web.Response:
        """Give a machine back; its disks are erased unless `erase` is false."""
        body, given = await read(request, ReleaseBody, ReleaseBody()), condition(request)
        return await self._run(request, given, self._ask.release, erase=body.erase)

    async def rescue(self, request: web.Request) -> web.Response:
        """Boot the rescue system; the disk stays as it is."""
        await nothing(request)
        return await self._run(request, condition(request), self._ask.rescue)

    async def unrescue(self, request: web.Request) -> web.Response:
        """Boot from the disk again, back to where the machine came from."""
        await nothing(request)
        return await self._run(request, condition(request), self._ask.unrescue)

    async def cancel(self, request: web.Request) -> web.Response:
        """End the run that is under way; the machine goes back to the state that it came from."""
        await nothing(request)
        return await self._run(request, condition(request), self._ask.cancel)

    async def resume(self, request: web.Request) -> web.Response:
        """Take up the run that failed or was cancelled, where that is safe."""
        await nothing(request)
        return await self._run(request, condition(request), self._ask.resume)

    async def _run(
        self, request: web.Request, given: Condition, ask: Any, *args: Any, status: int = 202, **more: Any
    ) -> web.Response:
        ref = _ref(request)
        with current(self._ask.machines, ref, given):
            machine = await ask(ref, *args, key=given.key, generation=given.generation, **more)
        return machine_reply(machine, status)

    # at once

    async def _at_once(self, request: web.Request, ask: Any, *args: Any, **more: Any) -> web.Response:
        return await self._run(request, condition(request), ask, *args, status=200, **more)

    async def power(self, request: web.Request) -> web.Response:
        """Switch a machine by its BMC; the answer comes when the end state was observed."""
        body = await read(request, PowerBody)
        return await self._at_once(request, self._ask.power, body.power)

    async def hold(self, request: web.Request) -> web.Response:
        """Keep a machine back, in maintenance or quarantine."""
        body = await read(request, HoldBody)
        if not body.reason.strip():
            raise WireError("reason: empty", hint="whoever finds the machine held has to know why")
        if len(body.reason) > REASON_CHARS:
            raise WireError(f"reason: {len(body.reason)} characters, at most {REASON_CHARS}")
        return await self._at_once(request, self._ask.hold, body.reason, quarantine=body.quarantine)

    async def let_go(self, request: web.Request) -> web.Response:
        """End a hold."""
        await nothing(request)
        return await self._at_once(request, self._ask.let_go)

    async def adopt(self, request: web.Request) -> web.Response:
        """Put on record that a machine already runs something."""
        body = await read(request, AdoptBody)
        name = body.bootenv
        if not 0 < len(name) <= SYSTEM_CHARS or name != name.strip() or not name.isprintable():
            hint = f"at most {SYSTEM_CHARS} characters that can be shown; a name of your own will do"
            raise WireError(f"bootenv: {name[:40]!r}", hint=hint)
        return await self._at_once(request, self._ask.adopt, body.bootenv)

    async def boot_via(self, request: web.Request) -> web.Response:
        """Have a machine boot another way from now on."""
        body = await read(request, BootViaBody)
        return await self._at_once(request, self._ask.boot_by, body.boot_via)

    async def retire(self, request: web.Request) -> web.Response:
        """Take a machine out of use; its record stays."""
        await nothing(request)
        return await self._at_once(request, self._ask.retire)

    async def unretire(self, request: web.Request) -> web.Response:
        """Take a retired machine into use again."""
        await nothing(request)
        return await self._at_once(request, self._ask.unretire)

    # looking

    async def preflight(self, request: web.Request) -> web.Response:
        """Say what a boot would be refused for, and touch nothing."""
        given = request.query
        bootenv, via = given.get("bootenv", ""), given.get("via", "")
        if not bootenv:
            raise WireError("bootenv: missing in the query", hint="GET .../preflight?bootenv=debian-12")
        check_via(via)
        checks = await self._ask.preflight(_ref(request), bootenv, via=via)
        return json_reply({"ok": all(check.ok for check in checks), "checks": checks})

    async def trace(self, request: web.Request) -> web.Response:
        """Show a machine's journey from a cursor on, all of it or what is looked for; `next` is where to ask again."""
        given = request.query
        after, limit = page(given)
        lines = await self._ask.trace(self._ref_or_mac(request), after=after, limit=limit, only=_only(given))
        following = max((seq for seq, _ in lines), default=after)  # in order of time, which numbers need not be
        return json_reply({"trace": [views.trace_view(seq, line) for seq, line in lines], "next": following})

    async def why(self, request: web.Request) -> web.Response:
        """Say what the machine waits for, or why its last run failed, and what to do."""
        return json_reply(views.verdict_view(await self._ask.why(_ref(request))))

    def _ref_or_mac(self, request: web.Request) -> str:
        """Read a machine's name or id, or the MAC of one that is not on record yet, in any spelling."""
        ref = _ref(request)
        if self._ask.machines.find(ref) is not None:
            return ref
        try:
            return parse_mac(ref)
        except ConfigError:
            return ref


def _only(given: MultiMapping[str]) -> TraceFilter:
    """Read which lines of a trace are meant."""
    channel = given.get("channel", "")
    if channel and channel not in set(Channel):
        raise WireError(f"channel: {channel[:40]!r}", hint=f"one of {', '.join(Channel)}")
    return TraceFilter(given.get("q", "")[:QUERY_CHARS], channel, given.get("run", ""), truth(given, "troubles"))


def _ref(request: web.Request) -> str:
    return request.match_info["ref"]

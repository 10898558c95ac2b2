"""Rollouts in the operator API: begin one, look at it, pause, resume, abort it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import msgspec
from aiohttp import web

from provisioner.lifecycle.fleet import Order, Rollout, Stage, Status
from provisioner.web.ports import Route
from provisioner.web.replies import condition, json_reply, nothing, read
from provisioner.web.views import masked, when

AT_ONCE = 4
"""Machines that are installed at once where nobody says how many: a first wave that one person can look at."""


class Rollouts(Protocol):
    """What is asked for; `lifecycle.rollouts.Rollouts` is the real one."""

    def all(self) -> Sequence[Rollout]: ...

    def get(self, ref: str) -> Rollout: ...

    async def begin(
        self, bootenv: str, select: str, limits: tuple[int, int], params: Mapping[str, Any], *, key: str = ""
    ) -> Rollout: ...

    def plan(self, bootenv: str, select: str, limits: tuple[int, int]) -> Rollout: ...

    async def order(self, ref: str, order: Order, *, sure: bool = False, key: str = "") -> Rollout: ...


class RolloutBody(msgspec.Struct, forbid_unknown_fields=True):
    bootenv: str
    select: str
    at_once: int = AT_ONCE
    max_failures: int = 0
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class ResumeBody(msgspec.Struct, forbid_unknown_fields=True):
    restored: bool = False


class MemberView(msgspec.Struct, frozen=True):
    """One machine of a rollout; `machine` is its id."""

    machine: str
    name: str
    stage: Stage
    run: str
    reason: str


class RolloutView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rollout; `members` only where a single one is shown."""

    id: str
    bootenv: str
    select: str
    status: Status
    reason: str
    at_once: int
    max_failures: int
    counts: dict[str, int]
    params: dict[str, Any]
    created: str | None
    ended: str | None
    over: bool
    restored: str | None = None
    members: list[MemberView] | None = None


def rollout_view(rollout: Rollout, members: bool = True) -> RolloutView:
    """Show a rollout."""
    shown = [MemberView(m.machine, m.name, m.stage, m.run, m.reason) for m in rollout.members] if members else None
    return RolloutView(
        id=rollout.id,
        bootenv=rollout.bootenv,
        select=rollout.select,
        status=rollout.status,
        reason=rollout.reason,
        at_once=rollout.at_once,
        max_failures=rollout.max_failures,
        counts={stage.value: rollout.count(stage) for stage in Stage},
        params=dict(masked(rollout.params)),
        created=when(rollout.created),
        ended=when(rollout.ended),
        over=rollout.over,
        restored=when(rollout.restored),
        members=shown,
    )


class FleetApi:
    """Handlers over `Rollouts`."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (
            Route("GET", "/v1/rollouts", self.list),
            Route("POST", "/v1/rollouts", self.begin),
            Route("POST", "/v1/rollouts/plan", self.plan),
            Route("GET", "/v1/rollouts/{ref}", self.show),
            Route("POST", "/v1/rollouts/{ref}/resume", self.resume),
            *(Route("POST", f"/v1/rollouts/{{ref}}/{order}", self.order) for order in (Order.PAUSE, Order.ABORT)),
        )

    async def list(self, request: web.Request) -> web.Response:
        """List rollouts, the latest first, without their machines."""
        return json_reply({"rollouts": [rollout_view(each, members=False) for each in self._rollouts.all()]})

    async def begin(self, request: web.Request) -> web.Response:
        """Begin a rollout; answers when it is durable."""
        body = await read(request, RolloutBody)
        limits, key = (body.at_once, body.max_failures), condition(request).key
        rollout = await self._rollouts.begin(body.bootenv, body.select, limits, body.params, key=key)
        response = json_reply(rollout_view(rollout), status=202)
        response.headers["Location"] = f"/v1/rollouts/{rollout.id}"
        return response

    async def plan(self, request: web.Request) -> web.Response:
        """Say what a rollout would be, or why it would be refused; nothing is begun."""
        body = await read(request, RolloutBody)
        planned = self._rollouts.plan(body.bootenv, body.select, (body.at_once, body.max_failures))
        return json_reply(rollout_view(replace(planned, params=body.params)))

    async def show(self, request: web.Request) -> web.Response:
        """Show one rollout with its machines."""
        return json_reply(rollout_view(self._rollouts.get(request.match_info["ref"])))

    async def resume(self, request: web.Request) -> web.Response:
        """Go on; with one that a backup held only for who says `restored`."""
        body, key = await read(request, ResumeBody, ResumeBody()), condition(request).key
        rollout = await self._rollouts.order(request.match_info["ref"], Order.RESUME, sure=body.restored, key=key)
        return json_reply(rollout_view(rollout))

    async def order(self, request: web.Request) -> web.Response:
        """Pause or abort."""
        await nothing(request)
        order, key = Order(request.path.rpartition("/")[2]), condition(request).key
        return json_reply(rollout_view(await self._rollouts.order(request.match_info["ref"], order, key=key)))

"""Workflows in the operator API: what there is, plans, runs and what their steps printed."""

from __future__ import annotations

import codecs
import re
from typing import Any

import msgspec
from aiohttp import web

from provisioner.errors import NotFoundError, WireError
from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, FlowStep, Stage, Wish
from provisioner.web.ports import Route
from provisioner.web.replies import condition, json_reply, nothing, read, whole
from provisioner.web.views import masked, when
from provisioner.workflow.decode import Offer, Workflow
from provisioner.workflow.engine import Engine
from provisioner.workflow.gates import Gates, waits
from provisioner.workflow.planning import MachinePlan, Planning
from provisioner.workflow.progress import Order

SIGNAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOG_BYTES = 256 * 1024
"""Of a log in one answer; `next` says where to go on."""
ORDERS = (Order.PAUSE, Order.RESUME, Order.STEP, Order.SKIP, Order.ABORT)


class PlanBody(msgspec.Struct, forbid_unknown_fields=True):
    select: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class RunBody(msgspec.Struct, forbid_unknown_fields=True):
    select: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    at_once: int = 0
    max_failures: int | None = None
    paused: bool = False


class SignalBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class WorkflowApi:
    """Handlers over the engine and the planner."""

    def __init__(self, engine: Engine, planning: Planning) -> None:
        self._engine = engine
        self._planning = planning

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        run = "/v1/workflow-runs/{ref}"
        return (
            Route("GET", "/v1/workflows", self.list),
            Route("GET", "/v1/workflows/{name}", self.show),
            Route("POST", "/v1/workflows/{name}/plan", self.plan),
            Route("POST", "/v1/workflows/{name}/run", self.begin),
            Route("GET", "/v1/workflow-runs", self.runs),
            Route("GET", run, self.run),
            *(Route("POST", f"{run}/{order}", self.order) for order in ORDERS),
            Route("POST", f"{run}/signal", self.signal),
            Route("GET", f"{run}/machines/{{machine}}/log", self.log, query=("after", "step", "try")),
        )

    async def list(self, request: web.Request) -> web.Response:
        """List workflows, by name."""
        flows = self._planning.library.all()
        return json_reply({"workflows": [workflow_view(flow, steps=False) for flow in flows]})

    async def show(self, request: web.Request) -> web.Response:
        """Show one workflow with its steps."""
        return json_reply(workflow_view(self._planning.library.get(request.match_info["name"])))

    async def plan(self, request: web.Request) -> web.Response:
        """Say which path each machine would take, and why; nothing is touched."""
        body = await read(request, PlanBody)
        planned = await self._planning.plans(Wish(request.match_info["name"], body.select, body.params))
        return json_reply({"plans": [plan_view(each) for each in planned]})

    async def begin(self, request: web.Request) -> web.Response:
        """Begin a run; answers when it is durable."""
        body = await read(request, RunBody)
        name, key = request.match_info["name"], condition(request).key
        wish = Wish(name, body.select, body.params, body.at_once, body.max_failures, body.paused)
        run = await self._engine.begin(wish, self._planning.run, key=key)
        response = json_reply(self._view(run), status=202)
        response.headers["Location"] = f"/v1/workflow-runs/{run.id}"
        return response

    async def runs(self, request: web.Request) -> web.Response:
        """List runs, the latest first, without their machines."""
        return json_reply({"runs": [run_view(run, self._engine.now(), members=False) for run in self._engine.all()]})

    async def run(self, request: web.Request) -> web.Response:
        """Show one run with its machines."""
        return json_reply(self._view(self._engine.get(request.match_info["ref"])))

    async def order(self, request: web.Request) -> web.Response:
        """Pause, resume, step, skip or abort."""
        await nothing(request)
        order, key = Order(request.path.rpartition("/")[2]), condition(request).key
        return json_reply(self._view(await self._engine.order(request.match_info["ref"], order, key=key)))

    async def signal(self, request: web.Request) -> web.Response:
        """Say something to a run that a step may wait for."""
        body = await read(request, SignalBody)
        if not SIGNAL.fullmatch(body.name):
            raise WireError(f"name: {body.name[:80]!r}: letters, digits, dots, hyphens, at most 64")
        ref, key = request.match_info["ref"], condition(request).key
        return json_reply(self._view(await self._engine.signal(ref, body.name, key=key)))

    async def log(self, request: web.Request) -> web.Response:
        """Show what a step printed, from `after` on: of the latest try, or of `try` (its fence)."""
        given = request.query
        run = self._engine.get(request.match_info["ref"])
        member = run.member(request.match_info["machine"])
        if member is None:
            raise NotFoundError(f"{request.match_info['machine'][:80]!r} is not in run {run.id}")
        tries = tries_of(member)
        fence = _fence(member, tries, given.get("step", ""), given.get("try", ""))
        after = whole(given.get("after", "0"), "after")
        text, following = await self._engine.store.output(run.id, member.machine, fence, after, LOG_BYTES)
        ended = member.over or fence != member.fence or member.stage is not Stage.RUNNING
        over = ended and len(text) < LOG_BYTES
        said, left = _decoded(text, over)
        return json_reply({"tries": tries, "try": fence, "text": said, "next": following - left, "over": over})

    def _view(self, run: FlowRun) -> dict[str, Any]:
        return run_view(run, self._engine.now())


def _decoded(text: bytes, over: bool) -> tuple[str, int]:
    """Decode a page; say how many octets of a character at its end belong to the next one, where there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    said = decoder.decode(text, final=over)
    return said, len(decoder.getstate()[0])


def tries_of(member: FlowMember) -> list[dict[str, Any]]:
    """List every try of every step of a machine, with how it ended; the one under way is the last."""
    found = [
        {"try": line.fence, "step": line.step, "attempt": line.attempt, "outcome": line.outcome}
        for line in member.journal
        if line.outcome in ("done", "retried", "failed", "lost")
    ]
    if member.stage is Stage.RUNNING:
        found.append({"try": member.fence, "step": member.next, "attempt": member.attempt, "outcome": "running"})
    return found


def _fence(member: FlowMember, tries: list[dict[str, Any]], step: str, number: str) -> int:
    if number:
        return whole(number, "try")
    meant = [each for each in tries if not step or each["step"] == step]
    if not meant:
        raise NotFoundError(f"{member.name} has not begun {step or 'any step'}")
    return int(meant[-1]["try"])


def workflow_view(flow: Workflow, steps: bool = True) -> dict[str, Any]:
    """Show a workflow; its steps only where a single one is shown."""
    shown: dict[str, Any] = {
        "name": flow.name,
        "title": flow.title,
        "goal": flow.goal,
        "also": flow.also,
        "limit_s": flow.limit_s,
        "max_failures": flow.max_failures,
        "source": flow.source,
        "params": {
            name: {"kind": param.kind, "about": param.about, "default": param.default}
            for name, param in flow.params.items()
        },
    }
    return {**shown, "steps": [_offer_view(offer) for offer in flow.offers]} if steps else shown


def _offer_view(offer: Offer) -> dict[str, Any]:
    when_ = {key: _condition_view(condition) for key, condition in offer.when.items()}
    return {**step_view(offer.step), "when": when_, "can": offer.can}


def _condition_view(condition: Any) -> Any:
    plain = msgspec.to_builtins(condition)
    return sorted(plain["values"], key=str) if "values" in plain else plain


def step_view(step: FlowStep) -> dict[str, Any]:
    """Show a step."""
    shown: dict[str, Any] = msgspec.to_builtins(step)
    return {**shown, "given": masked(step.given)}


def plan_view(each: MachinePlan) -> dict[str, Any]:
    """Show the path of one machine."""
    pairs = zip(each.plan.steps, each.plan.reasons, strict=True)
    return {
        "machine": each.machine.id,
        "name": each.machine.name,
        "state": each.machine.state,
        "faults": each.plan.faults,
        "steps": [{"step": step, "reason": reason} for step, reason in pairs],
        "left_out": [{"step": out.step, "reason": out.reason} for out in each.plan.left_out],
    }


def run_view(run: FlowRun, now: float, members: bool = True) -> dict[str, Any]:
    """Show a run; its steps and machines only where a single one is shown."""
    shown = {
        "id": run.id,
        "workflow": run.workflow,
        "select": run.select,
        "status": run.status,
        "reason": run.reason,
        "params": masked(run.params),
        "at_once": run.at_once,
        "max_failures": run.max_failures,
        "counts": {stage.value: run.count(stage) for stage in Stage},
        "signals": run.signals,
        "created": when(run.created),
        "limit": when(run.limit),
        "ended": when(run.ended),
        "over": run.over,
        "resumable": run.status in (FlowStatus.PAUSED, FlowStatus.FAILED),
    }
    if not members:
        return shown
    gates = Gates(run)
    steps = [step_view(step) for step in run.steps.values()]
    return {**shown, "steps": steps, "members": [_member_view(run, each, now, gates) for each in run.members]}


def _member_view(run: FlowRun, member: FlowMember, now: float, gates: Gates) -> dict[str, Any]:
    plan = [{"step": step, "reason": why} for step, why in zip(member.plan, member.chosen, strict=True)]
    journal = [
        {**msgspec.to_builtins(line), "started": when(line.started), "ended": when(line.ended)}
        for line in member.journal
    ]
    return {
        "machine": member.machine,
        "name": member.name,
        "stage": member.stage,
        "step": member.next if not member.over else "",
        "at": member.at,
        "attempt": member.attempt,
        "try": member.fence,
        "reason": waits(run, member, now, gates),
        "plan": plan,
        "left_out": [{"step": out.step, "reason": out.reason} for out in member.left_out],
        "deadline": when(member.deadline) if member.stage is Stage.RUNNING else None,
        "journal": journal,
    }

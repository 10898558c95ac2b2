"""Workflow files: documents to values, every fault at once, each with its line. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from provisioner.bmc.table import DESTROYS
from provisioner.bmc.table import VERBS as BMC_VERBS
from provisioner.discovery.classify import Condition, decode_conditions
from provisioner.fields import Faults, Fields, nearest
from provisioner.lifecycle.plans import VERBS, Verb
from provisioner.model.workflow import FlowStep, Then, Where
from provisioner.workflow.actions import ACTIONS, KNOWN, decode_given, placeholders
from provisioner.workflow.milestones import BUILT_IN, GIVEN, IMPLIED
from provisioner.yamlfile import Document

NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
MILESTONE = r"[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)+"
PARAM = r"[a-z][a-z0-9_]{0,31}"
STEPS_LIMIT = 100
"""Steps of a workflow: its run is one row that is read and written whole."""
SCRIPT_LIMIT = 64 * 1024
LONGEST_S = 7 * 86400.0
LIMITS_S = {Where.DAEMON: 3600.0, Where.BMC: 300.0}
SCRIPT_LIMIT_S = 3600.0
RUN_LIMIT_S = 2 * 86400.0
"""Longer than an erase may take, with what is around it."""
SLACK_S = 600.0
ACTION_LIMITS_S = {
    "boot": VERBS[Verb.INSTALL].limit_s + SLACK_S,
    "release": VERBS[Verb.RELEASE].limit_s + SLACK_S,
}
"""Of actions that begin a run of the machine: it ends by its own limit before, and says why."""
RETRIES_LIMIT = 20


class ParamKind(StrEnum):
    """What a parameter of a workflow holds."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class FlowParam:
    """A parameter that is given when a run begins; without a default it has to be."""

    kind: ParamKind = ParamKind.TEXT
    about: str = ""
    default: Any = None

    def fits(self, value: Any) -> bool:
        """Say whether a value is of this kind."""
        match self.kind:
            case ParamKind.FLAG:
                return isinstance(value, bool)
            case ParamKind.NUMBER:
                return isinstance(value, int | float) and not isinstance(value, bool)
            case _:
                return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Offer:
    """A step, and the machines that it is for: those whose facts fulfil `when` and whose BMC `can` do all that."""

    step: FlowStep
    when: Mapping[str, Condition] = field(default_factory=dict)
    can: tuple[str, ...] = ()

    @property
    def verbs(self) -> tuple[str, ...]:
        """Name the verbs that a machine's BMC must offer for it."""
        return (*self.can, *((self.step.verb,) if self.step.verb else ()))

    @property
    def conditions(self) -> int:
        """Count the conditions: of two offers the one with more is the more specific."""
        return len(self.when) + len(self.can)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as it was written. `goal` must be reached on each machine, `also` is, where a step leads there."""

    name: str
    title: str = ""
    goal: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    params: Mapping[str, FlowParam] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()
    max_failures: int = 0
    limit_s: float = RUN_LIMIT_S
    source: str = ""

    @property
    def steps(self) -> dict[str, FlowStep]:
        """The steps by name, also those that come with the daemon."""
        return {offer.step.name: offer.step for offer in (*self.offers, *BUILT_IN_OFFERS)}

    @property
    def handlers(self) -> frozenset[str]:
        """Name the steps that only stand in for others that failed."""
        return frozenset(offer.step.handler for offer in self.offers if offer.step.handler)


BUILT_IN_OFFERS = tuple(Offer(step) for step in BUILT_IN)


def decode_workflow(document: Document, faults: Faults) -> Workflow:
    """Read one workflow."""
    fields = Fields(document, faults)
    flow = Workflow(
        name=fields.name("name", NAME),
        title=fields.text("title", None),
        goal=_milestones(fields, "goal"),
        also=_milestones(fields, "also"),
        params={name: _param(name, part) for name, part in fields.parts("params")},
        offers=tuple(_offer(name, part) for name, part in fields.parts("steps")),
        max_failures=fields.whole("max_failures", 0, 0, 10_000),
        limit_s=fields.seconds("limit_s", RUN_LIMIT_S, 1.0, LONGEST_S),
        source=document.source,
    )
    fields.done()
    _check(flow, fields)
    return flow


def _milestones(fields: Fields, key: str) -> tuple[str, ...]:
    names = fields.texts(key)
    for name in names:
        if not re.fullmatch(MILESTONE, name):
            fields.fault(key, f"{name!r} is no milestone: two or more words with dots between, such as disk.tested")
    return names


def _param(name: str, fields: Fields) -> FlowParam:
    if not re.fullmatch(PARAM, name):
        fields.fault(None, "a parameter's name is a-z, 0-9 and _, at most 32: scripts see it as PARAM_NAME")
    param = FlowParam(fields.choice("kind", ParamKind, ParamKind.TEXT), fields.text("about"), fields.any("default"))
    if param.default is not None and not param.fits(param.default):
        fields.fault("default", f"{param.default!r} is no {param.kind}")
    fields.done()
    return param


def _offer(name: str, fields: Fields) -> Offer:
    if not re.fullmatch(NAME, name):
        fields.fault(None, f"{name!r} is not a step's name: small letters, digits and hyphens")
    if name in {step.name for step in BUILT_IN}:
        fields.fault(None, f"{name!r} is a step that comes with the daemon; call yours otherwise")
    where = fields.choice("where", Where)
    handler = fields.part("on_error") if isinstance(fields.any("on_error"), dict) else None
    destructive = fields.flag("destructive")
    action, given = _what(where, fields)
    limit_s = ACTION_LIMITS_S.get(action if where is Where.DAEMON else "", LIMITS_S.get(where, SCRIPT_LIMIT_S))
    step = FlowStep(
        name=name,
        where=where,
        about=fields.text("about"),
        requires=(*_milestones(fields, "requires"), *IMPLIED.get(where, ())),
        provides=_milestones(fields, "provides"),
        script=fields.text("script") if where not in (Where.DAEMON, Where.BMC) else "",
        action=action if where is Where.DAEMON else "",
        verb=action if where is Where.BMC else "",
        given=given,
        limit_s=fields.seconds("limit_s", limit_s, 1.0, LONGEST_S),
        retries=fields.whole("retries", 0, 0, RETRIES_LIMIT),
        pause_s=fields.seconds("pause_s", 10.0, 0.0, 86400.0),
        handler=handler.text("step", None) if handler else fields.text("on_error"),
        then=handler.choice("then", Then, Then.FAIL) if handler else Then.FAIL,
        destructive=destructive,
        bmc_account=fields.flag("bmc_account"),
        once=destructive or (where is Where.BMC and action in BMC_VERBS and not BMC_VERBS[action].again),
        barrier=fields.flag("barrier"),
        leader=fields.flag("leader"),
    )
    if handler:
        handler.done()
    offer = Offer(step, decode_conditions(fields.part("when")), fields.texts("can"))
    fields.done()
    _check_step(step, fields)
    return offer


def _what(where: Where, fields: Fields) -> tuple[str, dict[str, Any]]:
    """Read what a step does: the name of an action or a verb, and its arguments."""
    if where is Where.BMC:
        verb = fields.text("verb", None)
        if verb and verb not in BMC_VERBS:
            fields.fault("verb", f"{verb!r} is not known{nearest(verb, BMC_VERBS)}")
        return verb, fields.mapping("with")
    if where is not Where.DAEMON:
        return "", {}
    action = fields.text("action", None)
    if action and action not in ACTIONS:
        fields.fault("action", f"{action!r} is not known{nearest(action, ACTIONS)}")
        return action, fields.mapping("with")
    return action, decode_given(action, fields.part("with")) if action else {}


def _check_step(step: FlowStep, fields: Fields) -> None:
    if step.on_machine and not step.script.strip():
        fields.fault(None, f"script: missing: what is done in the {step.where}")
    if len(step.script) > SCRIPT_LIMIT:
        fields.fault("script", f"{len(step.script)} characters, at most {SCRIPT_LIMIT}")
    if step.bmc_account and step.where is not Where.DISCOVERY:
        fields.fault("bmc_account", "only the discovery system reaches the BMC from inside: where: discovery")
    if step.verb in DESTROYS and not step.destructive:
        fields.fault("verb", f"{step.verb} destroys what is on a disk: write destructive: true")
    if step.once and step.retries:
        fields.fault("retries", "it is begun once, since doing it twice is not the same; it cannot be tried again")
    if step.once and step.then is Then.AGAIN:
        fields.fault("on_error", "then: again: it is begun once, since doing it twice is not the same")
    if step.then is not Then.FAIL and not step.handler:
        fields.fault("on_error", "step: missing: which step mends it")


def _check(flow: Workflow, fields: Fields) -> None:
    if not flow.goal:
        fields.fault(None, "goal: missing: the milestones that a run is to reach")
    if not flow.offers or len(flow.offers) > STEPS_LIMIT:
        fields.fault("steps", f"{len(flow.offers)} steps; 1 to {STEPS_LIMIT}")
    _check_milestones(flow, fields)
    _check_handlers(flow, fields)
    _check_texts(flow, fields)
    _, circle = in_order(flow)
    if circle:
        fields.fault("steps", f"each of these needs the next one first: {' -> '.join(circle)}")
    for first, second, milestone in ties(flow):
        text = f"{first} and {second} lead to {milestone} on the same machine, and neither is more specific"
        fields.fault("steps", f"{text}: give one of them a further condition")


def _check_milestones(flow: Workflow, fields: Fields) -> None:
    offers = (*flow.offers, *BUILT_IN_OFFERS)
    known = {name for offer in offers for name in offer.step.provides} | GIVEN.keys()
    wanted = [("goal", name) for name in flow.goal] + [("also", name) for name in flow.also]
    for key, name in wanted:
        if name not in known:
            fields.fault(key, f"no step provides {name!r}{nearest(name, known)}")
    for offer in flow.offers:
        for name in offer.step.requires:
            if name not in known:
                fault = f"{offer.step.name}: no step provides {name!r}{nearest(name, known)}"
                fields.fault("steps", f"{fault}, which it requires")


def _check_texts(flow: Workflow, fields: Fields) -> None:
    """Refuse words in braces that stand for nothing."""
    known = KNOWN | {f"params.{name}" for name in flow.params}
    for offer in flow.offers:
        for word in sorted(placeholders(offer.step.given) - known):
            fields.fault("steps", f"{offer.step.name}: with: {{{word}}} is not known{nearest(word, known)}")


def _check_handlers(flow: Workflow, fields: Fields) -> None:
    steps = flow.steps
    for offer in flow.offers:
        step, handler = offer.step, steps.get(offer.step.handler)
        if step.handler and handler is None:
            fields.fault("steps", f"{step.name}: on_error: no step {step.handler!r}{nearest(step.handler, steps)}")
        if step.name in flow.handlers and (step.provides or step.handler or step.barrier or step.leader):
            text = "a step that others name as on_error has no provides, on_error, barrier or leader of its own"
            fields.fault("steps", f"{step.name}: {text}")
        if not step.provides and step.name not in flow.handlers:
            fields.fault("steps", f"{step.name}: provides: missing: nothing would ever need this step")


def in_order(flow: Workflow) -> tuple[list[str], list[str]]:
    """Put all steps in one order: each behind those that lead to what it requires, otherwise as in the file.

    One order for all machines, since machines that meet at two barriers have to come to them in the same order. The
    second list names the steps of a circle in which each needs the one after it; empty where there is none.
    """
    steps = flow.steps
    done: dict[str, None] = {}

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        needed = [each for milestone in steps[name].requires for each in steps if milestone in steps[each].provides]
        for provider in needed:
            if found := walk(provider, [*path, name]):
                return found
        done[name] = None
        return []

    circle = next((found for name in steps if (found := walk(name, []))), [])
    return list(done), circle


def ties(flow: Workflow) -> list[tuple[str, str, str]]:
    """List pairs of steps that lead to the same milestone on one machine with neither more specific."""
    offers = [*flow.offers, *BUILT_IN_OFFERS]
    return [
        (one.step.name, other.step.name, sorted(shared)[0])
        for at, one in enumerate(offers)
        for other in offers[at + 1 :]
        if (shared := set(one.step.provides) & set(other.step.provides)) and _tie(one, other)
    ]


def _tie(one: Offer, other: Offer) -> bool:
    if one.conditions != other.conditions:
        return False
    both = one.when.keys() & other.when.keys()
    return all(one.when[key].meets(other.when[key]) for key in both)

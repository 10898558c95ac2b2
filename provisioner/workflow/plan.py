"""The planner: for one machine, the steps that lead to a workflow's goal, in order, and why each is in or out. No I/O.

It goes backwards from the goal. A milestone that holds already needs no step; of several steps that lead to one, the
most specific whose conditions hold is taken. The order is that of need, and among steps that do not need each other
that of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from provisioner.discovery.classify import told, unfulfilled
from provisioner.model.facts import Facts
from provisioner.model.workflow import FlowStep, LeftOut, Where
from provisioner.workflow.decode import BUILT_IN_OFFERS, Offer, Workflow, in_order
from provisioner.workflow.milestones import DISCOVERY_RUNS, START_DISCOVERY


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of a machine: milestones that hold, facts, and why its BMC cannot do a verb (empty: it can)."""

    given: frozenset[str] = frozenset()
    facts: Facts | None = None
    verbs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """The path for one machine. With `faults` there is none."""

    steps: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why each step is in it."""
    left_out: tuple[LeftOut, ...] = ()
    faults: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Tell it to an operator."""
        chosen = [
            f"{at}. {name}: {why}" for at, (name, why) in enumerate(zip(self.steps, self.reasons, strict=True), 1)
        ]
        return [
            *(f"!  {fault}" for fault in self.faults),
            *chosen,
            *(f"-  {x.step}: {x.reason}" for x in self.left_out),
        ]


def plan(flow: Workflow, ground: Ground) -> FlowPlan:
    """Choose the path.

    The discovery system that runs now is of no use behind a step that restarts the machine: then it is started there.
    """
    found = _plan(flow, ground)
    if _unserved(flow, ground, found):
        ground = replace(ground, given=ground.given - {DISCOVERY_RUNS})
        found = _late(flow, _plan(flow, ground))
    return replace(found, faults=(*found.faults, *_unserved(flow, ground, found)))


def _late(flow: Workflow, found: FlowPlan) -> FlowPlan:
    """Start the discovery system right before the first step for it, behind whatever restarts the machine."""
    steps = flow.steps
    reasons = dict(zip(found.steps, found.reasons, strict=True))
    order = [name for name in found.steps if name != START_DISCOVERY]
    first = next((at for at, name in enumerate(order) if steps[name].where is Where.DISCOVERY), len(order))
    if START_DISCOVERY in reasons:
        order.insert(first, START_DISCOVERY)
    return replace(found, steps=tuple(order), reasons=tuple(reasons[name] for name in order))


def _unserved(flow: Workflow, ground: Ground, found: FlowPlan) -> list[str]:
    """Say which steps would wait for a discovery system that an earlier step has ended."""
    steps = flow.steps
    runs, ended_by, faults = DISCOVERY_RUNS in ground.given, "", []
    for step in (steps[name] for name in found.steps):
        if DISCOVERY_RUNS in step.provides:
            runs = True
        elif restarts(step):
            runs, ended_by = False, step.name
        if step.where is Where.DISCOVERY and not runs:
            text = f"{step.name} is for the discovery system, which {ended_by} ends: boot it again in between"
            faults.append(f"{text} (action: boot, with: {{bootenv: discovery}})")
    return faults


def restarts(step: FlowStep) -> bool:
    """Say whether what runs on a machine is gone when a step is done."""
    return step.action in ("boot", "release") or (step.verb.startswith("power.") and step.verb not in HARMLESS)


HARMLESS = ("power.status", "power.on", "power.nmi")


def _plan(flow: Workflow, ground: Ground) -> FlowPlan:
    planner = _Planner(flow, ground)
    faults = [fault for name in flow.goal if (fault := planner.reach(name, f"leads to the goal {name}"))]
    for name in flow.also:
        planner.attempt(name)
    return planner.result(faults)


class _Planner:
    def __init__(self, flow: Workflow, ground: Ground) -> None:
        self._ground = ground
        self._handlers = flow.handlers
        self._order, _ = in_order(flow)
        self._offers = [*flow.offers, *BUILT_IN_OFFERS]
        self._chosen: dict[str, str] = {}
        self._reached: dict[str, str] = {}
        """Milestones that a chosen step leads to, and which."""
        self._refused: dict[str, str] = {}
        """Why steps that were looked at are left out."""
        self._outdone: dict[str, str] = {}
        """Why steps that could have been taken are left out: which one was taken instead."""

    def reach(self, milestone: str, reason: str) -> str:
        """Choose what leads to a milestone; say what is in the way where nothing does."""
        if milestone in self._ground.given or milestone in self._reached:
            return ""
        faults = []
        for offer in self._leading_to(milestone):
            why_not = self._unfit(offer)
            if not why_not:
                why_not = self._take(offer, reason)
                if not why_not:
                    self._put_behind(milestone, offer)
                    return ""
            self._refused[offer.step.name] = why_not
            faults.append(f"{offer.step.name}: {why_not}")
        return f"{milestone} cannot be reached: {'; '.join(faults) or 'no step leads there'}"

    def attempt(self, milestone: str) -> None:
        """Reach a milestone where that is possible; otherwise leave everything as it was."""
        before = self._stand()
        if self.reach(milestone, f"leads to {milestone}, which is wanted where it can be had"):
            self._chosen, self._reached, self._outdone = before

    def _stand(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Keep what is chosen, to come back to it. Why a step does not fit holds whatever becomes of the others."""
        return dict(self._chosen), dict(self._reached), dict(self._outdone)

    def _leading_to(self, milestone: str) -> list[Offer]:
        fitting = [offer for offer in self._offers if milestone in offer.step.provides]
        return sorted(fitting, key=lambda offer: -offer.conditions)

    def _take(self, offer: Offer, reason: str) -> str:
        """Choose a step and all that it requires, in the order of need; say what is in the way."""
        before = self._stand()
        for needed in offer.step.requires:
            if fault := self.reach(needed, f"leads to {needed}, which {offer.step.name} requires"):
                self._chosen, self._reached, self._outdone = before
                return fault
        self._chosen[offer.step.name] = reason + self._because(offer)
        self._reached |= dict.fromkeys(offer.step.provides, offer.step.name)
        return ""

    def _unfit(self, offer: Offer) -> str:
        """Say which condition a machine does not fulfil."""
        if offer.when and self._ground.facts is None:
            return "its hardware is not known yet, so no condition on facts holds"
        faults = unfulfilled(offer.when, self._ground.facts) if self._ground.facts is not None else []
        faults += [f"{verb}: {fault}" for verb in offer.verbs if (fault := self._ground.verbs.get(verb, ""))]
        return "; ".join(faults)

    def _because(self, offer: Offer) -> str:
        facts = self._ground.facts
        holds = told(offer.when, facts) if facts is not None else []
        holds += [f"its BMC offers {verb}" for verb in offer.verbs]
        return f" ({', '.join(holds)})" if holds else ""

    def _put_behind(self, milestone: str, taken: Offer) -> None:
        for other in self._leading_to(milestone):
            if other is not taken:
                self._outdone.setdefault(
                    other.step.name, f"{taken.step.name} leads to {milestone} and is more specific"
                )

    def result(self, faults: list[str]) -> FlowPlan:
        out = [
            LeftOut(offer.step.name, self._why_out(offer))
            for offer in self._offers
            if offer.step.name not in self._chosen and offer.step.name not in self._handlers
        ]
        steps = [name for name in self._order if name in self._chosen]
        return FlowPlan(tuple(steps), tuple(self._chosen[name] for name in steps), tuple(out), tuple(faults))

    def _why_out(self, offer: Offer) -> str:
        step = offer.step
        if step.name in self._refused:
            return self._refused[step.name]
        if step.name in self._outdone:
            return self._outdone[step.name]
        there = [name for name in step.provides if name in self._ground.given]
        if len(there) == len(step.provides):
            return f"{', '.join(there)}: holds already"
        by = sorted({self._reached[name] for name in step.provides if name in self._reached})
        if by:
            return f"{', '.join(by)} leads there"
        return f"nothing that is wanted needs {', '.join(step.provides)}"

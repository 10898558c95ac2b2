"""Workflow files: what is read, and every fault with its line and what to do."""

from __future__ import annotations

import pytest

from provisioner.discovery.classify import OneOf, Range
from provisioner.model.workflow import Then, Where
from provisioner.workflow.decode import in_order, ties
from tests.workflow.flows import HEAD, faults_of, flow

GOOD = """
also: [extra.done]
limit_s: 7200
params:
  minutes: {kind: number, default: 5, about: how long}
steps:
  erase:
    where: discovery
    about: wipe it
    provides: [test.done]
    when: {disks: {min: 1}, firmware: [uefi, bios]}
    destructive: true
    on_error: {step: tell, then: go-on}
    barrier: true
    script: echo "$PARAM_minutes"
  look:
    where: bmc
    verb: sensors.read
    can: [power.cycle]
    requires: [test.done]
    provides: [extra.done]
    retries: 2
    leader: true
  tell:
    where: daemon
    action: webhook
    with: {url: "http://127.0.0.1/x", body: {machine: "{machine}", minutes: "{params.minutes}"}}
"""


def test_all_that_can_be_written() -> None:
    found = flow(GOOD)
    erase, look, tell = (offer.step for offer in found.offers)
    assert (found.goal, found.also, found.limit_s) == (("test.done",), ("extra.done",), 7200.0)
    assert (erase.where, erase.requires, erase.once, erase.then) == (
        Where.DISCOVERY,
        ("discovery.running",),
        True,
        Then.GO_ON,
    )
    assert dict(found.offers[0].when) == {"disks": Range(1, None), "firmware": OneOf(frozenset({"uefi", "bios"}))}
    assert (look.verb, look.retries, look.once, found.offers[1].verbs) == (
        "sensors.read",
        2,
        False,
        ("power.cycle", "sensors.read"),
    )
    assert tell.given["body"] == {"machine": "{machine}", "minutes": "{params.minutes}"}
    assert found.handlers == {"tell"}
    assert in_order(found)[0] == ["start-discovery", "erase", "look", "tell"]


STEP = "steps:\n  one: {{where: discovery, provides: [test.done], script: x, {}}}\n"
FAULTS: dict[str, tuple[str, str]] = {
    "an unknown key, with a hint": (STEP.format("retry: 3"), "steps.one.retry: unknown key, did you mean 'retries'?"),
    "an unknown key at the top": ("golas: 1\n" + STEP.format("about: x"), "golas: unknown key"),
    "a place that is none": (
        "steps:\n  one: {where: discover, provides: [test.done], script: x}\n",
        "did you mean 'discovery'?",
    ),
    "a fact that is none": (STEP.format("when: {vendor: Dell}"), "steps.one.when.vendor: unknown key"),
    "a goal nobody leads to": (
        "steps:\n  one: {where: discovery, provides: [tset.done], script: x}\n",
        "goal: no step provides 'test.done', did you mean 'tset.done'?",
    ),
    "a need nobody fulfils": (
        STEP.format("requires: [os.instaled]"),
        "did you mean 'os.installed'?, which it requires",
    ),
    "no script": (
        "steps:\n  one: {where: discovery, provides: [test.done]}\n",
        "script: missing: what is done in the discovery",
    ),
    "a script for the daemon": (
        "steps:\n  one: {where: daemon, action: hold, with: {reason: x}, provides: [test.done], script: x}\n",
        "steps.one.script: unknown key",
    ),
    "an action that is none": (
        "steps:\n  one: {where: daemon, action: boots, provides: [test.done]}\n",
        "'boots' is not known, did you mean 'boot'?",
    ),
    "an argument that is none": (
        "steps:\n  one: {where: daemon, action: hold, with: {reason: x, quarantin: true}, provides: [test.done]}\n",
        "with.quarantin: unknown key, did you mean 'quarantine'?",
    ),
    "a verb that is none": (
        "steps:\n  one: {where: bmc, verb: sensors.raed, provides: [test.done]}\n",
        "did you mean 'sensors.read'?",
    ),
    "what destroys says so": (
        "steps:\n  one: {where: bmc, verb: drive.erase, with: {drive: x}, provides: [test.done]}\n",
        "drive.erase destroys what is on a disk: write destructive: true",
    ),
    "what destroys is not tried again": (
        STEP.format("destructive: true, retries: 1"),
        "retries: it is begun once, since doing it twice is not the same",
    ),
    "what cannot be repeated is not tried again": (
        "steps:\n  one: {where: bmc, verb: power.cycle, provides: [test.done], retries: 1}\n",
        "retries: it is begun once",
    ),
    "nor by its handler": (
        STEP.format("destructive: true, on_error: {step: two, then: again}"),
        "then: again: it is begun once",
    ),
    "a handler that is not there": (STEP.format("on_error: two"), "one: on_error: no step 'two'"),
    "a step for nothing": (
        STEP.format("about: x") + "  two: {where: discovery, script: x}\n",
        "two: provides: missing: nothing would ever need this step",
    ),
    "a circle": (
        "steps:\n  one: {where: discovery, provides: [test.done], requires: [two.done], script: x}\n"
        "  two: {where: discovery, provides: [two.done], requires: [test.done], script: x}\n",
        "each of these needs the next one first: one -> two -> one",
    ),
    "two ways and neither more specific": (
        STEP.format("when: {memory: {min: 1GiB}}")
        + "  two: {where: discovery, provides: [test.done], script: x, when: {disks: {min: 1}}}\n",
        "one and two lead to test.done on the same machine, and neither is more specific",
    ),
    "a word in braces that is none": (
        "steps:\n  one: {where: daemon, action: hold, with: {reason: 'by {param.x}'}, provides: [test.done]}\n",
        "one: with: {param.x} is not known",
    ),
    "a default of another kind": (
        "params: {n: {kind: number, default: many}}\n" + STEP.format("about: x"),
        "params.n.default: 'many' is no number",
    ),
    "a name that shells do not take": ("params: {a-b: {}}\n" + STEP.format("about: x"), "scripts see it as PARAM_NAME"),
    "a step of ours": (
        "steps:\n  start-discovery: {where: discovery, provides: [test.done], script: x}\n",
        "a step that comes with the daemon",
    ),
    "nothing to wait for": (
        "steps:\n  one: {where: daemon, action: wait, with: {}, provides: [test.done]}\n",
        "exactly one of event, signal and state",
    ),
    "a state that is none": (
        "steps:\n  one: {where: daemon, action: wait, with: {state: actve}, provides: [test.done]}\n",
        "'actve': no state of a machine",
    ),
    "no URL": (
        "steps:\n  one: {where: daemon, action: http, with: {url: 'file:///etc'}, provides: [test.done]}\n",
        "is not an http or https URL",
    ),
    "a milestone of one word": (STEP.format("requires: [done]"), "'done' is no milestone"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(text: str, fault: str) -> None:
    found = faults_of(text)
    assert any(fault in each for each in found), found
    assert all(each.startswith("test.yaml:") for each in found)


@pytest.mark.parametrize(
    ("step", "hours"),
    [
        ("where: daemon, action: boot, with: {bootenv: debian-12}", 4),
        ("where: daemon, action: release", 24),
        ("where: daemon, action: hold, with: {reason: x}", 1),
        ("where: discovery, script: x", 1),
    ],
)
def test_an_action_has_the_time_of_the_command_that_it_is(step: str, hours: int) -> None:
    found = flow(f"steps:\n  one: {{{step}, provides: [test.done], destructive: true}}\n")
    assert 0 <= found.offers[0].step.limit_s - hours * 3600 <= 600
    assert found.limit_s > found.offers[0].step.limit_s


def test_every_fault_is_told_at_once() -> None:
    assert len(faults_of("nonsense: 1\nsteps:\n  one: {where: mars}\n")) >= 3


def test_a_workflow_without_a_goal() -> None:
    assert any("goal: missing" in fault for fault in faults_of(STEP.format("about: x"), "name: test\ntitle: x\n"))


def test_ways_that_exclude_each_other_do_not_tie() -> None:
    text = STEP.format("when: {firmware: uefi}")
    found = flow(text + "  two: {where: discovery, provides: [test.done], script: x, when: {firmware: bios}}\n", HEAD)
    assert ties(found) == []

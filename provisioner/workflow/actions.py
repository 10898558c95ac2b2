"""Actions of the daemon that steps can name, and their arguments. No I/O: `workflow.perform` carries them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.fields import Fields
from provisioner.model.machine import State
from provisioner.model.workflow import FlowMember, FlowRun

PLACEHOLDER = re.compile(r"\{([a-z_.0-9]+)\}")
KNOWN = frozenset({"machine", "run", "workflow", "step"})


@dataclass(frozen=True, slots=True)
class Action:
    """One action: every one of them can be begun again after a crash, under the key of its try, and happens once."""

    does: str
    read: Callable[[Fields], dict[str, Any]]


def _boot(fields: Fields) -> dict[str, Any]:
    until = fields.text("until", "end")
    if until not in ("end", "installer"):
        fields.fault("until", f"{until!r}: end (the run's end) or installer (its installer runs)")
    return {"bootenv": fields.text("bootenv", None), "params": fields.mapping("params"), "until": until}


def _release(fields: Fields) -> dict[str, Any]:
    return {"erase": fields.flag("erase", True)}


def _wait(fields: Fields) -> dict[str, Any]:
    given = {"event": fields.text("event"), "signal": fields.text("signal"), "state": fields.text("state")}
    if sum(map(bool, given.values())) != 1:
        fields.fault(None, "exactly one of event, signal and state says what it waits for")
    if given["state"] and given["state"] not in set(State):
        fields.fault("state", f"{given['state']!r}: no state of a machine; docs/lifecycle.md lists them")
    return {**given, "match": fields.mapping("match")}


def _url(fields: Fields) -> str:
    url = fields.text("url", None)
    if url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        fields.fault("url", f"{url!r} is not an http or https URL")
    return url


def _webhook(fields: Fields) -> dict[str, Any]:
    return {"url": _url(fields), "body": fields.mapping("body")}


def _http(fields: Fields) -> dict[str, Any]:
    return {"url": _url(fields), "status": fields.whole("status", 200, 100, 599), "contains": fields.text("contains")}


def _hold(fields: Fields) -> dict[str, Any]:
    return {"reason": fields.text("reason", None), "quarantine": fields.flag("quarantine")}


def _adopt(fields: Fields) -> dict[str, Any]:
    """Ports may be parameters of the run: they are numbers by the time that the step begins."""
    given = {"user": fields.text("user", None)}
    return given | {name: fields.any(name) for name in ("redfish_port", "ipmi_port")}


ACTIONS: Mapping[str, Action] = {
    "boot": Action("boot or install a bootenv, as `provisionctl boot` does", _boot),
    "release": Action("erase the machine and give it back", _release),
    "wait": Action("wait for an event, for a signal, or for a state of the machine", _wait),
    "webhook": Action("send a JSON document; the receiver knows a repeated one by its Idempotency-Key", _webhook),
    "http": Action("ask a URL until it answers as it should", _http),
    "adopt-bmc": Action("put the BMC on record that the machine sees, with the account that a step made there", _adopt),
    "hold": Action("keep the machine back, in maintenance or quarantine", _hold),
}


def decode_given(action: str, fields: Fields) -> dict[str, Any]:
    """Read the arguments of an action, with nothing that is not known."""
    given = ACTIONS[action].read(fields)
    fields.done()
    return {key: value for key, value in given.items() if value not in ("", {}, None)}


def placeholders(value: Any) -> set[str]:
    """Name everything in braces in texts, however deep."""
    match value:
        case str():
            return set(PLACEHOLDER.findall(value))
        case dict():
            return {name for each in value.values() for name in placeholders(each)}
        case list():
            return {name for each in value for name in placeholders(each)}
    return set()


def filled(value: Any, run: FlowRun, member: FlowMember) -> Any:
    """Put the run's values in the places of `{machine}`, `{run}`, `{params.NAME}`. A text that is nothing but a
    parameter becomes its value, of whatever kind.
    """
    known: dict[str, Any] = {"machine": member.name, "run": run.id, "workflow": run.workflow, "step": member.next}
    known |= {f"params.{name}": each for name, each in run.params.items()}

    def fill(value: Any) -> Any:
        match value:
            case str() if (whole := PLACEHOLDER.fullmatch(value)) and whole[1] in known:
                return known[whole[1]]
            case str():
                return PLACEHOLDER.sub(lambda found: str(known.get(found[1], found[0])), value)
            case dict():
                return {key: fill(each) for key, each in value.items()}
            case list():
                return [fill(each) for each in value]
        return value

    return fill(value)

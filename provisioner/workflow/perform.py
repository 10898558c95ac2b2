"""Carries out the steps that are ours: actions of the daemon, and verbs of BMCs.

Every action is keyed by the try that it belongs to, so a daemon that dies in the middle of it and begins it again does
it once: intents carry an idempotency key, webhooks a header that says so, the others only look.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import aiohttp

from provisioner.errors import ConflictError, ProvisionerError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.plans import JOB_STEP, Verb
from provisioner.model.bmc import Driver
from provisioner.model.machine import Machine, Run
from provisioner.model.workflow import FlowMember, FlowRun, FlowStep
from provisioner.store.db import Database
from provisioner.store.intents import IntentStore
from provisioner.store.machines import MachineStore
from provisioner.workflow.actions import filled

ASK_S = 10.0
"""One request of ours; the step's own limit bounds all of them together."""
AGAIN_S = 2.0
LOOK_S = 20.0
BODY_BYTES = 64 * 1024
NOTE_CHARS = 300


class StepFailed(ProvisionerError):
    """A step did not reach its end, and why."""


class Boards(Protocol):
    """The BMCs of machines, every verb by its name."""

    async def do(self, machine: Machine, verb: str, given: Mapping[str, Any]) -> Any:
        """Do a verb by the driver that the resolver chose; returns plain values. Raises `BmcError`, `WireError`."""

    async def cannot(self, machine: Machine, verb: str) -> str:
        """Say why a machine's BMC cannot do a verb; empty where it can."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try of one step on one machine. `now` reads the run as it stands."""

    run: FlowRun
    member: FlowMember
    step: FlowStep
    now: Callable[[], FlowRun]

    @property
    def key(self) -> str:
        """Name this try among all: what is asked for under it happens once."""
        return f"workflow/{self.run.id}/{self.member.machine}/{self.member.fence}"

    @property
    def message(self) -> str:
        """Name what is sent to others: the same for every try of the step."""
        return f"workflow/{self.run.id}/{self.member.machine}/{self.step.name}"

    @property
    def given(self) -> dict[str, Any]:
        """The step's arguments with the run's values in them."""
        return dict(filled(self.step.given, self.run, self.member))


class Performer:
    """Performs; returns a note for the journal and what is kept as the step's output."""

    def __init__(self, conductor: Conductor, db: Database, boards: Boards) -> None:
        self._conductor = conductor
        self._runs, self._intents = MachineStore(db), IntentStore(db)
        self._boards = boards
        self._actions: Mapping[str, Callable[[Try], Awaitable[tuple[str, str]]]] = {
            "boot": self._boot,
            "release": self._release,
            "wait": self._wait,
            "webhook": self._webhook,
            "http": self._http,
            "hold": self._hold,
            "adopt-bmc": self._adopt,
        }

    async def perform(self, attempt: Try) -> tuple[str, str]:
        """Bring about what the step is for. Raises `ProvisionerError`."""
        if attempt.step.action:
            return await self._actions[attempt.step.action](attempt)
        machine = self._conductor.machines.get(attempt.member.machine)
        result = await self._boards.do(machine, attempt.step.verb, attempt.given)
        return attempt.step.verb, json.dumps(result, indent=1, ensure_ascii=False) + "\n"

    # runs of machines

    async def _boot(self, attempt: Try) -> tuple[str, str]:
        given, ref = attempt.given, attempt.member.machine
        run = await self._accepted(attempt)
        if not run:
            machine = await self._conductor.boot(ref, given["bootenv"], key=attempt.key, params=given.get("params"))
            run = machine.run.id if machine.run is not None else ""
        if given.get("until") == "installer":
            return await self._installer(attempt, run), ""
        return await self._end(attempt, run), ""

    async def _release(self, attempt: Try) -> tuple[str, str]:
        run = await self._accepted(attempt)
        if not run:
            erase = attempt.given.get("erase", True)
            machine = await self._conductor.release(attempt.member.machine, erase=erase, key=attempt.key)
            run = machine.run.id if machine.run is not None else ""
        return await self._end(attempt, run), ""

    async def _accepted(self, attempt: Try) -> str:
        """Find the run that an earlier daemon began for this try."""
        known = await self._intents.find(attempt.key)
        return known.run if known is not None else ""

    async def _end(self, attempt: Try, run_id: str) -> str:
        while True:
            run = await self._run(attempt, run_id)
            if run.step is None:
                if run.outcome != "done":
                    raise StepFailed(f"{run.name} {run.outcome}: {_last_note(run)}")
                return f"{run.name} done"
            await self._conductor.wait_change(attempt.member.machine, LOOK_S)

    async def _installer(self, attempt: Try, run_id: str) -> str:
        while True:
            run = await self._run(attempt, run_id)
            if _installs(run):
                return f"the installer of {run.bootenv} runs"
            if run.step is None:
                raise StepFailed(f"{run.name} {run.outcome} without an installer: {_last_note(run)}")
            if run.verb not in (Verb.INSTALL, Verb.DEPLOY):
                raise StepFailed(f"{run.bootenv} is not installed by any installer", hint="until: end")
            await self._conductor.wait_change(attempt.member.machine, LOOK_S)

    async def _run(self, attempt: Try, run_id: str) -> Run:
        machine = self._conductor.machines.get(attempt.member.machine)
        if machine.run is not None and machine.run.id == run_id:
            return machine.run
        earlier = next((old for old in await self._runs.runs(machine.id) if old.id == run_id), None)
        if earlier is None:
            raise StepFailed(f"{machine.name}: run {run_id} is not on record")
        return earlier

    async def _adopt(self, attempt: Try) -> tuple[str, str]:
        given = attempt.given
        ports = {Driver.REDFISH: int(given.get("redfish_port", 443)), Driver.IPMI: int(given.get("ipmi_port", 623))}
        found = await self._conductor.doors.adopt(attempt.member.machine, str(given["user"]), ports)
        return f"on record by {', '.join(found)}", ""

    async def _hold(self, attempt: Try) -> tuple[str, str]:
        given = attempt.given
        machine = await self._conductor.hold(
            attempt.member.machine, str(given["reason"]), quarantine=bool(given.get("quarantine")), key=attempt.key
        )
        return f"{machine.name} is {machine.state}", ""

    # waiting

    async def _wait(self, attempt: Try) -> tuple[str, str]:
        given = attempt.given
        if "state" in given:
            return await self._state(attempt, given["state"])
        if "signal" in given:
            return await self._signal(attempt, given["signal"])
        return await self._event(attempt, given["event"], given.get("match", {}))

    async def _state(self, attempt: Try, state: str) -> tuple[str, str]:
        while (machine := self._conductor.machines.get(attempt.member.machine)).state != state:
            await self._conductor.wait_change(machine.id, LOOK_S)
        return f"{machine.name} is {state}", ""

    async def _signal(self, attempt: Try, name: str) -> tuple[str, str]:
        while name not in attempt.now().signals:
            await self._conductor.wait_change(attempt.member.machine, LOOK_S)
        return f"signal {name}", ""

    async def _event(self, attempt: Try, kind: str, match: Mapping[str, Any]) -> tuple[str, str]:
        """Wait for an event of the machine since the run began: one that came before this step counts, too."""
        cursor, ref = attempt.run.since, attempt.member.machine
        while True:
            newest = self._conductor.newest_event(ref)
            events = await self._conductor.events(cursor, 1000, ref)
            for event in events:
                fits = all(str(event.data.get(key)) == str(value) for key, value in match.items())
                if fits and fnmatchcase(event.type, kind):
                    return f"event {event.seq} {event.type}", json.dumps(event.data) + "\n"
            if events:
                cursor = events[-1].seq
                continue
            while self._conductor.newest_event(ref) <= max(newest, cursor):  # what others do is not read
                await self._conductor.wait_change(ref, LOOK_S)

    # asking others

    async def _webhook(self, attempt: Try) -> tuple[str, str]:
        given = attempt.given
        told = {"workflow": attempt.run.workflow, "run": attempt.run.id, "step": attempt.step.name}
        body = given.get("body") or {**told, "machine": attempt.member.name}
        headers = {"Idempotency-Key": attempt.message}
        # a redirection is no answer: who follows it asks with GET, and the body is taken by nobody
        status, text = await self._ask("POST", given["url"], json=body, headers=headers, allow_redirects=False)
        if not 200 <= status < 300:
            raise StepFailed(f"{given['url']}: HTTP {status}: {_short(text)}")
        return f"{given['url']}: HTTP {status}", text

    async def _http(self, attempt: Try) -> tuple[str, str]:
        given = attempt.given
        wanted, contains = given.get("status", 200), given.get("contains", "")
        while True:
            try:
                status, text = await self._ask("GET", given["url"])
            except StepFailed:
                status, text = 0, ""
            if status == wanted and contains in text:
                return f"{given['url']}: HTTP {status}", text
            await asyncio.sleep(AGAIN_S)

    async def _ask(self, method: str, url: str, **request: Any) -> tuple[int, str]:
        try:
            timeout = aiohttp.ClientTimeout(total=ASK_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, **request) as got,
            ):
                return got.status, (await _body(got.content)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # a host that is no name, too
            raise StepFailed(f"{url}: {type(error).__name__}: {_short(str(error))}") from error


async def _body(content: aiohttp.StreamReader) -> bytes:
    """Read a body, of a long one its beginning; of one that does not end what came in the time of a request."""
    raw = bytearray()
    with suppress(TimeoutError):
        while len(raw) < BODY_BYTES and (piece := await content.read(BODY_BYTES - len(raw))):
            raw += piece
    return bytes(raw)


def _last_note(run: Run) -> str:
    return next((line.note for line in reversed(run.journal) if line.note), run.outcome)


def _short(text: str) -> str:
    return " ".join(text.split())[:NOTE_CHARS]


def can_help(error: ProvisionerError) -> bool:
    """Say whether another try of a step that failed so can help."""
    return not isinstance(error, ConflictError)


def _installs(run: Run) -> bool:
    """Say whether a distribution's installer has its answers, or the job that writes an image was taken."""
    answered = any(line.step == "wait.answer" and line.outcome == "done" for line in run.journal)
    return answered or (run.step is not None and run.step.name == JOB_STEP and run.job_taken)

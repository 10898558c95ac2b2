"""What the HTTP side needs of the rest of the daemon. No I/O.

`lifecycle.conductor.Conductor` is the real `Conductor`; tests hand in a small one that behaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aiohttp import web

from provisioner.boot.script import Dialect
from provisioner.lifecycle.story import Verdict
from provisioner.model.catalog import Bootenv
from provisioner.model.intent import Check, EnrolRequest, Event
from provisioner.model.machine import Machine
from provisioner.model.mirror import CacheStanding
from provisioner.model.net import Mac
from provisioner.model.trace import ALL_LINES, TraceFilter, TraceLine
from provisioner.services import Standing

PowerVerb = Literal["on", "off", "cycle", "reset"]


class Machines(Protocol):
    """The machines as they stand, in memory: no call waits."""

    def all(self) -> Sequence[Machine]:
        """List every machine, by name."""

    def find(self, ref: str) -> Machine | None:
        """Find by name or id."""

    def get(self, ref: str) -> Machine:
        """Find by name or id; `NotFoundError` names near matches."""


class Operator(Protocol):
    """What an operator can ask. Every call raises a `ProvisionerError` that can be shown as it is."""

    @property
    def machines(self) -> Machines: ...

    async def enrol(self, request: EnrolRequest, *, key: str = "") -> Machine: ...

    async def boot(
        self,
        ref: str,
        bootenv: str,
        *,
        key: str = "",
        generation: int | None = None,
        params: Mapping[str, Any] | None = None,
        via: str = "",
    ) -> Machine: ...

    async def release(
        self, ref: str, *, erase: bool = True, key: str = "", generation: int | None = None
    ) -> Machine: ...

    async def power(self, ref: str, verb: PowerVerb, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def rescue(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def unrescue(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def cancel(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def resume(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def hold(
        self, ref: str, reason: str, *, quarantine: bool = False, key: str = "", generation: int | None = None
    ) -> Machine: ...

    async def let_go(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def adopt(self, ref: str, bootenv: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def boot_by(self, ref: str, way: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def retire(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def unretire(self, ref: str, *, key: str = "", generation: int | None = None) -> Machine: ...

    async def forget(self, ref: str, *, force: bool = False, key: str = "", generation: int | None = None) -> None: ...

    async def preflight(self, ref: str, bootenv: str, *, via: str = "") -> Sequence[Check]: ...

    async def why(self, ref: str) -> Verdict:
        """Say in a sentence what a machine waits for or why it failed."""

    async def trace(
        self, ref: str, *, after: int = 0, limit: int = 1000, only: TraceFilter = ALL_LINES
    ) -> Sequence[tuple[int, TraceLine]]: ...

    async def events(self, after: int, limit: int, machine: str = "") -> Sequence[Event]: ...

    async def wait_event(self, after: int, timeout_s: float) -> bool:
        """Wait until something newer than `after` exists; False when the time is up."""


class Booter(Protocol):
    """What machines ask, each call with the token and the address that it came from.

    `TicketError` and `NotFoundError` become the same answer: a stranger learns nothing from it.
    """

    async def boot_script(self, mac: Mac, address: str, dialect: Dialect) -> bytes: ...

    async def answer(self, ticket: str, answer: str, address: str) -> tuple[bytes, str]: ...

    async def own_answer(self, answer: str, address: str) -> tuple[bytes, str]:
        """Give an answer file to the machine that has this address, where its bootenv says `by_address`."""

    def admit(self, token: str, address: str) -> None:
        """Raise `TicketError` where nobody may say anything by this token from there."""

    async def agent_facts(self, token: str, address: str, raw: bytes) -> str: ...

    async def agent_next(self, token: str, address: str, wait_s: float) -> str: ...

    async def agent_job(self, token: str, address: str, job_id: str) -> bytes: ...

    async def agent_progress(
        self, token: str, address: str, phase: str, percent: float | None, message: str
    ) -> None: ...

    async def agent_done(self, token: str, address: str, job_id: str, status: int, message: str) -> str: ...

    async def agent_log(self, token: str, address: str, text: str, up_s: float | None) -> None:
        """Keep lines of a log. `up_s`: since the machine was started; each line begins with its own `[SECONDS] `."""

    async def agent_step(self, token: str, address: str, wait_s: float) -> str: ...

    async def agent_output(self, token: str, address: str, job: str, place: int, text: bytes) -> None: ...

    async def hook_failed(self, token: str, address: str, hook: str, status: int, output: str) -> None: ...

    async def phone_home(
        self, token: str, address: str, hostname: str, os: str, uptime_s: float, addresses: Sequence[str]
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket that the daemon holds: `service` is its name in the log, `address` as people read it."""

    service: str
    address: str


@dataclass(frozen=True, slots=True)
class BootenvStatus:
    """A bootenv and what it lacks: one line for each artefact that is missing, with the command that gets it."""

    bootenv: Bootenv
    missing: tuple[str, ...] = ()


def _nothing_wrong() -> Sequence[str]:
    return ()


def _no_mirror() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that the operator API shows. `faults` says why the daemon is not ready; empty when it is."""

    operator: Operator
    bootenvs: Callable[[], Sequence[BootenvStatus]]
    listeners: Callable[[], Sequence[Listener]] = field(default=tuple)
    faults: Callable[[], Sequence[str]] = field(default=_nothing_wrong)
    services: Callable[[], Sequence[Standing]] = field(default=tuple)
    mirror: Callable[[], CacheStanding | None] = field(default=_no_mirror)


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a route table.

    `query` are the keys that it takes. Every other one is refused, but where a machine asks for what takes none: its
    firmware and installers add what they like.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    query: tuple[str, ...] = ()
    repeated: str = ""
    """The key of these that may stand more than once: each is one of those that are meant."""

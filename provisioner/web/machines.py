"""What machines fetch and say: boot scripts, and the agent's calls (docs/architecture.md), as text for a shell."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from aiohttp import web

from provisioner.boot.script import Dialect
from provisioner.errors import ConfigError, NotFoundError, RunOverError, TicketError, WireError
from provisioner.model.net import Mac, parse_mac
from provisioner.web import bodies
from provisioner.web.ports import Booter, Route
from provisioner.web.replies import whole
from provisioner.web.whole import WholeAnswer

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FACTS_LIMIT = 1 << 20  # a machine with 60 disks and 16 ports sends some 150 KiB
LOG_LIMIT = 64 * 1024
SMALL_LIMIT = 16 * 1024
PLACE_LIMIT = 1 << 40
"""No step prints a terabyte."""
PLAIN = "text/plain"
NEXT_WAIT_S = 20.0
"""How long `next` waits for a command: below the 30 s after which BusyBox wget and most proxies give up."""

_UPTIME = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?")
_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/=-]{1,256})")
_BOOTIF = re.compile(r"(?:01-)?([0-9a-fA-F]{2}(?:[:-]?[0-9a-fA-F]{2}){5})")

Text = Annotated[str, msgspec.Meta(max_length=4096)]


class ProgressBody(msgspec.Struct):
    """Unknown keys are let by: an agent may be newer than the daemon."""

    phase: Annotated[str, msgspec.Meta(max_length=64)]
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    message: Text = ""


class DoneBody(msgspec.Struct):
    job: Annotated[str, msgspec.Meta(max_length=128)]
    status: int
    message: Text = ""


class HookFailedBody(msgspec.Struct):
    hook: Annotated[str, msgspec.Meta(max_length=64)]
    status: int
    output: Text = ""


class PhoneHomeBody(msgspec.Struct):
    hostname: Annotated[str, msgspec.Meta(max_length=253)] = ""
    os: Annotated[str, msgspec.Meta(max_length=256)] = ""
    uptime_s: float = 0.0
    addresses: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = (
        msgspec.field(default_factory=list)
    )


class MachineSide:
    """Handlers over one `Booter`: they read, ask and answer."""

    def __init__(self, booter: Booter) -> None:
        self._ask = booter

    def routes(self) -> tuple[Route, ...]:
        """The route table of the boot scripts and the agent."""
        agent = {
            ("POST", "facts"): self.facts,
            ("GET", "next"): self.next,
            ("GET", "job/{job}"): self.job,
            ("POST", "progress"): self.progress,
            ("POST", "done"): self.done,
            ("POST", "log"): self.log,
            ("POST", "phone-home"): self.phone_home,
            ("POST", "hook-failed"): self.hook_failed,
            ("GET", "step"): self.step,
            ("POST", "output/{job}"): self.output,
        }
        queries = {"log": ("up",), "output/{job}": ("at",)}
        return (
            Route("GET", "/boot/{mac}/script.ipxe", self.ipxe_script),
            Route("GET", "/boot/{mac}/grub.cfg", self.grub_script),
            Route("GET", "/answers/own/{answer}", self.own_answer),
            Route("POST", "/answers/own/{answer}", self.own_answer),
            Route("GET", "/answers/{ticket}/{answer}", self.answer),
            *(
                Route(method, f"/agent/v1/{path}", authorised(call), query=queries.get(path, ()))
                for (method, path), call in agent.items()
            ),
        )

    async def ipxe_script(self, request: web.Request) -> WholeAnswer:
        """Give the machine's iPXE script."""
        return await self._script(request, Dialect.IPXE_HTTPS if request.secure else Dialect.IPXE)

    async def grub_script(self, request: web.Request) -> WholeAnswer:
        """Give the machine's GRUB configuration."""
        return await self._script(request, Dialect.GRUB)

    async def _script(self, request: web.Request, dialect: Dialect) -> WholeAnswer:
        try:
            script = await self._ask.boot_script(_mac(request), address_of(request), dialect)
        except NotFoundError as error:
            log.info("http.script.refused client=%s: %s", address_of(request), error)
            raise
        return WholeAnswer(script, PLAIN)

    async def answer(self, request: web.Request) -> WholeAnswer:
        """Give an answer file, once. A ticket that is not good is a path that is not there; one that was, is gone."""
        ticket, answer = request.match_info["ticket"], request.match_info["answer"]
        return WholeAnswer(*await self._ask.answer(ticket, answer, address_of(request)))

    async def own_answer(self, request: web.Request) -> WholeAnswer:
        """Give the answer file of whoever has this address, once. What an installer tells of its machine is let by."""
        await bodies.drop_body(request, FACTS_LIMIT)
        return WholeAnswer(*await self._ask.own_answer(request.match_info["answer"], address_of(request)))

    async def facts(self, request: web.Request) -> WholeAnswer:
        """Take a machine's facts; the answer is its first command."""
        token, raw = await self._said(request, FACTS_LIMIT)
        return _line(await self._ask.agent_facts(token, address_of(request), bodies.bounded_json(raw)))

    async def next(self, request: web.Request) -> WholeAnswer:
        """Give the machine its next command, or `wait` when there is none for some time."""
        return _line(await self._ask.agent_next(token_of(request), address_of(request), NEXT_WAIT_S))

    async def job(self, request: web.Request) -> WholeAnswer:
        """Give a job, once."""
        job = await self._ask.agent_job(token_of(request), address_of(request), request.match_info["job"])
        return WholeAnswer(job, PLAIN)

    async def progress(self, request: web.Request) -> web.Response:
        """Take word of how far a job is."""
        token, raw = await self._said(request, SMALL_LIMIT)
        body = bodies.decode(raw, ProgressBody)
        await self._ask.agent_progress(token, address_of(request), body.phase, body.percent, body.message)
        return web.Response(status=204)

    async def done(self, request: web.Request) -> WholeAnswer:
        """Take word that a job has ended; the answer is the next command."""
        token, raw = await self._said(request, SMALL_LIMIT)
        body = bodies.decode(raw, DoneBody)
        return _line(await self._ask.agent_done(token, address_of(request), body.job, body.status, body.message))

    async def log(self, request: web.Request) -> web.Response:
        """Take a piece of a job's output; with `up`, each of its lines begins with when it was printed."""
        up = request.query.get("up", "")
        if up and not _UPTIME.fullmatch(up):
            raise WireError(f"up: no seconds: {up[:40]!r}")
        token, raw = await self._said(request, LOG_LIMIT)
        text = raw.decode(errors="replace")
        await self._ask.agent_log(token, address_of(request), text, float(up) if up else None)
        return web.Response(status=204)

    async def _said(self, request: web.Request, limit_bytes: int) -> tuple[str, bytes]:
        """Read the token, and the body of who may say something by it: a stranger's is not taken."""
        token = token_of(request)
        self._ask.admit(token, address_of(request))
        return token, await bodies.read_body(request, limit_bytes)

    async def step(self, request: web.Request) -> WholeAnswer:
        """Say what an installer or a new system is to do for a workflow; `continue` where nothing is."""
        return _line(await self._ask.agent_step(token_of(request), address_of(request), NEXT_WAIT_S))

    async def output(self, request: web.Request) -> web.Response:
        """Take a piece of what a step prints, from octet `at` on. A piece that is sent again changes nothing."""
        place = whole(request.query.get("at", "0"), "at")
        token, text = await self._said(request, LOG_LIMIT)
        job = request.match_info["job"]
        await self._ask.agent_output(token, address_of(request), job, min(place, PLACE_LIMIT), text)
        return web.Response(status=204)

    async def hook_failed(self, request: web.Request) -> web.Response:
        """Take word that a script of the installed system failed."""
        token, raw = await self._said(request, SMALL_LIMIT)
        body = bodies.decode(raw, HookFailedBody)
        await self._ask.hook_failed(token, address_of(request), body.hook, body.status, body.output)
        return web.Response(status=204)

    async def phone_home(self, request: web.Request) -> web.Response:
        """Take word that the installed system runs."""
        token, raw = await self._said(request, SMALL_LIMIT)
        body = bodies.decode(raw, PhoneHomeBody)
        address = address_of(request)
        await self._ask.phone_home(token, address, body.hostname, body.os, body.uptime_s, body.addresses)
        return web.Response(status=204)


def authorised(handler: Handler) -> Handler:
    """Answer 401 to every token that is not good now: missing, unknown, used, late or somebody else's.

    410 to one whose run is over: whoever holds it is to stop.
    """

    async def checked(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except TicketError as error:
            log.warning("agent.refused remote=%s path=%s: %s", request.remote, request.rel_url.raw_path, error)
            raise (web.HTTPGone if isinstance(error, RunOverError) else web.HTTPUnauthorized) from error

    return checked


def _line(command: str) -> WholeAnswer:
    return WholeAnswer(f"{command}\n".encode())


def address_of(request: web.Request) -> str:
    """Say where the request came from, as the kernel knows it: headers of proxies are not believed."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = str(peer[0]) if peer else ""
    return address.removeprefix("::ffff:")


def token_of(request: web.Request) -> str:
    """Read the bearer token; raise `TicketError` where there is none."""
    bearer = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if bearer is None:
        raise TicketError("no bearer token", hint="the kernel command line has it as provisioner.token")
    return bearer[1]


def _mac(request: web.Request) -> Mac:
    """Read the MAC of a path, also as PXELINUX and BOOTIF write it: `01-aa-bb-cc-dd-ee-ff`."""
    match = _BOOTIF.fullmatch(request.match_info["mac"])
    try:
        return parse_mac(match[1] if match else "")
    except ConfigError as error:
        raise NotFoundError("not a MAC address") from error

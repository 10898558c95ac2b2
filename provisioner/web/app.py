"""Two applications that share no route: the operator API on a UNIX socket, and what machines ask on TCP.

Every request passes one middleware that limits its body, logs it, and turns what went wrong into an answer.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import msgspec
from aiohttp import web

from provisioner.errors import ProvisionerError, TicketError
from provisioner.web import bodies, problems
from provisioner.web.ports import Route
from provisioner.web.replies import check_query
from provisioner.web.turns import Turns

log = logging.getLogger(__name__)

SLOW_S = 1.0  # an answer that took longer is worth a line at INFO, whatever it was
OPERATORS_BYTES = 256 << 20
"""Of bodies that operators send, at once: two of the largest, a file of leases."""
MACHINES_BYTES, MACHINE_BYTES = 64 << 20, 8 << 20
"""Of bodies that machines send, or strangers, at once: facts of 400 machines with 60 disks; of one address, of 50."""
READ_ONLY = frozenset({"GET", "HEAD"})

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[web.Request, problems.Problem], web.Response]
Who = Callable[[web.Request], str]


def as_problem(request: web.Request, problem: problems.Problem) -> web.Response:
    """Answer an operator's client: problem+json with everything that helps."""
    headers = {} if problem.retry_after_s is None else {"Retry-After": str(max(1, round(problem.retry_after_s)))}
    body = msgspec.json.encode(problem)
    return web.Response(body=body, status=problem.status, content_type=problems.CONTENT_TYPE, headers=headers)


def as_line(request: web.Request, problem: problems.Problem) -> web.Response:
    """Answer a machine: one line of text for a console, and of a refusal nothing that helps a stranger."""
    text = problem.title if problem.status in {401, 404} or problem.status >= 500 else problem.detail
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return web.Response(text=f"{text}\n", status=problem.status, headers=headers)


def operator_app(routes: Iterable[Route], hosts: frozenset[str] = frozenset()) -> web.Application:
    """Build the operator API. `hosts` are the names it may be called by (DNS rebinding); empty on a UNIX socket.

    Whatever has GET has HEAD (RFC 9110 section 9.1). Machines get no such thing: their GETs are heard as signs of life.
    """
    table = {(route.method, route.path): route for route in routes}
    heads = [replace(route, method="HEAD") for route in table.values() if route.method == "GET"]
    room = Turns(OPERATORS_BYTES, OPERATORS_BYTES)  # who may use the API may take all of it
    return _application((*table.values(), *heads), as_problem, _peer, hosts, room=room, any_query=False)


def machine_app(routes: Iterable[Route]) -> web.Application:
    """Build what machines talk to: boot scripts, files, the agent."""
    room = Turns(MACHINES_BYTES, MACHINE_BYTES)
    return _application(routes, as_line, _remote, frozenset(), room=room, any_query=True)


def _application(
    routes: Iterable[Route], answer: Answer, who: Who, hosts: frozenset[str], *, room: Turns, any_query: bool
) -> web.Application:
    @web.middleware
    async def guard(request: web.Request, handler: Next) -> web.StreamResponse:
        started = time.monotonic()
        try:
            if hosts and _host_name(request.host) not in hosts:
                raise web.HTTPMisdirectedRequest
            response = await handler(request)
        except ProvisionerError as error:
            response = answer(request, _problem(request, error))
        except web.HTTPException as error:
            response = answer(request, _http_problem(request, error))
            response.headers.extend({k: v for k, v in error.headers.items() if k == "Allow"})
        except Exception:
            log.exception("http.fault method=%s path=%s", request.method, _path(request))
            response = answer(request, problems.plain_problem(500, "a fault of the daemon; its log has the details"))
        finally:
            bodies.let_go(request)
        if request.writer.output_size and request.transport is not None and not response.prepared:
            request.transport.abort()  # a head has left: another one would stand in the body that it announced
        _log_request(request, response.status, time.monotonic() - started, who)
        return response

    app = web.Application(middlewares=[guard], client_max_size=1)  # bodies are read by bodies.read_body, by route
    app[bodies.ROOM] = room
    for route in routes:
        handler = route.handler if any_query and not route.query else _asked(route)
        app.router.add_route(route.method, route.path, handler)
    return app


def _asked(route: Route) -> Next:
    """Refuse what stands in a query and is not looked at."""

    async def handler(request: web.Request) -> web.StreamResponse:
        check_query(request.query, route)
        return await route.handler(request)

    return handler


def _problem(request: web.Request, error: ProvisionerError) -> problems.Problem:
    if isinstance(error, TicketError):
        log.warning("http.ticket remote=%s path=%s: %s", request.remote, _path(request), error)
    problem = problems.problem_of(error)
    if problem.status >= 500:
        log.error("http.failed method=%s path=%s: %s", request.method, _path(request), error)
    return problem


def _http_problem(request: web.Request, error: web.HTTPException) -> problems.Problem:
    match error:
        case web.HTTPNotFound():
            return problems.plain_problem(404, f"no such path: {request.rel_url.raw_path}")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return problems.plain_problem(405, f"{request.method} is not for this path", hint=f"it takes {allowed}")
        case web.HTTPRequestTimeout():
            return problems.plain_problem(408, "the body did not come to its end in time", name="slow-body")
        case web.HTTPRequestEntityTooLarge():
            return problems.plain_problem(413, "the body is too large", name="too-large")
        case web.HTTPMisdirectedRequest():
            return problems.plain_problem(421, f"called by a name that is not allowed: {request.host[:80]!r}")
    return problems.plain_problem(error.status, error.reason)


def _host_name(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


# who asked, and one line about it


def _peer(request: web.Request) -> str:
    """Name the process at the other end of a UNIX socket (SO_PEERCRED, unix(7))."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    if sock is None or sock.family != socket.AF_UNIX:
        return f"remote={request.remote}"
    pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"uid={uid} pid={pid}"


def _remote(request: web.Request) -> str:
    return f"remote={request.remote}"


def _path(request: web.Request) -> str:
    """Name the route, not the path: a path can hold a ticket, and what a stranger typed has no place in a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(none)"


def _log_request(request: web.Request, status: int, took_s: float, who: Who) -> None:
    quiet = request.method in READ_ONLY and status < 500 and took_s < SLOW_S
    level = logging.DEBUG if quiet else logging.INFO
    if not log.isEnabledFor(level):
        return
    ref = request.match_info.get("ref", request.match_info.get("mac", ""))[:64]
    about = f" about={ref!a}" if ref else ""
    words = (request.method, _path(request), about, status, took_s * 1000, who(request))
    log.log(level, "http.request method=%s path=%s%s status=%d ms=%.1f %s", *words)

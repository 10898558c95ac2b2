"""What a daemon answered: what was asked for, a problem, or that it is no daemon."""

from __future__ import annotations

import http.client
import json
from typing import Any

from provisioner.cli.exits import ApiProblem, Forbidden, Stranger, Unreachable
from provisioner.cli.text import printable
from provisioner.errors import ApiError

JSON, WORDS = "application/json", "text/plain"
_STRANGERS = frozenset({400, 404, 405})
"""What another server says to a path that it does not know; all that the API refuses is a problem."""
_TOO_LONG = frozenset({414, 431})
"""What a proxy says to a query that the daemon itself would take."""
_STRANGER = "that is a UNIX socket (api.socket), or what forwards to it; http.port is for machines alone"


def read(response: http.client.HTTPResponse, server: str, wanted: str = JSON) -> Any:
    """Give what was answered, in JSON or in the words that were `wanted`; raise `ApiProblem`, or `Stranger`."""
    raw = response.read()
    kind = response.headers.get_content_type()
    if kind == "application/problem+json":
        problem = _json(raw, server)
        faults = tuple(problem.get("faults", ()))
        message = problem.get("detail") or problem.get("title") or str(response.reason)
        raise ApiProblem(response.status, message, hint=problem.get("hint", ""), faults=faults)
    if response.status in _TOO_LONG:
        said = f"{server}: the request is too long: HTTP {response.status} {response.reason}"
        raise ApiProblem(response.status, said, hint="name fewer machines at once, or ask at the daemon's own socket")
    if response.status in _STRANGERS or kind == "text/html":
        raise Stranger(f"{server} is not the operator API: HTTP {response.status} {response.reason}", hint=_STRANGER)
    if response.status >= 400:
        said = ", ".join(raw[:500].decode(errors="replace").split("\n")).strip(", ") if kind == "text/plain" else ""
        raise ApiProblem(response.status, said or f"{server}: HTTP {response.status} {response.reason}")
    if kind == wanted == WORDS:
        return raw.decode(errors="replace")
    return _json(raw, server) if raw else None


def _json(raw: bytes, server: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Stranger(f"{server} is not the operator API: it does not answer in JSON", hint=_STRANGER) from error


def comes_back(error: ApiError) -> str:
    """Say what is waited for where a daemon that is followed is away, or cannot now; raise what is no such thing."""
    if isinstance(error, Unreachable):
        return "the daemon does not answer; waiting for it"
    if isinstance(error, Stranger | Forbidden) or getattr(error, "status", 503) < 500:
        raise error
    return printable(error.message)

"""One Redfish service and the account that is used there: sessions, redirects, repeats, one request at a time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from provisioner.bmc.pace import BUSY_PAUSES_S
from provisioner.bmc.redfish.answers import (
    Reply,
    Resource,
    clean,
    failure,
    read_body,
    read_resource,
    refused_login,
    text_at,
    without,
)
from provisioner.bmc.redfish.way import READ_S, Body, TlsWay, Way
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    WireError,
)
from provisioner.model.bmc import BmcAddress

ROOT = "/redfish/v1/"
SESSIONS = "/redfish/v1/SessionService/Sessions"
MAX_REDIRECTS = 3
MAX_OLD_SESSIONS = 32
_SAFE = frozenset({"GET", "HEAD"})
_NOT_BEGUN = frozenset({423, 429, 503})
"""Statuses of a service that refused before it began: sending again cannot do it twice."""

_NO_SESSIONS = frozenset({404, 405, 501})
"""What a service that has none answers to a login."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `repeat` says that doing it twice is the same as doing it once."""

    method: str
    path: str
    body: Body = None
    headers: Mapping[str, str] | None = None
    repeat: bool = True

    @property
    def may_move(self) -> bool:
        """Say whether a redirect of any kind can be followed."""
        return self.method in _SAFE

    @property
    def is_used_up(self) -> bool:
        """Say whether the body can be sent only once: a form is read as it goes."""
        return self.body is not None and not isinstance(self.body, Mapping)


class RedfishClient:
    """Asks one service, as one user."""

    def __init__(
        self,
        address: BmcAddress,
        password: str,
        *,
        gate: asyncio.Semaphore | None = None,
        read_s: float = READ_S,
        way: Way | None = None,
        own: bool = False,
    ) -> None:
        """Make it. `own`: no other program uses the account, so where no session is free its old ones are ended."""
        self._address = address
        self._password = password
        self._secrets = _spellings(password)
        self._way = way or TlsWay(address, gate or asyncio.Semaphore(1), read_s)
        self._own = own
        self._order = asyncio.Lock()
        self._login: dict[str, str] | None = None
        self._session = ""

    async def __aenter__(self) -> RedfishClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        return self._address

    @property
    def credentials(self) -> tuple[str, str]:
        """Return user and password: a board's other services know the same accounts."""
        return self._address.username, self._password

    async def get(self, path: str) -> Resource:
        """Read a resource; once more where what came is none: web servers that start show pages of their own."""
        with contextlib.suppress(WireError):
            return read_resource(await self.send("GET", path))
        try:
            return read_resource(await self.send("GET", path))
        except WireError as error:
            raise BmcProtocolError(f"{self._address}: {error.message}") from error

    async def send(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> Reply:
        """Send one request and return its answer if it is a success; raise a `BmcError` otherwise.

        `repeat` says that doing it twice is the same as doing it once: a lost answer, a busy BMC are then tried again.
        """
        request = Request(method, path, body, headers, repeat)
        where = f"{self._address}: {method} {path}"
        async with self._order:
            for pause in (*BUSY_PAUSES_S, None):
                reply = await self._once(where, request)
                if reply.ok:
                    return reply
                error = failure(where, reply)
                if pause is None or not isinstance(error, BmcBusy) or not (repeat or reply.status in _NOT_BEGUN):
                    raise error
                await asyncio.sleep(error.retry_after_s if error.retry_after_s is not None else pause)
            raise AssertionError("the last turn returns or raises")

    async def look(self, path: str) -> Reply:
        """Ask once, and return what comes: the status of a task's monitor is the operation's. 401 is our own."""
        where = f"{self._address}: GET {path}"
        async with self._order:
            reply = await self._once(where, Request("GET", path))
        if reply.status == 401:
            raise failure(where, reply)
        return reply

    def visitor(self, username: str, password: str) -> RedfishClient:
        """Return a client of the same service for another account."""
        return RedfishClient(replace(self._address, username=username), password)

    async def check_login(self) -> None:
        """Log in and ask for what only a user may see: with Basic, nothing else proves a password."""
        await self.send("GET", "/redfish/v1/Systems")

    async def use_password(self, password: str) -> None:
        """Go on with another password of the same account."""
        await self.close()
        self._password = password
        self._secrets = _spellings(password)

    async def disconnect(self) -> None:
        """Close the connection without a word: the BMC starts its web server anew."""
        async with self._order:
            self._forget_login()
            await self._way.hang_up()

    async def close(self) -> None:
        """End the session at the BMC and close the connection."""
        async with self._order:
            if self._session:
                with contextlib.suppress(BmcError):
                    await self._exchange("DELETE", self._session)
            self._forget_login()
            await self._way.hang_up()

    # -- one request, and what its answer asks for ----------------------------------------------------------------

    async def _once(self, where: str, request: Request) -> Reply:
        """Send, and do what the answer asks for: another login, another place, another connection."""
        await self._log_in()
        try:
            reply = await self._sent(request)
        except BmcUnreachable as error:
            if error.unsent:
                raise
            if not request.repeat:
                raise BmcTimeout(
                    f"{where}: sent once, and no answer came: it may have been done", hint="read the state"
                ) from error
            if error.silent:
                raise
            reply = await self._sent(request)  # a connection that was kept open is gone, more often than the BMC
        if reply.status == 401 and self._session and not request.is_used_up:  # the session expired: nothing was done
            self._forget_login()
            await self._log_in()
            reply = await self._sent(request)
        if 300 <= reply.status < 400 and reply.status != 304:
            reply = await self._follow(where, request, reply)
        if reply.status == 404 and request.method in _SAFE:
            reply = await self._other_slash(request, reply)
        return reply

    async def _follow(self, where: str, request: Request, reply: Reply) -> Reply:
        """Follow redirects within the service. Only 307 and 308 may carry a change along (RFC 9110 section 15.4).

        To where it was already asked, too, once: a service that is not all there yet sends requests round.
        """
        seen = set[str]()
        for _ in range(MAX_REDIRECTS):
            target = reply.headers.get("location", "")
            if not target or target in seen or not (request.may_move or reply.status in (307, 308)):
                break
            seen.add(target)
            reply = await self._sent(replace(request, path=target))
            if not 300 <= reply.status < 400:
                return reply
        target = clean(reply.headers.get("location", "nowhere"))
        raise BmcProtocolError(f"{where}: HTTP {reply.status} to {target} after {len(seen)} place(s): not followed")

    async def _other_slash(self, request: Request, reply: Reply) -> Reply:
        """Try the other spelling of a path once: boards disagree on the slash at its end."""
        path = request.path
        other = path.rstrip("/") if path.endswith("/") else path + "/"
        again = await self._sent(replace(request, path=other))
        return again if again.ok else reply

    async def _sent(self, request: Request) -> Reply:
        return await self._exchange(request.method, request.path, request.body, request.headers)

    async def _exchange(
        self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        reply = await self._way.exchange(method, path, body, {**(self._login or {}), **(headers or {})})
        if reply.status == 401 and not self._session:
            self._login = None  # refused by Basic: the next request begins with a session again
        return replace(reply, body=without(reply.body, self._secrets))

    # -- sessions -------------------------------------------------------------------------------------------------

    async def _log_in(self) -> None:
        """Open a session; go by Basic where the BMC has none to give."""
        if self._login is not None:
            return
        body = {"UserName": self._address.username, "Password": self._password}
        reply = await self._exchange("POST", SESSIONS, body)
        token, session = reply.headers.get("x-auth-token", ""), _session_at(reply)
        if reply.ok and token and session:
            self._login, self._session = {"X-Auth-Token": token}, session
            return
        error = await self._refused(reply)
        if isinstance(error, BmcAuthError | BmcPrivilegeError):
            raise error
        credentials = f"{self._address.username}:{self._password}".encode()
        self._login = {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}
        if self._own and isinstance(error, BmcBusy):  # none is free
            await self._end_old_sessions()

    async def _refused(self, reply: Reply) -> BmcError | None:
        """Say why there is no session; None where the BMC has no such thing."""
        if reply.status in _NO_SESSIONS or (_names_basic(reply) and await self._lacks_sessions()):
            return None
        return refused_login(f"{self._address}: login", reply)

    async def _lacks_sessions(self) -> bool:
        """Say whether the root of the service, which needs no login, names no place for sessions."""
        with contextlib.suppress(WireError):
            root = read_resource(await self._exchange("GET", ROOT))
            return not (root.link("SessionService") or root.link("Links", "Sessions"))
        return True

    async def _end_old_sessions(self) -> None:
        """End sessions that an earlier run of ours left behind. Those of people at the BMC's own pages stay.

        Where it does not say which there are, it goes on as it is; where it refuses the password, that is told.
        """
        try:
            reply = await self._exchange("GET", SESSIONS)
        except BmcError:
            return
        if reply.status == 401:
            raise refused_login(f"{self._address}: login", reply)
        with contextlib.suppress(BmcError, WireError):
            for path in read_resource(reply).members()[:MAX_OLD_SESSIONS]:
                session = read_resource(await self._exchange("GET", path))
                if session.text("UserName") == self._address.username and _is_programs(session):
                    await self._exchange("DELETE", path)

    def _forget_login(self) -> None:
        self._login, self._session = None, ""


def _spellings(password: str) -> tuple[str, ...]:
    """Return a password as it may stand in a body: as it is, and as JSON writes it."""
    return tuple({word for word in (password, json.dumps(password)[1:-1]) if word})


def _names_basic(reply: Reply) -> bool:
    """Say whether a refusal may mean "not this way": services without sessions name Basic, and iDRAC, always."""
    return reply.status == 401 and reply.headers.get("www-authenticate", "").lower().startswith("basic")


def _is_programs(session: Resource) -> bool:
    """Say whether a session is one of requests, not of the web pages, the screen or a medium (DSP0268: Session)."""
    return session.text("SessionType") in ("", "Redfish")


def _session_at(reply: Reply) -> str:
    """Find where a new session is: the Location header, or the body's own path."""
    try:
        return reply.leads_to or text_at(read_body(reply), "@odata.id")
    except WireError:
        return ""

"""The way to one Redfish service: TLS with a pinned certificate, a session, bounded answers, one request at a time.

DMTF's asynchronous client carries the requests: it keeps to one origin, follows no redirect and never sends credentials
without TLS. What is ours: pinning, sessions (including full and lost ones), bounds, repeats, and errors with names.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from redfish.aio import (
    AsyncRedfishClient,
    RedfishConnectionError,
    RedfishInvalidTargetError,
    RedfishTimeoutError,
)

from provisioner.bmc.redfish.answers import (
    MAX_BODY,
    Reply,
    Resource,
    clean,
    failure,
    read_body,
    read_resource,
    text_at,
)
from provisioner.errors import BmcAuthError, BmcBusy, BmcError, BmcProtocolError, BmcTimeout, BmcUnreachable, WireError
from provisioner.model.bmc import BmcAddress

CONNECT_S = 5.0
READ_S = 30.0
KEEP_ALIVE_S = 15.0
"""Some BMCs choke on connections that stay open for long."""

ROOT = "/redfish/v1/"
SESSIONS = "/redfish/v1/SessionService/Sessions"
MAX_REDIRECTS = 3
MAX_OLD_SESSIONS = 32
BUSY_PAUSES_S = (0.5, 1.0, 2.0)
_SAFE = frozenset({"GET", "HEAD"})
_NOT_BEGUN = frozenset({423, 429, 503})
"""Statuses of a service that refused before it began: sending again cannot do it twice."""


Body = Mapping[str, Any] | aiohttp.FormData | None


class TooLarge(aiohttp.ClientPayloadError):
    """A body is larger than `MAX_BODY`."""


class BoundedResponse(aiohttp.ClientResponse):
    """An answer that is not read beyond `MAX_BODY`."""

    async def read(self) -> bytes:
        """Read the body; raise `TooLarge` and drop the connection beyond the bound."""
        if self._body is None:
            parts: list[bytes] = []
            size = 0
            async for part in self.content.iter_any():
                size += len(part)
                if size > MAX_BODY:
                    self.close()
                    raise TooLarge(f"more than {MAX_BODY} bytes")
                parts.append(part)
            self._body = b"".join(parts)
        return await super().read()


class RedfishClient:
    """One service and the account that is used there."""

    def __init__(
        self, address: BmcAddress, password: str, *, gate: asyncio.Semaphore | None = None, read_s: float = READ_S
    ) -> None:
        self._address = address
        self._password = password
        self._read_s = read_s
        self._gate = gate or asyncio.Semaphore(1)
        self._order = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None
        self._client: AsyncRedfishClient | None = None
        self._session_path = ""
        self._auth_headers: dict[str, str] = {}
        self._swept = False

    async def __aenter__(self) -> RedfishClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        return self._address

    async def get(self, path: str) -> Resource:
        """Read a resource."""
        reply = await self.send("GET", path)
        try:
            return read_resource(reply)
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
        where = f"{self._address}: {method} {path}"
        async with self._order:
            for pause in (*BUSY_PAUSES_S, None):
                reply = await self._once(where, method, path, body, headers, repeat=repeat)
                if reply.ok:
                    return reply
                error = failure(where, reply)
                if pause is None or not isinstance(error, BmcBusy) or not (repeat or reply.status in _NOT_BEGUN):
                    raise error
                await asyncio.sleep(error.retry_after_s if error.retry_after_s is not None else pause)
            raise AssertionError("the last turn returns or raises")

    def address_of(self, username: str) -> BmcAddress:
        """Return the same service for another account."""
        return replace(self._address, username=username)

    async def login(self) -> None:
        """Log in and ask for what only a user may see: by Basic, nothing else proves a password."""
        await self.send("GET", "/redfish/v1/Systems")

    async def use_password(self, password: str) -> None:
        """Go on with another password of the same account."""
        await self.close()
        self._password = password

    async def disconnect(self) -> None:
        """Close the connection without a word: the BMC starts its web server anew."""
        async with self._order:
            self._forget_login()
            await self._hang_up()

    async def close(self) -> None:
        """End the session at the BMC and close the connection."""
        async with self._order:
            if self._client is not None and self._session_path:
                with contextlib.suppress(BmcError, WireError):
                    await self._exchange(self._client, "DELETE", self._session_path)
            self._forget_login()
            await self._hang_up()

    async def _hang_up(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _once(
        self,
        where: str,
        method: str,
        path: str,
        body: Body,
        headers: Mapping[str, str] | None,
        *,
        repeat: bool,
    ) -> Reply:
        """Send, and answer what the transport asks for: another login, another place, another connection."""
        client = await self._login()
        try:
            reply = await self._exchange(client, method, path, body, headers)
        except BmcUnreachable as error:
            if not repeat:
                raise BmcTimeout(
                    f"{where}: sent once, and no answer came: it may have been done", hint="read the state"
                ) from error
            reply = await self._exchange(client, method, path, body, headers)
        again = not isinstance(body, aiohttp.FormData)  # a form is used up once it was sent
        if reply.status == 401 and self._session_path and again:  # the session expired: nothing was done
            self._forget_login()
            reply = await self._exchange(await self._login(), method, path, body, headers)
        if 300 <= reply.status < 400 and reply.status != 304:
            reply = await self._follow(where, method, reply, body, headers)
        if reply.status == 404 and method in _SAFE:
            reply = await self._other_slash(method, path, reply)
        return reply

    async def _follow(
        self,
        where: str,
        method: str,
        reply: Reply,
        body: Body,
        headers: Mapping[str, str] | None,
    ) -> Reply:
        """Follow redirects within the service. Only 307 and 308 may carry a change along (RFC 9110 section 15.4)."""
        seen = {reply.path}
        for _ in range(MAX_REDIRECTS):
            target = reply.headers.get("location", "")
            if not target or target in seen or (method not in _SAFE and reply.status not in (307, 308)):
                break
            seen.add(target)
            reply = await self._exchange(await self._login(), method, target, body, headers)
            if not 300 <= reply.status < 400:
                return reply
        target = clean(reply.headers.get("location", "nowhere"))
        raise BmcProtocolError(f"{where}: HTTP {reply.status} to {target} after {len(seen)} place(s): not followed")

    async def _other_slash(self, method: str, path: str, reply: Reply) -> Reply:
        """Try the other spelling of a path once: boards disagree on the slash at its end."""
        other = path.rstrip("/") if path.endswith("/") else path + "/"
        again = await self._exchange(await self._login(), method, other)
        return again if again.ok else reply

    async def _login(self) -> AsyncRedfishClient:
        """Return a client that may ask for anything: by session, or by Basic where the BMC has no sessions."""
        if self._client is not None:
            return self._client
        if self._http is None:
            self._http = _http_session(self._address, self._read_s)
        base = base_url(self._address)
        anonymous = AsyncRedfishClient(base, session=self._http)
        body = {"UserName": self._address.username, "Password": self._password}
        reply = await self._exchange(anonymous, "POST", SESSIONS, body)
        key, path = reply.headers.get("x-auth-token", ""), self._session_at(reply)
        if reply.ok and key and path:
            self._client = AsyncRedfishClient(base, session=self._http, session_key=key, session_location=path)
            self._session_path = path
            await self._sweep_old_sessions()
        elif reply.status in (400, 401) and not self._may_lack_sessions(reply):
            raise failure(f"{self._address}: login", reply)
        else:
            await self._use_basic(anonymous, reply)
        assert self._client is not None
        return self._client

    def _may_lack_sessions(self, reply: Reply) -> bool:
        return reply.status == 401 and reply.headers.get("www-authenticate", "").lower().startswith("basic")

    def _session_at(self, reply: Reply) -> str:
        if location := reply.headers.get("location", ""):
            return location
        try:
            return text_at(read_body(reply), "@odata.id")
        except WireError:
            return ""

    async def _use_basic(self, anonymous: AsyncRedfishClient, refused: Reply) -> None:
        """Go on with Basic: the board has no sessions, or all of them are taken (then ours of old are ended first)."""
        token = base64.b64encode(f"{self._address.username}:{self._password}".encode()).decode()
        self._auth_headers = {"Authorization": f"Basic {token}"}
        self._client = anonymous
        if refused.status not in (404, 405, 501):
            await self._sweep_old_sessions()

    async def _sweep_old_sessions(self) -> None:
        """End sessions that an earlier run of ours left behind: the account is the daemon's own. Once per service."""
        if self._swept or self._client is None:
            return
        self._swept = True
        with contextlib.suppress(BmcError, WireError):
            listed = read_resource(await self._exchange(self._client, "GET", SESSIONS))
            for path in [path for path in listed.members() if path != self._session_path][:MAX_OLD_SESSIONS]:
                session = read_resource(await self._exchange(self._client, "GET", path))
                if session.text("UserName") == self._address.username:
                    await self._exchange(self._client, "DELETE", path)

    def _forget_login(self) -> None:
        self._client, self._session_path, self._auth_headers = None, "", {}

    async def _exchange(
        self,
        client: AsyncRedfishClient,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one HTTP request. Foreign exceptions become ours here and nowhere else."""
        where = f"{self._address}: {method} {path}"
        call = getattr(client, method.lower())
        extra = {**self._auth_headers, **(headers or {})}
        sent = {} if body is None else {"body": dict(body) if isinstance(body, Mapping) else body}
        try:
            async with self._gate:
                answer = await call(path, headers=extra, **sent)
        except RedfishTimeoutError as error:
            raise BmcUnreachable(f"{where}: no answer within {self._read_s:g} s") from error
        except RedfishConnectionError as error:
            raise _connection_failure(where, error.__cause__) from error
        except RedfishInvalidTargetError as error:
            raise BmcProtocolError(f"{where}: points outside {base_url(self._address)}: not followed") from error
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(path, answer.status, found, self._without_secret(answer.read))

    def _without_secret(self, body: bytes) -> bytes:
        """Take our password out of what the BMC echoes, so that no error or log can carry it."""
        for secret in {self._password, json.dumps(self._password)[1:-1]} - {""}:
            body = body.replace(secret.encode(), b"***")
        return body


def base_url(address: BmcAddress) -> str:
    """Return the origin of the service. Always TLS."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"https://{host}:{address.port}"


def _http_session(address: BmcAddress, read_s: float) -> aiohttp.ClientSession:
    """Make a session of one connection. A pin replaces the check of name and issuer; without one, both are checked."""
    pin = address.fingerprint.replace(":", "")
    checked: aiohttp.Fingerprint | bool = aiohttp.Fingerprint(bytes.fromhex(pin)) if pin else True
    connector = aiohttp.TCPConnector(ssl=checked, limit=1, keepalive_timeout=KEEP_ALIVE_S)
    return aiohttp.ClientSession(
        connector=connector,
        response_class=BoundedResponse,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=read_s),
    )


def _connection_failure(where: str, cause: BaseException | None) -> BmcError:
    """Say what an aiohttp error means to the caller."""
    match cause:
        case aiohttp.ServerFingerprintMismatch():
            return BmcAuthError(
                f"{where}: the TLS certificate is not the one that was pinned: it shows {cause.got.hex()}",
                hint="if the certificate was renewed, pin it again: provisionctl bmc pin; if not, somebody listens in",
            )
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return BmcAuthError(
                f"{where}: the TLS certificate cannot be trusted: {cause}",
                hint="pin the certificate at enrolment: provisionctl bmc pin",
            )
        case aiohttp.ClientConnectorError():
            return BmcUnreachable(
                f"{where}: {cause.strerror or cause}", hint="is the BMC powered, is the address right?"
            )
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return BmcProtocolError(f"{where}: the answer is broken: {cause}")
        case _:
            return BmcUnreachable(f"{where}: the connection was lost: {cause}")


async def fingerprint(address: BmcAddress) -> str:
    """Return the SHA-256 of the certificate that the BMC shows now (hex). Sends no credentials, trusts nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except (OSError, TimeoutError) as error:
        raise BmcUnreachable(f"{address}: no TLS: {error or 'no answer'}", hint="is the BMC powered?") from error
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return hashlib.sha256(certificate).hexdigest()

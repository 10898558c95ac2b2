"""The wire to one Redfish service: TLS with a pinned certificate, one connection, bounded answers.

DMTF's asynchronous client carries the requests: it keeps to one origin, follows no redirect and sends nothing secret
without TLS. Its exceptions, and aiohttp's, become ours here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from provisioner.bmc.redfish.answers import MAX_BODY, Reply
from provisioner.errors import BmcError, BmcNotTrusted, BmcProtocolError, BmcUnreachable
from provisioner.firstuse import at_hand
from provisioner.model.bmc import BmcAddress

if TYPE_CHECKING:
    from redfish.aio import AsyncRedfishClient

CONNECT_S = 5.0
READ_S = 30.0
KEEP_ALIVE_S = 15.0
"""Some BMCs choke on connections that stay open for long."""

Body = Mapping[str, Any] | aiohttp.FormData | None


class Way(Protocol):
    """A way to a service: one request, one answer."""

    async def exchange(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> Reply:
        """Send one request; raise `BmcUnreachable` where no answer comes, `BmcProtocolError` where it is broken."""
        ...

    async def hang_up(self) -> None:
        """Close the connection; the next request opens another."""
        ...


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


class TlsWay:
    """HTTPS to the service at an address. `gate` bounds the requests of all services together."""

    def __init__(self, address: BmcAddress, gate: asyncio.Semaphore, read_s: float = READ_S) -> None:
        self._address = address
        self._gate = gate
        self._read_s = read_s
        self._http: aiohttp.ClientSession | None = None
        self._client: AsyncRedfishClient | None = None

    async def exchange(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> Reply:
        """Send one request."""
        where = f"{self._address}: {method} {path}"
        if self._client is None:
            await at_hand("redfish.aio")
        from redfish import aio

        if self._client is None:
            self._http = _http_session(self._address, self._read_s)
            self._client = aio.AsyncRedfishClient(base_url(self._address), session=self._http)
        call = getattr(self._client, method.lower())
        sent = {} if body is None else {"body": dict(body) if isinstance(body, Mapping) else body}
        try:
            async with self._gate:
                answer = await call(path, headers=dict(headers), **sent)
        except aio.RedfishTimeoutError as error:
            if isinstance(error.__cause__, aiohttp.ConnectionTimeoutError):
                raise no_connection(where, TimeoutError()) from error
            raise BmcUnreachable(f"{where}: no answer within {self._read_s:g} s", silent=True) from error
        except aio.RedfishConnectionError as error:
            raise _connection_failure(where, error.__cause__) from error
        except aio.RedfishInvalidTargetError as error:
            raise BmcProtocolError(f"{where}: points outside {base_url(self._address)}: not followed") from error
        return Reply(path, answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read)

    async def hang_up(self) -> None:
        """Close the connection."""
        if self._http is not None:
            await self._http.close()
            self._http = self._client = None


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
            return BmcNotTrusted(
                f"{where}: the TLS certificate is not the one that was pinned: it shows {cause.got.hex()}",
                hint="if the BMC has a new one: `provisionctl bmc add MACHINE URL` pins it; else somebody listens in",
            )
        case aiohttp.ClientConnectorCertificateError():
            return BmcNotTrusted(
                f"{where}: the TLS certificate cannot be trusted: {cause}",
                hint="`provisionctl bmc add MACHINE URL` pins it; where a command has its address: --trust, --pin",
            )
        case aiohttp.ClientConnectorError():
            return no_connection(where, cause.os_error)
        case TooLarge() | aiohttp.ClientResponseError():
            return BmcProtocolError(f"{where}: the answer is broken: {cause}")
        case aiohttp.ClientPayloadError():
            return BmcUnreachable(f"{where}: the answer broke off: {cause}")
        case _:
            return BmcUnreachable(f"{where}: the connection was lost: {cause}")


_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL calls an answer that is none of TLS."""


def no_connection(where: str, error: OSError) -> BmcError:
    """Say why there is no connection, and what to look at."""
    number = _number_of(error)
    match error:
        case ssl.SSLError() if any(word in str(error) for word in _NO_TLS):
            return BmcProtocolError(f"{where}: what answers there speaks no TLS", hint="Redfish is HTTPS, on port 443")
        case ssl.SSLError():
            return BmcProtocolError(f"{where}: no TLS connection: {error}", hint="is its TLS older than 1.2?")
        case socket.gaierror():
            return BmcUnreachable(
                f"{where}: there is no address for this name", hint="check the name, or give an address", unsent=True
            )
        case TimeoutError():
            text = f"no answer within {CONNECT_S:g} s"
        case _ if number == errno.ECONNREFUSED:
            text = "nothing listens on this port"
        case _:
            text = os.strerror(number) if number else "the connection was lost"
    return BmcUnreachable(f"{where}: {text}", hint="is the BMC powered, is the address right?", unsent=True)


def _number_of(error: OSError) -> int:
    """Read the number of an error; of several, for the addresses of one name, asyncio keeps no more than their text."""
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return error.errno or (int(found[1]) if found else 0)


async def fingerprint(address: BmcAddress) -> str:
    """Return the SHA-256 of the certificate that the BMC shows now (hex). Sends no credentials, trusts nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a default one reads all of the system's CAs: 20 ms on the loop
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except OSError as error:  # TimeoutError is one
        raise no_connection(str(address), error) from error
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return hashlib.sha256(certificate).hexdigest()

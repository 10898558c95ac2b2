"""The daemon's API from the standard library: a command starts in a tenth of the time that aiohttp takes to import."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from provisioner.cli.answers import JSON, WORDS, read
from provisioner.cli.exits import ApiProblem, Forbidden, Unreachable
from provisioner.cli.text import printable
from provisioner.cli.urls import query_of
from provisioner.errors import ApiError, ConfigError

DEFAULT_SOCKET = Path("/run/provisioner/api.sock")
LAB_SOCKET = Path("/var/lib/provisioner-lab/api.sock")
TIMEOUT_S = 15.0
SLOW_S = 420.0
"""For calls that answer only when a BMC has done something: the first word with a slow one may take five minutes."""
LONG_S = 3600.0
"""Without a line from a fetch that checks or unpacks an image of many GiB, or from an apply that meets many BMCs."""
BEAT_S = 45.0
"""A stream that is silent for this long is dead: the daemon sends a comment every 15 s."""
AGAIN = 40
AGAIN_PAUSE_S = 0.5
"""A call that is safe to repeat is repeated for so long while a daemon restarts."""

NOTES = 5
"""Lines at most that say what is waited for."""
PEER = struct.Struct("3i")
"""struct ucred: process, user, group."""
NAMES = 200
"""Machines asked for in one request: keeps the query below 16 KiB."""

Json = Any


def pause(seconds: float) -> None:
    """Wait; Ctrl-C ends it."""
    threading.Event().wait(seconds)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """One daemon. `server` is a socket's path, or an http:// or https:// URL (a forwarded socket, a proxy)."""

    def __init__(self, server: str, note: Callable[[str], None] = lambda _: None, *, note_after_s: float = 2.0) -> None:
        self.server = server
        self._note, self._note_after_s = note, note_after_s
        self._noted: set[str] = set()
        self._answered = False
        """It was there: where it is gone when it is told what to do, it restarts. Who only looks, looks again."""
        try:
            url = urllib.parse.urlsplit(server)
            self._port = url.port
        except ValueError as error:
            raise ConfigError(f"{server!r}: not an address of a daemon: {error}") from error
        if url.scheme in {"http", "https"} and url.hostname:
            self._url: urllib.parse.SplitResult | None = url
        elif url.scheme in {"", "unix"} and url.path:
            self._url, self._path = None, Path(url.path)
        else:
            raise ConfigError(f"{server!r}: not an address of a daemon", hint="a path, http:// or https://")

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, slow: bool = False) -> Json:
        """Read something. Repeated while the daemon restarts; `slow` where the answer waits for a BMC."""
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        timeout_s = SLOW_S if slow else TIMEOUT_S
        asked = f"{path}?{query_of(given)}" if given else path
        with self._waiting(path, slow):
            return self._call("GET", asked, timeout_s=timeout_s, repeat=True)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        slow: bool = False,
        takes_s: float = 0.0,
        generation: int | None = None,
    ) -> Json:
        """Ask for something. With a `key` the daemon takes it once only, so it is repeated where the answer is lost.

        `takes_s` is how long the BMC may take beyond what slow ones do anyhow. `generation` is that of the machine on
        which somebody decided: of another one it is refused.
        """
        headers = {**({"Idempotency-Key": key} if key else {}), **_if_match(generation)}
        timeout_s = SLOW_S + takes_s if slow else TIMEOUT_S
        with self._waiting(path, slow):
            return self._call("POST", path, body, headers=headers, timeout_s=timeout_s, repeat=bool(key))

    def words(self, path: str) -> str:
        """Read what is said in words, not in JSON."""
        said: str = self._call("GET", path, headers={"Accept": WORDS}, repeat=True)
        return said

    @contextlib.contextmanager
    def _waiting(self, path: str, slow: bool) -> Iterator[None]:
        """Say what is waited for, where that takes longer than a person expects; of a whole rack, the first few."""
        timer = threading.Timer(self._note_after_s, self._say, (waited_for(path),)) if slow else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def _say(self, whom: str) -> None:
        if whom not in self._noted and len(self._noted) < NOTES:
            self._noted.add(whom)
            self._note(f"waiting for {whom}")

    def peer(self) -> int:
        """Tell which process serves the socket (unix(7), SO_PEERCRED); 0 where it is behind a URL."""
        if self._url is not None:
            return 0
        connection = self._connect(TIMEOUT_S)
        try:
            pid: int = PEER.unpack(connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))[0]
        finally:
            connection.close()
        return pid

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        """Say how something shall be; safe to repeat."""
        return self._call("PUT", path, body, repeat=True)

    def exchange(self, path: str, content: bytes, query: Mapping[str, str]) -> list[Json]:
        """Send lines of JSON and get lines of JSON back, all of them."""
        connection = self._connect(SLOW_S)
        try:
            headers = {"Content-Type": "application/x-ndjson"}
            connection.request("POST", f"{path}?{query_of(query)}", content, headers)
            response = connection.getresponse()
            if response.status != 200:
                read(response, self.server)
            lines = [json.loads(line) for line in response]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._hung_up(error) from error
        finally:
            connection.close()
        if not lines or lines[-1].get("event") != "done":
            raise self._hung_up(None)
        return lines

    def machines(self, refs: Sequence[str]) -> list[Json]:
        """Read machines by name or id; one that is not there is left out."""
        found: list[Json] = []
        for first in range(0, len(refs), NAMES):
            found += self.get("/v1/machines", {"name": ",".join(refs[first : first + NAMES])})["machines"]
        return found

    def delete(self, path: str, *, generation: int | None = None) -> Json:
        """Remove something."""
        return self._call("DELETE", path, headers=_if_match(generation))

    def send(
        self, path: str, content: IO[bytes], size_bytes: int, query: Mapping[str, str], *, takes_s: float = 0.0
    ) -> Json:
        """Send a file. Nothing of it is kept by the daemon when it does not arrive whole."""
        timeout_s = SLOW_S + takes_s
        connection = self._connect(timeout_s)
        try:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # refused before all of it was sent
                connection.request("PUT", f"{path}?{query_of(query)}", content, headers)
            with self._waiting(path, slow=True):
                return read(connection.getresponse(), self.server)
        except TimeoutError as error:
            raise ApiError(f"{self.server}: no answer within {timeout_s:.0f} s", hint=_LOST) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._hung_up(error) from error
        finally:
            connection.close()

    def open(self, method: str, path: str, content: bytes | None = None) -> http.client.HTTPResponse:
        """Ask for bytes that come as they come, or do not for days; the caller closes the answer."""
        connection = self._connect(TIMEOUT_S)
        try:
            connection.request(method, path, content, {"Content-Type": "application/octet-stream"} if content else {})
            sock = connection.sock
            response = connection.getresponse()
            if response.status >= 400:
                read(response, self.server)
            sock.settimeout(None)
            # behind a URL there may be a router that forgets
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._hung_up(error) from error
        except ApiError:
            connection.close()
            raise
        return response

    def lines(self, path: str, body: Mapping[str, Any]) -> Iterator[Json]:
        """Ask for something that takes long, and follow it; raise what the daemon says went wrong."""
        connection = self._connect(LONG_S)
        try:
            connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                read(response, self.server)
            event: Json = {}
            for line in response:
                event = json.loads(line)
                if event["event"] == "problem":
                    raise ApiProblem(event["status"], event.get("detail") or event["title"], hint=event.get("hint", ""))
                yield event
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._hung_up(error) from error
        finally:
            connection.close()
        if event.get("event") != "done":  # between two lines a connection that is cut looks like the end
            raise self._hung_up(None)

    def _hung_up(self, error: Exception | None) -> ApiError:
        why = f": {_reason(error)}" if isinstance(error, OSError | http.client.HTTPException) else ""
        return ApiError(f"{self.server}: the daemon hung up{why}", hint=_LOST)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        repeat: bool = False,
    ) -> Json:
        lost: Exception | None = None
        for _ in range(AGAIN if repeat else 1):
            try:
                return self._once(method, path, body, headers or {}, timeout_s)
            except (ConnectionResetError, BrokenPipeError, *_CUT) as error:
                lost = error
            except Unreachable as error:
                if lost is None and not (self._answered and method != "GET"):  # nobody is there: said at once
                    raise
                lost = error
            except TimeoutError as error:
                raise ApiError(f"{self.server}: no answer within {timeout_s:.0f} s", hint=_LOST) from error
            if repeat:
                pause(AGAIN_PAUSE_S)
        assert lost is not None
        if isinstance(lost, Unreachable):
            raise lost
        raise self._hung_up(lost) from lost

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str], timeout_s: float
    ) -> Json:
        connection = self._connect(timeout_s)
        try:
            raw = None if body is None else json.dumps(body).encode()
            sent = {"Accept": JSON, **headers}
            if raw is not None:
                sent["Content-Type"] = "application/json"
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            self._answered = True
            return read(response, self.server, sent["Accept"])
        except _CUT:
            raise
        except http.client.HTTPException as error:
            raise ApiError(f"{self.server}: not an HTTP answer: {_reason(error)}") from error
        finally:
            connection.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        connection = self._connection(timeout_s)
        try:
            connection.connect()
        except PermissionError as error:
            connection.close()
            raise Forbidden(f"{self.server}: permission denied", hint=who_may(_group_of(self._path))) from error
        except OSError as error:
            connection.close()
            raise Unreachable(f"no daemon at {self.server}: {_reason(error)}", hint=_DOWN) from error
        return connection

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._url is None:
            return UnixConnection(self._path, timeout_s)
        assert self._url.hostname is not None
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        return kind(self._url.hostname, self._port, timeout=timeout_s)

    def events(self, after: int, machine: str = "") -> Iterator[Json]:
        """Follow the events since `after`, for ever; when the daemon restarts, from where it stopped."""
        stood = False
        while True:
            try:
                connection = self._connect(BEAT_S)
                stood = True
                for event in self._stream(connection, after, machine):
                    after = event["seq"]
                    yield event
            except Unreachable:
                if not stood:  # nobody was there at all
                    raise
            except (OSError, http.client.HTTPException):
                pass  # the daemon restarts
            pause(AGAIN_PAUSE_S)

    def _stream(self, connection: http.client.HTTPConnection, after: int, machine: str) -> Iterator[Json]:
        try:
            query = query_of({"machine": machine} if machine else {})
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
            connection.request("GET", f"/v1/events?{query}", headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                read(response, self.server)
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()


def who_may(group: str) -> str:
    """Say how one may use a socket of this group; that of the virtual rack is root's alone."""
    if group in ("", "root"):
        return "it is root's: use sudo"
    return f"join its group (`sudo usermod -aG {group} $USER`, then log in anew), or use sudo"


def _group_of(path: Path) -> str:
    """Name the group of a socket or, where that cannot be looked at, of the folder that hides it."""
    for each in (path, *path.parents):
        try:
            return each.group()
        except PermissionError:
            continue
        except (OSError, KeyError):
            break
    return ""


def waited_for(path: str) -> str:
    """Say whose answer a slow request waits for."""
    words = path.split("/")[2:]
    if words[:1] != ["machines"]:
        return "the daemon"
    return f"the BMC of {printable(urllib.parse.unquote(words[1]))}" if words[1:] else "the BMC"


_DOWN = "is it running? `systemctl status provisioner`; without hardware: `provisionctl lab up`"
_CUT = (http.client.RemoteDisconnected, http.client.IncompleteRead)
"""How the end of a daemon shows where an answer was awaited, or had begun."""
_LOST = "`journalctl -u provisioner` says more"


def _if_match(generation: int | None) -> Mapping[str, str]:
    return {} if generation is None else {"If-Match": f'"{generation}"'}


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__

"""Downloads that go on where they stopped. Blocks: runs in the fetch worker, a process of its own."""

from __future__ import annotations

import contextlib
import email.message
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, Any
from urllib.parse import urlsplit

from provisioner.catalog.blobs import CHUNK_BYTES, MAX_BYTES
from provisioner.catalog.room import Room, room_for
from provisioner.errors import ArtifactError

TIMEOUT_S = 30.0
"""Without a byte for so long a connection counts as lost."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Before each attempt after a loss; progress starts the count again."""
REPORT_EVERY_S = 0.25
SCHEMES = frozenset({"http", "https"})
USER_AGENT = "provisioner"
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Report = Callable[[int, int | None], None]
"""`report(done_bytes, total_bytes)`; the total is None where the server does not say."""


@dataclass(frozen=True, slots=True)
class Source:
    """How to reach servers. `proxy` is a URL, empty for the one that the environment names."""

    proxy: str = ""
    timeout_s: float = TIMEOUT_S
    pauses_s: tuple[float, ...] = PAUSES_S
    attempts: int = 5


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects among web servers only, and never from a protected connection to an open one."""

    max_redirections = 5

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        check_redirect(req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_url(url: str) -> None:
    """Refuse what is not a web server: no file:, no ftp:, nothing without a host."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ArtifactError(f"{url[:200]!r}: not an http:// or https:// URL")


def check_redirect(url: str, target: str) -> None:
    """Refuse to be led from `url` to what is no web server's, or from a protected connection to an open one."""
    check_url(target)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise ArtifactError(f"{_shown(url)}: redirects from https to {_shown(target)[:200]}")


def _shown(url: str) -> str:
    """Give a URL as it may be told: without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def download(url: str, target: Path, *, source: Source, report: Report | None = None, limit: int = MAX_BYTES) -> None:
    """Bring the content of `url` to `target`, going on with what lies there from an earlier attempt.

    What lies there counts only if the server says that its content is the same (ETag, else Last-Modified).
    """
    check_url(url)
    opener = _opener(source)
    losses = 0
    while True:
        before = _size(target)
        try:
            _attempt(opener, url, target, source, report, limit)
            _note(target).unlink(missing_ok=True)
            return
        except (OSError, http.client.HTTPException) as error:
            losses = 1 if _size(target) > before else losses + 1
            if not _passing(error) or losses > source.attempts:
                raise ArtifactError(f"{url}: {_reason(error)}", hint=_hint(target)) from error
        Event().wait(source.pauses_s[min(losses, len(source.pauses_s)) - 1])


def fetch_text(url: str, target: Path, *, source: Source, limit: int) -> str:
    """Download a small text afresh."""
    target.unlink(missing_ok=True)
    _note(target).unlink(missing_ok=True)
    download(url, target, source=source, limit=limit)
    return target.read_text("utf-8", "replace")


def _opener(source: Source) -> urllib.request.OpenerDirector:
    proxies = {"http": source.proxy, "https": source.proxy} if source.proxy else None
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _attempt(
    opener: urllib.request.OpenerDirector, url: str, target: Path, source: Source, report: Report | None, limit: int
) -> None:
    have, validator = _size(target), _read_note(target, url)
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  check_url allows web servers only
    try:
        response = opener.open(request, timeout=source.timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416 and _is_whole(error.headers, have):
            return
        if error.code == 416:
            target.unlink(missing_ok=True)
            raise ConnectionResetError("what was fetched before is of another version") from error
        raise
    with contextlib.closing(response):
        start = have if response.status == 206 and _starts_at(response.headers, have) else 0
        total = _total(response.headers, start)
        _check_room(target, total, start, limit, url)
        _write_note(target, url, response.headers)
        _receive(response, target, start, total, report, limit)


def _receive(response: Any, target: Path, start: int, total: int | None, report: Report | None, limit: int) -> None:
    done, reported, room = start, 0.0, Room(target.parent)
    with target.open("r+b" if start else "wb") as out:
        out.truncate(start)
        out.seek(start)
        while chunk := response.read(CHUNK_BYTES):
            room.take(len(chunk))
            out.write(chunk)
            done += len(chunk)
            if done > limit:
                raise ArtifactError(f"{response.url}: more than {limit} bytes")
            now = time.monotonic()
            if report is not None and now - reported >= REPORT_EVERY_S:
                reported = now
                report(done, total)
    if total is not None and done != total:
        raise ConnectionResetError(f"ended after {done} of {total} bytes")
    if report is not None:
        report(done, done)


def _total(headers: Mapping[str, str], start: int) -> int | None:
    length = headers.get("Content-Length")
    return start + int(length) if length is not None and length.isdigit() else None


def _starts_at(headers: Mapping[str, str], start: int) -> bool:
    return headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _is_whole(headers: email.message.Message, have: int) -> bool:
    """Say whether "range not satisfiable" means that there is nothing left to fetch."""
    return headers.get("Content-Range", "") == f"bytes */{have}"


def _check_room(target: Path, total: int | None, start: int, limit: int, url: str) -> None:
    if total is None:
        return
    if total > limit:
        raise ArtifactError(f"{url}: {total} bytes; at most {limit} are taken")
    room_for(target.parent, total - start)


# what an unfinished download was of


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _write_note(target: Path, url: str, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    _note(target).write_text(json.dumps({"url": url, "validator": validator}))


def _read_note(target: Path, url: str) -> str:
    """What the server called the content that `target` is the beginning of; empty where it cannot be gone on with."""
    try:
        note = json.loads(_note(target).read_text())
        return str(note["validator"]) if note["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# what went wrong


def _passing(error: Exception) -> bool:
    """Say whether it is worth another attempt."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in RETRIED_STATUS
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(cause, (ConnectionError, TimeoutError, http.client.IncompleteRead, http.client.BadStatusLine))


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _hint(target: Path) -> str:
    have = _size(target)
    return f"{have / 1e6:.0f} MB are kept; the same command goes on from there" if have else ""

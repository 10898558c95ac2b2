"""A vendor's web server that can misbehave, and a key that signs."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


@dataclass
class Vendor:
    """What it serves, and how badly."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int = 0
    """Bytes of a body after which the connection is lost; 0: never."""
    failures: int = 0
    """Requests yet to be answered with 503."""
    redirect: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range of each request."""
    port: int = 0
    sent: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, path: str, content: bytes) -> str:
        """Serve this; say its hash."""
        self.files[path] = content
        return hashlib.sha256(content).hexdigest()


@contextmanager
def vendor() -> Iterator[Vendor]:  # noqa: C901  the handler is a class in a function
    site = Vendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            path = self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path[1:]
            path = f"/{path}"
            site.asked.append((path, self.headers.get("Range", "")))
            if path in site.redirect:
                self.head(302, {"Location": site.redirect[path]}, 0)
            elif site.failures:
                site.failures -= 1
                self.head(503, {}, 0)
            elif path not in site.files:
                self.head(404, {}, 0)
            else:
                self.body(site.files[path])

        def body(self, content: bytes) -> None:
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            wanted = self.headers.get("Range", "")
            start = int(wanted[6:-1]) if site.ranges and wanted and self.headers.get("If-Range") == etag else 0
            if start >= len(content) > 0:
                self.head(416, {"Content-Range": f"bytes */{len(content)}"}, 0)
                return
            extra = {"ETag": etag}
            if start:
                extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.head(206 if start else 200, extra, len(content) - start)
            piece = content[start : start + site.cut_after] if site.cut_after else content[start:]
            site.sent += len(piece)
            self.wfile.write(piece)
            if len(piece) < len(content) - start:
                self.close_connection = True

        def head(self, status: int, headers: dict[str, str], length: int) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.port = server.server_port
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Signer:
    """An OpenPGP key of the test's own, made and used `today` (now). GnuPG's agent wants a short path."""

    def __init__(self, keyrings: Path, name: str, *, expire: str = "never", today: str = "") -> None:
        self._home = tempfile.mkdtemp(prefix="gpg-")
        self._clock = ["--faked-system-time", today] if today else []
        self._file = keyrings / f"{name}.gpg"
        self._gpg("--quick-gen-key", f"{name} <{name}@example>", "ed25519", "sign", expire)
        keyrings.mkdir(exist_ok=True)
        self._file.write_bytes(self._gpg("--export"))

    def _gpg(self, *arguments: str, content: bytes = b"") -> bytes:
        command = [
            "gpg",
            "--homedir",
            self._home,
            *self._clock,
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
        ]
        return subprocess.run([*command, *arguments], input=content, check=True, capture_output=True, timeout=60).stdout

    def detached(self, content: bytes, *options: str) -> bytes:
        return self._gpg(*options, "--armor", "--detach-sign", content=content)

    def clear(self, content: bytes) -> bytes:
        return self._gpg("--clearsign", content=content)

    def revoke(self) -> None:
        """Revoke the key, in its keyring too. GnuPG has the certificate ready, with a colon that keeps it from use."""
        (certificate,) = Path(self._home, "openpgp-revocs.d").iterdir()
        self._gpg("--import", content=certificate.read_bytes().replace(b"\n:-----", b"\n-----"))
        self._file.write_bytes(self._gpg("--export"))

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "all"], check=False, timeout=30)
        subprocess.run(["rm", "-rf", self._home], check=True)

"""Rendering over HTTP against nginx with the same bytes as static files: `python -m tests.bench.render [--json FILE]`.

10,000 machines, each with a kickstart of its own (2 kB), asked in turn over 64 connections by wrk. `vs_nginx_static` is
what the daemon does: files were rendered with their boot scripts, in the sandbox and process of their own with their
limits, and are given as long as nothing differs from what they were made from, which is looked at for each request.
`anew_vs_nginx_static` renders at each request, `http_vs_nginx_static` is the daemon's HTTP alone, which gives the same
bytes out of a table. nginx has one worker and sendfile. Before that, what all of them serve
is compared.
"""

from __future__ import annotations

import contextlib
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench.harness import OURS, Bench, Contender, alternate, main

MACHINES = 10_000
CONNECTIONS = 64
SECONDS = 4
CONFIG = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; location / {{ root {folder}; }} }}
}}
"""
ASK = """
local n = 0
request = function()
    n = (n + 7919) % {count}
    return wrk.format("GET", "/{folder}/node" .. n)
end
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], ready: str) -> Iterator[None]:
    """Run a server until the end of the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while ready and ready not in (line := process.stdout.readline()):
                if not line:
                    raise RuntimeError(f"{command[0]} ended")
            yield
        finally:
            process.terminate()
            process.wait(10)


def await_port(port: int) -> None:
    """Wait until a server listens."""
    for _ in range(1000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        select.select([], [], [], 0.02)
    raise RuntimeError(f"nobody listens on port {port}")


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        content: bytes = answer.read()
        return content


def measure(port: int, script: Path) -> float:
    """Ask for some seconds; answers a second. Any answer but 200 is a fault."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "10s", "-s", str(script)]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


async def run(bench: Bench) -> None:
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with tempfile.TemporaryDirectory(prefix="bench-render-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        files = folder / "static"
        files.mkdir()
        ours, theirs = free_port(), free_port()
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=theirs))
        serve = [sys.executable, "-m", "tests.bench.render.serve", str(ours), str(MACHINES), str(files)]
        stack.enter_context(running(serve, "ready"))
        stack.enter_context(running([nginx, "-c", str(config), "-g", "daemon off;"], ""))
        await_port(theirs)
        ports = {"kept": ours, "anew": ours, "alone": ours, "static": theirs}
        for machine in ("node0", "node17", f"node{MACHINES - 1}"):
            given = {fetch(port, f"{kind}/{machine}") for kind, port in ports.items()}
            if len(given) != 1 or machine.encode() not in given.pop():
                raise RuntimeError(f"{machine}: what is rendered is not what lies in the file")
        bench.note("bytes", len(fetch(ours, "kept/node17")), "octets")

        def ask(kind: str) -> Contender:
            script = folder / f"{kind}.lua"
            script.write_text(ASK.format(count=MACHINES, folder=kind))
            return lambda: measure(ports[kind], script)

        figures = await alternate({kind: ask(kind) for kind in ports}, bench.rounds)
        for key, kind in {"vs": "kept", "anew_vs": "anew", "http_vs": "alone"}.items():
            bench.add(f"{key}_nginx_static", {OURS: figures[kind], "nginx": figures["static"]}, unit="requests/s")


if __name__ == "__main__":
    main("render", run)

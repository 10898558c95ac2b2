"""Rendering over HTTP against nginx with the same bytes as static files: `python -m tests.bench.render [--json FILE]`.

10,000 machines, each with a kickstart of its own (2 kB), asked in turn over 64 connections by wrk. `vs_nginx_static` is
what the daemon does: files were rendered with their boot scripts, in the sandbox and process of their own with their
limits, and are given as long as nothing differs from what they were made from, which is looked at for each request.
`anew_vs_nginx_static` renders at each request, `http_vs_nginx_static` is the daemon's HTTP alone, which gives the same
bytes out of a table. In these 64 connections stay open. Installers make one for each fetch: `own_connection_...` are
the same with a connection for each request, which is closed after it. nginx has one worker and sendfile. Before that,
what all of them serve is compared.

`first_fetches` is the storm as it is: each of the 10,000 machines makes a connection from an address of its own and
redeems its ticket, once, 256 of them at a time; no static file does that, and there is nothing to compare it with.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from provisioner.catalog.load import Catalog
from tests.bench.harness import OURS, Bench, Contender, alternate, main
from tests.bench.render.serve import ANSWER, BOOTENV, address_of, armed

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
    return wrk.format("GET", "/{folder}/node" .. n, {{{headers}}})
end
"""
OWN_CONNECTION = '["Connection"] = "close"'
AT_ONCE = 256
"""Machines that fetch at the same moment: of a rack row that is switched on."""


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

        def ask(kind: str, headers: str = "") -> Contender:
            script = folder / f"{kind}{len(headers)}.lua"
            script.write_text(ASK.format(count=MACHINES, folder=kind, headers=headers))
            return lambda: measure(ports[kind], script)

        figures = await alternate({kind: ask(kind) for kind in ports}, bench.rounds)
        for key, kind in {"vs": "kept", "anew_vs": "anew", "http_vs": "alone"}.items():
            bench.add(f"{key}_nginx_static", {OURS: figures[kind], "nginx": figures["static"]}, unit="requests/s")
        figures = await alternate({kind: ask(kind, OWN_CONNECTION) for kind in ports if kind != "anew"}, bench.rounds)
        for key, kind in {"vs": "kept", "http_vs": "alone"}.items():
            pair = {OURS: figures[kind], "nginx": figures["static"]}
            bench.add(f"own_connection_{key}_nginx_static", pair, unit="requests/s")
    await first_fetches(bench)


async def first_fetches(bench: Bench) -> None:
    """Have every machine redeem its ticket, all of them anew in each round."""
    bootenv, rounds = Catalog.load().bootenv(BOOTENV), []
    paths = [f"/answers/{armed(number, bootenv)[0]}/{ANSWER}" for number in range(MACHINES)]
    for _ in range(bench.rounds):
        port = free_port()
        serve = [sys.executable, "-m", "tests.bench.render.first", str(port), str(MACHINES)]
        with running(serve, "ready"):
            fetch(port, "commits")
            began = time.monotonic()
            await storm(port, paths)
            took_s = time.monotonic() - began
            writes, commits = map(int, fetch(port, "commits").split())
            rounds.append((MACHINES / took_s, writes / MACHINES, commits / MACHINES))
    rate, writes_each, commits_each = (statistics.median(figures) for figures in zip(*rounds, strict=True))
    bench.note("first_fetches", rate, "machines/s")
    bench.note("first_fetches_writes", writes_each, "for each machine")
    bench.note("first_fetches_commits", commits_each, "for each machine")


async def storm(port: int, paths: Sequence[str]) -> None:
    """Fetch each path from the address of its machine, once. Any answer but 200 is a fault."""
    todo = iter(enumerate(paths))

    async def work() -> None:
        for number, path in todo:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address_of(number), 0))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            said = await reader.read()
            writer.close()
            if not said.startswith(b"HTTP/1.1 200 ") or f"node{number}".encode() not in said:
                raise RuntimeError(f"node{number}: {said[:200]!r}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


if __name__ == "__main__":
    main("render", run)

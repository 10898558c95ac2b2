"""An image over HTTP against nginx: `python -m tests.bench.http [--json FILE] [--rounds N]`.

500 MiB from the page cache to 1, 10 and 100 clients at once, each server on the same one processor, nginx with sendfile
and one worker; by HTTPS to 10 curls, with one certificate and cipher. While ours serves 100 clients, and 10 by HTTPS,
a UDP echo on its loop is asked 200 times a second: what DHCP would feel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provisioner.store.authority import Authority
from tests.bench.harness import OURS, Bench, Contender, main
from tests.bench.http.serve import ECHO_PORT, PORT, TLS_PORT
from tests.bench.tftp.wire import SERVER, Wire, build, running, wire

MIB = 1 << 20
SIZE = 500 * MIB
SECONDS = 3.0
CLIENTS = (1, 10, 100)
HTTPS_CLIENTS = 10
SCHEDULING = ("setsid", "sh", "-c", 'echo -20 >/proc/self/autogroup; exec chrt -o 0 "$@"', "sh")
"""A session of its own that comes first (sched(7), autogroup). Not real-time, even where the benchmark is: threads of
one priority would wait 100 ms for each other there (SCHED_RR)."""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream; root {folder};
    client_body_temp_path {folder}/tmp1; proxy_temp_path {folder}/tmp2; fastcgi_temp_path {folder}/tmp3;
    uwsgi_temp_path {folder}/tmp4; scgi_temp_path {folder}/tmp5;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    server {{
        listen {address}:{port}; listen {address}:{tls_port} ssl; location /files/ {{ alias {folder}/files/; }}
    }}
}}
"""
ECHO = """
import socket, statistics, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], int(sys.argv[2])))
sock.settimeout(2)
took = []
for _ in range(int(sys.argv[3])):
    began = time.monotonic()
    sock.send(bytes(300))
    sock.recv(2048)
    took.append((time.monotonic() - began) * 1000)
    time.sleep(max(0, 0.005 - (time.monotonic() - began)))
print(statistics.quantiles(took, n=100)[98])
"""


class Load:
    """The clients' end."""

    def __init__(self, it: Wire, program: Path) -> None:
        self.wire, self._program = it, program

    def command(self, clients: int, seconds: float) -> list[str]:
        """Fetch by so many clients for so long."""
        words = [SERVER, str(PORT), "/files/image", str(SIZE), str(clients), str(seconds)]
        return self.wire.at_client(str(self._program), *words)

    def ready(self) -> list[str]:
        """Succeeds once a server answers."""
        return self.command(1, 0.01)

    def measure(self, clients: int) -> dict[str, float]:
        """Fetch, and say what came."""
        done = subprocess.run(self.command(clients, SECONDS), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{clients} clients: {done.stderr}")
        result: dict[str, float] = json.loads(done.stdout)
        return result


def contender(load: Load, command: list[str], clients: int) -> Contender:
    """Start a server, fetch, stop it; megabytes a second."""

    def once() -> float:
        with running(load.wire.at_server(*command), load.ready()):
            result = load.measure(clients)
        return result["bytes"] / result["seconds"] / 1e6

    return once


def curls(load: Load, count: int, seconds: float) -> list[subprocess.Popen[str]]:
    """Fetch the image by HTTPS, so many at once, for so long at most; each will say how much, and in what time."""
    curl = ["curl", "-ks", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384", "--max-time", str(seconds), "-o", "/dev/null"]
    told = ("-w", "%{size_download} %{time_total}\n", f"https://{SERVER}:{TLS_PORT}/files/image")
    words = load.wire.at_client(*curl, *told)
    return [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]


def by_https(load: Load, command: list[str]) -> Contender:
    """The same by HTTPS; until the last curl has its file, since nginx serves some before others."""

    def once() -> float:
        with running(load.wire.at_server(*command), load.ready()):
            said = "".join(client.communicate(timeout=120)[0] for client in curls(load, HTTPS_CLIENTS, SECONDS)).split()
        return sum(map(float, said[::2])) / max(map(float, said[1::2])) / 1e6

    return once


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds; the processes that were started around it are the same one (exec)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def lateness(load: Load, count: int) -> float:
    """Milliseconds that 99 of 100 echoes take at most."""
    asked = load.wire.at_client(sys.executable, "-c", ECHO, SERVER, str(ECHO_PORT), str(count))
    return float(subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout)


def crowd(bench: Bench, load: Load, ours: list[str]) -> None:
    """Serve 100 clients, and 10 by HTTPS: how much memory each takes, and how late the loop is."""
    with running(load.wire.at_server(*ours), load.ready()) as server:
        before = resident(server.pid)
        with subprocess.Popen(load.command(100, 4.0), stdout=subprocess.DEVNULL):
            bench.note("clients100_loop_p99", lateness(load, 400), "ms")
        bench.note("clients100_memory_per_client", (resident(server.pid) - before) / 100, "MiB")
    with running(load.wire.at_server(*ours), load.ready()) as server:
        curls(load, 1, SECONDS / 2)[0].communicate(timeout=120)  # what TLS takes once, whoever comes
        before = resident(server.pid)
        clients = curls(load, 1 + HTTPS_CLIENTS, SECONDS)
        bench.note("https_loop_p99", lateness(load, 300), "ms")
        for client in clients:
            client.communicate(timeout=120)
        bench.note("https_memory_per_client", (resident(server.pid) - before) / HTTPS_CLIENTS, "MiB")


async def run(bench: Bench) -> None:
    """Compare, by number of clients."""
    with tempfile.TemporaryDirectory(prefix="bench-http-") as name, wire(SCHEDULING) as it:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "files").mkdir()
        image = folder / "files" / "image"
        image.write_bytes(os.urandom(MIB) * 500)
        certificate = Authority(folder / "tls", time.time()).server_certificate([SERVER])
        places = {"folder": folder, "address": SERVER, "port": PORT, "tls_port": TLS_PORT, "certificate": certificate}
        (folder / "nginx.conf").write_text(NGINX.format(**places))
        load = Load(it, build(Path(__file__).with_name("load.c"), folder))
        ours = [sys.executable, "-m", "tests.bench.http.serve", str(image), str(certificate)]
        nginx = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        for clients in CLIENTS:
            contenders = {OURS: contender(load, ours, clients), "nginx": contender(load, nginx, clients)}
            await bench.compare(f"image{clients}_vs_nginx", contenders, unit="MB/s")
        await bench.compare("https_vs_nginx", {OURS: by_https(load, ours), "nginx": by_https(load, nginx)}, unit="MB/s")
        crowd(bench, load, ours)


if __name__ == "__main__":
    main("http", run)

"""Image fan-out: `python -m tests.bench.fanout [--json FILE] [--rounds N]`.

16 machines, each in a namespace of its own on one switch, take an image from an origin whose link is limited (the
daemon's own limit: kernels like this one have no netem). Naive: each takes a whole copy from the origin. Both run the
shell code of the discovery system, and every machine's copy is hashed. Bytes are those that left the origin's port.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from provisioner.discovery.build.ramdisk import RAMDISK
from tests.bench.harness import OURS, Bench, main
from tests.bench.tftp.wire import run as short
from tests.bench.tftp.wire import running

MIB = 1 << 20
SIZE = 64 * MIB
LINK_BYTES_PER_S = 20e6
MACHINES = 16
ORIGIN, PORT = "10.95.0.1", 8080
REAL_TIME = ("chrt", "-r", "10")
NAIVE = "stream {url} | sha256sum | cut -d ' ' -f 1"
SHARED = "join_share {url} {sha256}; gather; chunks_in_order | sha256sum | cut -d ' ' -f 1"


@dataclass(frozen=True, slots=True)
class Switch:
    """A bridge with the origin and the machines, each at the end of a cable."""

    name: str = f"fan{os.getpid()}"

    def at(self, who: str, *words: str) -> list[str]:
        """A command in a namespace, real-time as all of them."""
        return ["ip", "netns", "exec", f"{self.name}{who}", *REAL_TIME, *words]

    def plug(self, who: str, address: str) -> None:
        """Make a namespace and its cable to the switch."""
        space = f"{self.name}{who}"
        short("ip", "netns", "add", space)
        port = f"p{who}"
        peer = ("peer", "name", "eth0", "netns", space)
        short("ip", "link", "add", port, "netns", f"{self.name}sw", "type", "veth", *peer)
        short("ip", "-n", f"{self.name}sw", "link", "set", port, "master", "br0", "up")
        short("ip", "-n", space, "addr", "add", f"{address}/16", "dev", "eth0")
        for up in ("lo", "eth0"):
            short("ip", "-n", space, "link", "set", up, "up")

    def sent(self) -> int:
        """Bytes that left the origin's port so far."""
        counter = "/sys/class/net/eth0/statistics/tx_bytes"
        command = ["ip", "netns", "exec", f"{self.name}o", "cat", counter]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)


@contextmanager
def rack() -> Iterator[Switch]:
    """The switch, for as long as the block lasts."""
    switch = Switch()
    with ExitStack() as stack:
        space = f"{switch.name}sw"
        short("ip", "netns", "add", space)
        stack.callback(short, "ip", "netns", "del", space)
        short("ip", "-n", space, "link", "add", "br0", "type", "bridge", "stp_state", "0")
        short("ip", "-n", space, "link", "set", "br0", "up")
        for who, address in [("o", ORIGIN)] + [(str(n), f"10.95.1.{n + 1}") for n in range(MACHINES)]:
            switch.plug(who, address)
            stack.callback(short, "ip", "netns", "del", f"{switch.name}{who}")
        yield switch


def machine(switch: Switch, folder: Path, number: int, script: str) -> subprocess.Popen[bytes]:
    """Start one machine's job."""
    state = folder / f"node{number}"
    (state / "work").mkdir(parents=True)
    (state / "url").write_text(f"http://{ORIGIN}:{PORT}\n")
    (state / "authorization").write_text(f"Authorization: Bearer node{number}\n")
    settings = os.environ | {"PROVISIONER_STATE": str(state), "PROVISIONER_LIB": str(RAMDISK)}
    command = switch.at(str(number), "busybox", "sh", "-euo", "pipefail", "-c", f". {RAMDISK}/job.sh\n{script}")
    return subprocess.Popen(command, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def take(switch: Switch, script: str, sha256: str, command: list[str]) -> tuple[float, int]:
    """Let all machines take the image; seconds, and bytes that the origin sent. Every copy must be whole."""
    ready = switch.at("0", "curl", "-s", "-I", f"http://{ORIGIN}:{PORT}/files/image")
    with tempfile.TemporaryDirectory(prefix="fanout-", dir="/dev/shm") as name, running(command, ready):
        folder = Path(name)
        before, began = switch.sent(), time.monotonic()
        machines = [machine(switch, folder, number, script) for number in range(MACHINES)]
        hashes = [process.communicate(timeout=300)[0].decode().strip() for process in machines]
        took, sent = time.monotonic() - began, switch.sent() - before
        for served in folder.glob("node*/share/httpd"):
            os.kill(int(served.read_text()), 9)
    if hashes != [sha256] * MACHINES:
        raise RuntimeError(f"not every machine has the image: {hashes}")
    return took, sent


async def run(bench: Bench) -> None:
    """Compare."""
    with tempfile.TemporaryDirectory(prefix="bench-fanout-") as name, rack() as switch:
        image = Path(name) / "image"
        image.write_bytes(os.urandom(SIZE))
        sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
        words = {"url": f"http://{ORIGIN}:{PORT}/files/image", "sha256": sha256}
        serve = [sys.executable, "-m", "tests.bench.fanout.serve", ORIGIN, str(PORT), str(image), str(LINK_BYTES_PER_S)]
        copies: list[float] = []

        def ours() -> float:
            took, sent = take(switch, SHARED.format(**words), sha256, switch.at("o", *serve))
            copies.append(sent / SIZE)
            return took

        def naive() -> float:
            return take(switch, NAIVE.format(**words), sha256, switch.at("o", *serve))[0]

        seconds = await bench.compare("time", {OURS: ours, "naive": naive}, unit="s", more_is_better=False, warm_up=0)
        bench.note("origin_copies", max(copies), "images")
        bench.ratios = {
            "origin_bytes_per_image": max(copies),
            "time_vs_naive": seconds[OURS] / seconds["naive"],
        }


if __name__ == "__main__":
    main("fanout", run, rounds=2)

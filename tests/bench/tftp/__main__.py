"""TFTP against tftpd-hpa, dnsmasq and atftpd: `python -m tests.bench.tftp [--json FILE] [--rounds N]`.

One file of 64 MiB to one client, and one of 1 MiB (an iPXE image) to 50 clients at once, blksize 1468, by windowsize.
What every client gets is compared with the file. At the end 200 clients fetch 1 MiB at once from ours: all must finish.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.harness import OURS, Bench, Contender, main
from tests.bench.tftp import peers
from tests.bench.tftp.wire import CLIENT, FIRST_CLIENT, SERVER, Wire, build, running, wire

MIB = 1 << 20
BLKSIZE = 1468
CASES = {
    "window64": ("big", 64, 1),
    "window16": ("big", 16, 1),
    "window1": ("big", 1, 1),
    "clients50_window16": ("small", 16, 50),
    "clients50_window1": ("small", 1, 50),
}
REPEATS = {"big": 1, "small": 3}
"""Fetches of one measurement: 50 MiB are over too soon for one figure."""


class Load:
    """The clients' end."""

    def __init__(self, it: Wire, program: Path, root: Path) -> None:
        self._wire, self._program, self._root = it, program, root

    def command(self, name: str, window: int, clients: int, first: str) -> list[str]:
        """Fetch `name` by so many clients."""
        numbers = [str(BLKSIZE), str(window), str(clients)]
        return self._wire.at_client(str(self._program), SERVER, name, str(self._root / name), *numbers, first)

    def ready(self) -> list[str]:
        """Succeeds once a server answers."""
        return self.command("tiny", 1, 1, CLIENT)

    def measure(self, name: str, window: int, clients: int) -> dict[str, float]:
        """Fetch, and say what the clients saw."""
        done = subprocess.run(
            self.command(name, window, clients, FIRST_CLIENT), capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name} by {clients} clients: {done.stdout} {done.stderr}")
        result: dict[str, float] = json.loads(done.stdout)
        return result


def contender(it: Wire, load: Load, command: list[str], case: tuple[str, int, int]) -> Contender:
    """Start a server, fetch, stop it; megabytes a second."""

    def once() -> float:
        with running(it.at_server(*command), load.ready()):
            results = [load.measure(*case) for _ in range(REPEATS[case[0]])]
        return sum(r["bytes"] for r in results) / sum(r["seconds"] for r in results) / 1e6

    return once


def fill(root: Path) -> None:
    """Make the files that are served."""
    root.mkdir()
    root.chmod(0o755)
    for name, size in (("big", 64 * MIB), ("small", MIB), ("tiny", 1000)):
        (root / name).write_bytes(os.urandom(size))


async def run(bench: Bench) -> None:
    """Compare, case by case."""
    with tempfile.TemporaryDirectory(prefix="bench-tftp-") as name, wire() as it:
        folder = Path(name)
        folder.chmod(0o755)
        root = folder / "root"
        fill(root)
        load = Load(it, build(Path(__file__).with_name("get.c"), folder), root)
        ours = [sys.executable, "-m", "tests.bench.tftp.serve", str(root)]
        servers: dict[str, Callable[[], list[str]]] = {
            OURS: lambda: ours,
            "tftpd-hpa": lambda: peers.hpa(root),
            "dnsmasq": lambda: peers.dnsmasq(root),
            "atftpd": lambda: peers.atftpd(root, folder),
        }
        for key, case in CASES.items():
            contenders = {who: contender(it, load, command(), case) for who, command in servers.items()}
            await bench.compare(f"{key}_vs_best", contenders, unit="MB/s")
        with running(it.at_server(*ours), load.ready()):
            crowd = load.measure("small", 1, 200)
        bench.note("clients200_window1_whole", crowd["whole"], "clients")
        bench.note("clients200_window1_slowest", crowd["max_ms"], "ms")


if __name__ == "__main__":
    main("tftp", run)

"""A rack that is switched on at once: `python -m tests.bench.storm [--json FILE] [--rounds N]`.

200 machines take 1 MiB by TFTP and 10 MiB by HTTP over a link of 50 MB/s while 16 others write an image: what a rack on
a gigabit asks of 50 MiB each. Firmware gives up when it hears nothing for too long; the longest silence of any machine
is noted beside those limits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.harness import Bench, main
from tests.bench.http.serve import PORT
from tests.bench.tftp.wire import SERVER, running, wire

MIB = 1 << 20
MACHINES, WRITERS = 200, 16
RATE = 50e6
SIZES = {"loader": MIB, "kernel": 2 * MIB, "initrd": 8 * MIB, "image": 256 * MIB}
LIMITS = {"tftp_silence_s": 4.0, "http_silence_s": 5.0, "dhcp_p99_ms": 20.0}
"""EDK2's time-outs for a TFTP block (PXEBC_MTFTP_TIMEOUT) and for HTTP (HTTP_BOOT_RESPONSE_TIMEOUT)."""


async def run(bench: Bench) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory(prefix="bench-storm-") as name, wire(("chrt", "-r", "10")) as it:
        root = Path(name)
        root.chmod(0o755)
        for file, size in SIZES.items():
            (root / file).write_bytes(os.urandom(MIB) * (size // MIB))
        serve = it.at_server(sys.executable, "-m", "tests.bench.storm.serve", str(root), str(RATE))
        ready = it.at_client("curl", "-sfI", "-o", "/dev/null", f"http://{SERVER}:{PORT}/files/loader")
        clients = it.at_client(sys.executable, "-m", "tests.bench.storm.clients", str(MACHINES), str(WRITERS))
        found: list[dict[str, float]] = []
        for _ in range(bench.rounds):
            with running(serve, ready):
                done = subprocess.run(clients, capture_output=True, text=True, timeout=400, check=True)
            found.append(json.loads(done.stdout))
            print(f"  {found[-1]}", file=sys.stderr, flush=True)
        for key in found[0]:
            bench.note(key, max(each[key] for each in found), "s" if key.endswith("_s") else "")
        for key, limit in LIMITS.items():
            bench.ratios[f"{key}_of_limit"] = max(each[key] for each in found) / limit


if __name__ == "__main__":
    main("storm", run, rounds=1)

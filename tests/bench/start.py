"""A start of the daemon with an empty state directory and no subnet: how long until it is ready, and what all costs.

`BEFORE=DIR scripts/bench start` measures the tree in DIR, too, in alternating rounds with the same interpreter.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.harness import OURS, Bench, main

ROOT = Path(__file__).parents[2]
IMPORT = "import provisioner.daemon"


def processor_ms() -> float:
    """What children that ended took, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e3


def imports(tree: Path) -> float:
    """Import the daemon; the milliseconds of processor time that it takes."""
    before = processor_ms()
    subprocess.run([sys.executable, "-c", IMPORT], cwd=tree, check=True)
    return processor_ms() - before


def ready(tree: Path) -> float:
    """Start the daemon and stop it; the milliseconds until it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "provisioner.yaml"
        settings = {"store": {"state_dir": f"{folder}/state"}, "api": {"socket": f"{folder}/api.sock"}}
        config.write_text(json.dumps(settings | {"tftp": {"enabled": False}}))
        code = "import sys; from provisioner.entry import main; sys.exit(main())"
        began = time.perf_counter()
        command = [sys.executable, "-c", code, "--config", str(config)]
        with subprocess.Popen(command, cwd=tree, stderr=subprocess.PIPE, text=True) as daemon:
            assert daemon.stderr is not None
            assert any("daemon.ready" in line for line in daemon.stderr)
            took_s = time.perf_counter() - began
            daemon.terminate()
            daemon.communicate()
    return took_s * 1e3


def whole(tree: Path) -> float:
    """Do the same; the milliseconds of processor time of the daemon and its processes."""
    before = processor_ms()
    ready(tree)
    return processor_ms() - before


async def run(bench: Bench) -> None:
    """Ours, and another tree's."""
    trees = {OURS: ROOT} | ({"before": Path(os.environ["BEFORE"])} if "BEFORE" in os.environ else {})
    for key, measure in {"import_cpu": imports, "ready": ready, "start_and_stop_cpu": whole}.items():
        contenders = {who: partial(measure, tree) for who, tree in trees.items()}
        await bench.compare(key, contenders, unit="ms", more_is_better=False)


if __name__ == "__main__":
    main("start", run)

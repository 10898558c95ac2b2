"""Seconds per sub-phase of the virtual rack's journey, from the journal of each machine's run.

    scripts/bench journey [--json FILE] [--rounds N]

Brings the rack up with scripts/lab (which installs the first machine and builds what is missing), then installs every
machine again and reads how long each sub-phase took. A rack that was not there before is removed at the end.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.harness import Bench, main

ROOT = Path(__file__).parents[2]
CONTROL = str(ROOT / ".venv/bin/provisionctl")
SYSTEM = "debian-12"
PHASES = ("power", "dhcp", "loader", "fetch", "install", "finalize", "local-boot", "phone-home")


def ask(*arguments: str) -> Any:
    """What provisionctl answers, as values."""
    result = subprocess.run([CONTROL, *arguments, "-o", "json"], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def rack_is_up() -> bool:
    """Say whether there is a rack already."""
    return subprocess.run([CONTROL, "lab", "status"], capture_output=True, check=False).returncode == 0


def seconds(started: str, ended: str) -> float:
    """The time between two moments of the API."""
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def phases_of(run: Mapping[str, Any]) -> dict[str, float]:
    """Seconds per sub-phase of a run, retries included; the sum is the run's own from start to end."""
    spent = dict.fromkeys(PHASES, 0.0)
    for line in run["journal"]:
        spent[line["phase"]] += seconds(line["started"], line["ended"])
    return spent | {"total": seconds(run["started"], run["ended"])}


def install(name: str) -> dict[str, float]:
    """Install one machine and say how long each sub-phase took."""
    subprocess.run([CONTROL, "boot", name, SYSTEM, "--yes", "--wait"], check=True, cwd=ROOT)
    return phases_of(ask("show", name)["run"])


async def journey(bench: Bench) -> None:
    """Measure the rack that is there, or one for the occasion."""
    was_up = rack_is_up()
    began = time.monotonic()
    subprocess.run(["scripts/lab"], check=True, cwd=ROOT)
    try:
        if not was_up:
            bench.note("lab_to_first_active_s", time.monotonic() - began, "s")
        firmware = {row["name"]: row["firmware"] for row in ask("lab", "status")}
        for name in sorted(firmware):
            rounds = [install(name) for _ in range(bench.rounds)]
            for phase in (*PHASES, "total"):
                figure = statistics.median(spent[phase] for spent in rounds)
                bench.note(f"{name} {firmware[name]} {phase}", figure, "s")
    finally:
        if not was_up:
            subprocess.run(["scripts/lab", "down"], check=True, cwd=ROOT)


if __name__ == "__main__":
    main("journey", journey, rounds=1)

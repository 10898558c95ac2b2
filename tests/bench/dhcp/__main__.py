"""Full DHCP exchanges per second against Kea and dnsmasq, and what else the server promises under load."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.dhcp.contest import Contest, rate
from tests.bench.dhcp.wire import PRIORITY, Load, build, wire
from tests.bench.harness import Bench, main

STATE = Path("/var/tmp")
"""On a disk: /tmp may be memory, and then nothing waits."""
RACK = Load(window=64, seconds=2.0)
ALONE = Load(window=1, seconds=2.0)
SYNCS = 400


async def rates(bench: Bench, contest: Contest) -> None:
    """The same work for all: 64 clients at once, each one new."""
    durable, written = (rate(partial(contest.ours, RACK, durability=kind)) for kind in ("durable", "written"))
    kea, dnsmasq = (rate(partial(contest.peer, name, RACK)) for name in ("kea", "dnsmasq"))
    await bench.compare("durable_vs_kea_mt", {"ours": durable, "kea": kea}, unit="exchanges/s")
    await bench.compare("write_vs_kea_mt", {"ours": written, "kea": kea}, unit="exchanges/s")
    await bench.compare("durable_vs_dnsmasq", {"ours": durable, "dnsmasq": dnsmasq}, unit="exchanges/s")


async def sizes(bench: Bench, contest: Contest) -> None:
    """The same work with few and many reservations."""
    few, some, many = (
        rate(partial(contest.ours, RACK, durability="written", reservations=count)) for count in (100, 10_000, 100_000)
    )
    await bench.compare("at_100k_vs_100_reservations", {"ours": many, "100 reservations": few}, unit="exchanges/s")
    await bench.compare("at_10k_vs_100_reservations", {"ours": some, "100 reservations": few}, unit="exchanges/s")


def sync_us(folder: Path) -> float:
    """What one fdatasync of this disk takes, in the middle of many: a block is appended and made durable."""
    took = []
    file = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT)
    for _ in range(SYNCS):
        os.write(file, bytes(8192))
        before = time.perf_counter()
        os.fdatasync(file)
        took.append(time.perf_counter() - before)
    os.close(file)
    return statistics.median(took) * 1e6


async def latencies(bench: Bench, contest: Contest) -> None:
    """One client alone; and offers while the disk stalls."""
    syncs, alone, kea = [], [], []
    for _ in range(bench.rounds):
        syncs.append(sync_us(contest.folder))
        alone.append((await contest.ours(ALONE)).ack_p50)
        kea.append((await contest.peer("kea", ALONE)).ack_p50)
    bench.add("ack_p50_alone", {"ours": alone, "kea": kea}, unit="us", more_is_better=False)
    bench.ratios.pop("ack_p50_alone")  # Kea promises less
    bench.note("fdatasync_p50", statistics.median(syncs), "us")
    bench.note("ack_p50_beyond_fdatasync", statistics.median(alone) - statistics.median(syncs), "us")
    stalled = [await contest.ours(RACK, stall_ms=50) for _ in range(bench.rounds)]
    bench.note("offer_p99_while_disk_stalls_50ms", statistics.median(each.offer_p99 for each in stalled), "us")
    bench.note("ack_p50_while_disk_stalls_50ms", statistics.median(each.ack_p50 for each in stalled), "us")


async def changes(bench: Bench, contest: Contest) -> None:
    """One of 10,000 reservations changed every 50 ms under the load."""
    lost, took_s = 0, list[float]()
    for _ in range(bench.rounds):
        figures, took = await contest.changed(RACK, reservations=10_000, every_s=0.05)
        lost += figures.late + figures.refused
        took_s += took
    bench.note("changes_under_load", len(took_s))
    bench.note("change_p99_under_load", statistics.quantiles(took_s, n=100)[98] * 1e6, "us")
    bench.note("exchanges_lost_to_changes", lost)


async def run(bench: Bench) -> None:
    """All of it, in real time: this program, which changes reservations, as well as servers and load generator."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    with tempfile.TemporaryDirectory(dir=STATE) as name:
        folder = Path(name)
        program = build(folder)
        async with wire() as it:
            contest = Contest(it, program, folder)
            for part in (rates, sizes, latencies, changes):
                await part(bench, contest)


if __name__ == "__main__":
    main("dhcp", run)

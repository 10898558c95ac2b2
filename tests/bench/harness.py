"""How a benchmark is run: alternating rounds in one run, medians, a table for people and JSON for machines.

    bench = Bench("dhcp")
    await bench.compare("durable_vs_kea_mt", {"ours": ours, "kea": kea}, unit="exchanges/s")
    bench.note("p99_ms", 1.9)
    bench.close()

A contender is a function (or coroutine function) of nothing that does its work once and returns its figure. Rounds
alternate, every other one in the opposite order, so that a machine that slows down half-way slows all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Contender = Callable[[], float | Awaitable[float]]

OURS = "ours"


async def alternate(contenders: Mapping[str, Contender], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Run each contender once a round, turn and turn about; figures of the first `warm_up` rounds are thrown away."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warm_up + rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            figure = contenders[name]()
            value = await figure if inspect.isawaitable(figure) else figure
            if number >= warm_up:
                figures[name].append(value)
                print(f"  round {number - warm_up + 1}/{rounds} {name}: {value:,.6g}", file=sys.stderr, flush=True)
    return figures


def ratio(ours: float, peer: float, *, more_is_better: bool) -> float:
    """How many times as good as the peer we are: above 1 we are better."""
    better, worse = (ours, peer) if more_is_better else (peer, ours)
    return better / worse if worse else float("inf")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the figures of one contender in one comparison."""

    what: str
    who: str
    unit: str
    figures: tuple[float, ...]
    ratio: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as text: what, who, median, spread, unit, ours over this peer."""
        low, high = min(self.figures), max(self.figures)
        spread = f"{low:,.4g} .. {high:,.4g}" if len(self.figures) > 1 else ""
        median = f"{statistics.median(self.figures):,.4g}"
        return self.what, self.who, median, spread, self.unit, "" if self.ratio is None else f"{self.ratio:.2f}x"


HEAD = ("what", "who", "median", "spread", "unit", "ours is")


def table(rows: list[tuple[str, ...]]) -> str:
    """Lay out rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


@dataclass
class Bench:
    """The results of one benchmark; `rounds` and `json_file` come from the command line."""

    name: str
    rounds: int = 5
    json_file: Path | None = None
    ours: dict[str, float] = field(default_factory=dict)
    peers: dict[str, dict[str, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    async def compare(
        self, key: str, contenders: Mapping[str, Contender], *, unit: str, more_is_better: bool = True, warm_up: int = 1
    ) -> dict[str, float]:
        """Measure "ours" and peers and keep the medians, which it returns; the ratio is to the best peer."""
        print(f"{self.name}: {key} ({', '.join(contenders)}), {self.rounds} rounds", file=sys.stderr, flush=True)
        figures = await alternate(contenders, self.rounds, warm_up)
        self.add(key, figures, unit=unit, more_is_better=more_is_better)
        return {name: statistics.median(values) for name, values in figures.items()}

    def add(self, key: str, figures: Mapping[str, list[float]], *, unit: str, more_is_better: bool = True) -> None:
        """Keep figures that were measured elsewhere, in alternating rounds of this run."""
        medians = {name: statistics.median(values) for name, values in figures.items()}
        mine = medians[OURS]
        self.ours[key] = mine
        self.rows.append(Row(key, OURS, unit, tuple(figures[OURS])))
        ratios = []
        for who in (name for name in medians if name != OURS):
            self.peers.setdefault(who, {})[key] = medians[who]
            ratios.append(ratio(mine, medians[who], more_is_better=more_is_better))
            self.rows.append(Row(key, who, unit, tuple(figures[who]), ratios[-1]))
        if ratios:
            self.ratios[key] = min(ratios)

    def note(self, key: str, value: float, unit: str = "") -> None:
        """Keep a figure of ours that has no peer."""
        self.ours[key] = value
        self.rows.append(Row(key, OURS, unit, (value,)))

    def as_json(self) -> str:
        """The results as `scripts/bench NAME --json FILE` writes them."""
        parts = {"name": self.name, "ours": self.ours, "peers": self.peers, "ratios": self.ratios}
        return json.dumps(parts, indent=2) + "\n"

    def close(self) -> None:
        """Print the table and write the JSON."""
        print(table([HEAD, *(row.cells() for row in self.rows)]))
        if self.json_file is not None:
            self.json_file.write_text(self.as_json())


def main(name: str, run: Callable[[Bench], Awaitable[None]], *, rounds: int = 5) -> None:
    """Run one benchmark as a command: `python -m tests.bench.NAME [--json FILE] [--rounds N]`."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {name}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help=f"rounds that count (default: {rounds})"
    )
    options = parser.parse_args()
    bench = Bench(name, rounds=options.rounds, json_file=options.json)

    async def whole() -> None:
        await run(bench)

    asyncio.run(whole())
    bench.close()

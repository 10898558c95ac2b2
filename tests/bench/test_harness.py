"""The harness of the benchmarks: order of rounds, medians, ratios, JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.bench.harness import Bench, alternate, ratio, table

ROOT = Path(__file__).parents[2]


async def test_rounds_alternate_and_turn_about() -> None:
    order: list[str] = []

    def contender(name: str) -> float:
        order.append(name)
        return float(len(order))

    async def waiting() -> float:
        return contender("kea")

    figures = await alternate({"ours": lambda: contender("ours"), "kea": waiting}, rounds=2)
    assert order == ["ours", "kea", "kea", "ours", "ours", "kea"]
    assert figures == {"ours": [4.0, 5.0], "kea": [3.0, 6.0]}


RATIOS = {
    "twice the rate": (200, 100, True, 2.0),
    "half the time": (5, 10, False, 2.0),
    "half the rate": (50, 100, True, 0.5),
    "a peer that did nothing": (5, 0, True, float("inf")),
}


@pytest.mark.parametrize(("ours", "peer", "more", "expected"), RATIOS.values(), ids=RATIOS.keys())
def test_ratio(ours: float, peer: float, more: bool, expected: float) -> None:
    assert ratio(ours, peer, more_is_better=more) == expected


def test_the_ratio_is_to_the_best_peer_and_of_medians(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench("dhcp", json_file=tmp_path / "dhcp.json")
    bench.add("rate_vs_best", {"ours": [1, 30, 300], "kea": [20, 20, 20], "dnsmasq": [15, 10, 15]}, unit="1/s")
    bench.note("p99_ms", 1.5, "ms")
    bench.close()
    written = json.loads((tmp_path / "dhcp.json").read_text())
    assert {key: written[key] for key in ("name", "ours", "peers", "ratios")} == {
        "name": "dhcp",
        "ours": {"rate_vs_best": 30, "p99_ms": 1.5},
        "peers": {"kea": {"rate_vs_best": 20}, "dnsmasq": {"rate_vs_best": 15}},
        "ratios": {"rate_vs_best": 1.5},
    }
    assert "rate_vs_best  kea      20      20 .. 20  1/s   1.50x" in capsys.readouterr().out


def test_table_has_straight_columns() -> None:
    assert table([("a", "b"), ("long", "c")]) == "a     b\nlong  c"


def test_the_command_names_the_benchmarks_it_has() -> None:
    result = subprocess.run([ROOT / "scripts/bench", "nonsense"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no benchmark nonsense" in result.stderr

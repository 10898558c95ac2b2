"""The journal of a run as seconds per sub-phase."""

from __future__ import annotations

from tests.bench.journey import PHASES, phases_of


def test_retries_of_a_phase_are_added_up() -> None:
    journal = [
        {"phase": "power", "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:02.500Z"},
        {"phase": "power", "started": "2026-01-01T00:00:02.500Z", "ended": "2026-01-01T00:00:04Z"},
        {"phase": "phone-home", "started": "2026-01-01T00:00:04Z", "ended": "2026-01-01T00:01:04Z"},
    ]
    run = {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:04Z", "journal": journal}
    assert phases_of(run) == dict.fromkeys(PHASES, 0.0) | {"power": 4.0, "phone-home": 60.0, "total": 64.0}

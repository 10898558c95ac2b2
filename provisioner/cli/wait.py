"""What `--wait` knows: which runs it waits for, how far they are, how each ended. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from provisioner.cli.text import Row, printable, seconds_of, span
from provisioner.model.names import run_name

WEIGHTS = {
    "power": 4,
    "dhcp": 8,
    "loader": 3,
    "fetch": 25,
    "install": 30,
    "finalize": 4,
    "local-boot": 12,
    "phone-home": 14,
}
"""How long a phase takes beside the others (seconds in the virtual rack): a bar that jumps tells nothing."""
USUAL = 5


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, in one line."""

    ok: bool
    text: str


@dataclass(slots=True)
class Waiting:
    """The runs that are waited for, by machine; `update` feeds it what the API says."""

    runs: dict[str, str]
    """Machine name to run id."""
    rows: dict[str, Row] = field(default_factory=dict)
    """The machines as they were last seen, without those that are gone or in another run."""
    endings: dict[str, Ending] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Say whether every run has ended."""
        return self.endings.keys() >= self.runs.keys()

    @property
    def left(self) -> list[str]:
        """Name the machines whose run is still under way."""
        return [name for name in self.runs if name not in self.endings]

    def update(self, machines: Iterable[Row]) -> None:
        """Take the machines as they are now; one that is gone has been forgotten."""
        found = {machine["name"]: machine for machine in machines}
        for name in self.left:
            self.rows.pop(name, None)
            machine = found.get(name)
            if machine is None:
                self.endings[name] = Ending(False, f"{printable(name)}: was taken off the record")
            elif machine["run"] is None or machine["run"]["id"] != self.runs[name]:
                since = f"another run has begun since; `provisionctl trace {printable(name)}` tells of both"
                self.endings[name] = Ending(False, f"{printable(name)}: {since}")
            else:
                self.rows[name] = machine
                if (ending := ending_of(machine)) is not None:
                    self.endings[name] = ending


def ending_of(machine: Row) -> Ending | None:
    """Say how a machine's run ended; None while it is under way."""
    name, run = printable(machine["name"]), machine["run"]
    if run["outcome"] == "running":
        return None
    what = run_name(run["verb"], run["bootenv"])
    if run["outcome"] == "done":
        began, ended = seconds_of(run["started"]), seconds_of(run["ended"])
        took = f" in {span(ended - began)}" if began and ended else ""
        return Ending(True, f"{name} is {machine['state']}: {printable(what)} done{took}")
    failure = machine["failure"] or {}
    reason = f" in {failure['phase']}: {failure['reason']}" if failure else ""
    hint = f" ({failure['hint']})" if failure.get("hint") else f" (`provisionctl why {name}` tells more)"
    return Ending(False, f"{name}: {printable(what)} {run['outcome']}{printable(reason)}{printable(hint)}")


def share(run: Mapping[str, object] | None) -> float:
    """Say how much of a run lies behind it, 0 to 1."""
    if run is None:
        return 0.0
    if run["outcome"] != "running":
        return 1.0
    steps, at, percent = run["steps"], run["at"], run["percent"]
    assert isinstance(steps, list)
    assert isinstance(at, int)
    weights = [_weight(step["phase"], steps) for step in steps]
    behind = sum(weights[:at])
    if at < len(weights) and isinstance(percent, int | float):
        behind += weights[at] * percent / 100
    return behind / (sum(weights) or 1.0)


def _weight(phase: str, steps: list[Row]) -> float:
    """Share a phase's weight among its steps."""
    return WEIGHTS.get(phase, USUAL) / sum(1 for step in steps if step["phase"] == phase)


def where(row: Row) -> str:
    """Say where a run stands, in one phrase: the sub-phase, how far, and the note of who does it."""
    run = row["run"]
    if not run or run["outcome"] != "running":
        return row["run"]["outcome"] if run else ""
    percent = f" {run['percent']:.0f}%" if run["percent"] is not None else ""
    note = f": {run['note']}" if run["note"] else ""
    return printable(f"{run['phase']}{percent}{note}")

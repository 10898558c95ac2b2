"""`trace` and `events`: what happened, in order, one line each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from provisioner.cli.answers import comes_back
from provisioner.cli.client import Client, pause
from provisioner.cli.complete import machine_names
from provisioner.cli.output import BOLD, CYAN, RED, print_data, print_next
from provisioner.cli.session import Session, colours, command
from provisioner.cli.text import Row, painted, printable, seconds_of
from provisioner.cli.typed import Count
from provisioner.cli.urls import quoted
from provisioner.errors import ApiError

POLL_S = 0.5
PAGE = 1000
GONE = 410
"""HTTP status of a cursor that nothing can be read on from."""


@command("trace")
@click.argument("name", metavar="MACHINE|MAC", shell_complete=machine_names)
@click.option("-f", "--follow", is_flag=True, help="Go on as it happens; Ctrl-C ends it.")
@click.option("--last", is_flag=True, help="Only the last run and what came after it.")
@click.option("--grep", "text", metavar="WORDS", default="", help="Only lines with this text, in any case.")
@click.option(
    "--channel",
    metavar="CHANNEL",
    default="",
    help="Only lines that were seen there: dhcp, tftp, http, bmc, agent, ...",
)
@click.option("--run", metavar="RUN", default="", help="Only lines of this run.")
@click.option("--troubles", is_flag=True, help="Only what was refused or went wrong.")
def trace(session: Session, name: str, follow: bool, last: bool, **only: Any) -> None:
    """Print a machine's journey, one line a step: DHCP, TFTP, HTTP, BMC, agent.

    The first column counts from the beginning of the run, the second is the time of day here, the third says where the
    step was seen. What was refused or went wrong is marked with "!". A MAC that belongs to no machine can be asked for.
    With -f, -o json prints one object a line, -o yaml one document each.
    """
    client = session.client()
    wanted = {"q": only["text"], "channel": only["channel"], "run": only["run"]}
    wanted |= {"troubles": "true"} if only["troubles"] else {}
    lines, after = _all(client, name, 0, wanted)
    if last:
        lines = _of_last_run(lines)
    if session.output in {"json", "yaml"} and not follow:
        print_data(session, lines)
        return
    writer = _Writer(session)
    for line in lines:
        writer.write(line)
    if not lines and not follow:
        seen = f"nothing was seen of {printable(name)} yet"
        session.note(f"nothing in the trace of {printable(name)} matches" if any(only.values()) else seen)
    while follow:
        pause(POLL_S)
        try:
            lines, after = _all(client, name, after, wanted)
        except ApiError as error:
            if getattr(error, "status", 0) != GONE:
                comes_back(error)
                continue  # it restarts; the cursor stays
            lines, after = _all(client, name, 0, wanted)  # a MAC that became a machine's: counted anew
        for line in lines:
            writer.write(line)


def _all(client: Client, name: str, after: int, wanted: dict[str, str]) -> tuple[list[Row], int]:
    """Read every line since `after` that is wanted."""
    found: list[Row] = []
    while True:
        page = client.get(f"/v1/machines/{quoted(name)}/trace", {**wanted, "after": after, "limit": PAGE})
        found += page["trace"]
        after = page["next"]
        if len(page["trace"]) < PAGE:
            return found, after


def _of_last_run(lines: list[Row]) -> list[Row]:
    runs = [line["run"] for line in lines if line["run"]]
    first = next((at for at, line in enumerate(lines) if runs and line["run"] == runs[-1]), len(lines))
    return lines[first:]


class _Writer:
    """Writes lines with the time since their run began."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._colour = colours()
        self._run = ""
        self._began: float | None = None

    def write(self, line: Row) -> None:
        if self._session.output in {"json", "yaml"}:
            print_next(self._session, line)
            return
        at = seconds_of(line["at"]) or 0.0
        if self._began is None or (line["run"] and line["run"] != self._run):
            self._begin(line, at)
        click.echo(f"{at - (self._began or at):+9.3f} {words(line, self._colour)}")

    def _begin(self, line: Row, at: float) -> None:
        if line["run"]:
            if self._began is not None:
                click.echo()
            click.echo(painted(f"run {printable(line['run'])}, {_clock(at, '%Y-%m-%d')}", BOLD if self._colour else ""))
        self._run, self._began = line["run"], at


def words(line: Row, colour: bool) -> str:
    """Put a line of a trace into words: time of day, channel, what happened."""
    mark = " " if line["ok"] else "!"
    channel = painted(f"{printable(line['channel']):<7}", CYAN if colour else "")
    text = painted(printable(line["text"]), RED if colour and not line["ok"] else "")
    return f"{_clock(seconds_of(line['at']) or 0.0)} {channel} {mark} {text}"


def _clock(at: float, form: str = "") -> str:
    local = datetime.fromtimestamp(at).astimezone()
    return local.strftime(form) if form else local.strftime("%H:%M:%S.%f")[:-3]


@command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on as it happens; Ctrl-C ends it.")
@click.option("--machine", metavar="MACHINE", default="", help="Only of this machine.", shell_complete=machine_names)
@click.option("--after", type=Count(min=0), default=0, help="Only what came after this number.")
def events(session: Session, follow: bool, machine: str, after: int) -> None:
    """Print the events of all machines in their order.

    Each has a number that is never used twice: a script keeps the last one and goes on with --after. -o json prints one
    object a line, -o yaml one document each.
    """
    client = session.client()
    source = client.events(after, machine) if follow else _pages(client, after, machine)
    for event in source:
        if session.output in {"json", "yaml"}:
            print_next(session, event)
        else:
            click.echo(_event(event))


def _pages(client: Client, after: int, machine: str) -> Iterator[Row]:
    while True:
        page = client.get("/v1/events", {"after": after, "limit": PAGE, "machine": machine})
        yield from page["events"]
        after = page["next"]
        if len(page["events"]) < PAGE:
            return


def _event(event: Row) -> str:
    at = seconds_of(event["at"]) or 0.0
    data = " ".join(f"{key}={_value(value)}" for key, value in event["data"].items())
    name = event["name"] or event["machine"]
    return printable(
        f"{event['seq']:>6} {_clock(at, '%Y-%m-%d')} {_clock(at)} {event['type']:<18} {name} {data}".rstrip()
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)

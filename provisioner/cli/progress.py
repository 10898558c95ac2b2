"""Wait for runs and show how far they are: bars on a terminal, a line for each phase elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from provisioner.cli.answers import comes_back
from provisioner.cli.client import Client, pause
from provisioner.cli.exits import Partly, WaitTimeout
from provisioner.cli.output import READ
from provisioner.cli.session import Session, is_terminal
from provisioner.cli.text import Row, printable, span
from provisioner.cli.wait import Ending, Waiting, share, where
from provisioner.errors import ApiError, ProvisionerError

POLL_S = 0.5
"""How often the daemon is asked: progress of a job is not an event, since it may be lost in a crash."""

Show = Callable[[Waiting, str], None]


def wait_for(session: Session, client: Client, runs: dict[str, str], timeout_s: float) -> ProvisionerError | None:
    """Wait until every run has ended; return what the command is to exit with when one did not succeed."""
    waiting = Waiting(runs)
    deadline = time.monotonic() + timeout_s
    try:
        with _display(session) as show:
            while True:
                trouble = _ask(client, waiting)
                show(waiting, trouble)
                if waiting.over:
                    break
                if time.monotonic() >= deadline:
                    raise WaitTimeout(_late(waiting, timeout_s), hint=_going_on(waiting.left))
                pause(POLL_S)
    except KeyboardInterrupt:
        click.echo(f"no longer waiting: {_going_on(waiting.left)}", err=True)
        raise
    return _conclusion(session, waiting)


def until_over(client: Client, machines: Sequence[Row]) -> Waiting:
    """Wait until the runs that machines are in have ended; return what is known of them then."""
    waiting = Waiting({machine["name"]: machine["run"]["id"] for machine in machines})
    while True:
        if waiting.left:
            _ask(client, waiting)
        if waiting.over:
            return waiting
        pause(POLL_S)


def _ask(client: Client, waiting: Waiting) -> str:
    """Read the machines anew. A daemon that is away is waited for; says so."""
    try:
        machines = client.machines(waiting.left)
    except ApiError as error:
        return comes_back(error)
    waiting.update(machines)
    return ""


def _conclusion(session: Session, waiting: Waiting) -> ProvisionerError | None:
    endings = [waiting.endings[name] for name in waiting.runs]
    failed = [ending for ending in endings if not ending.ok]
    for ending in endings:
        if ending.ok and session.output in READ:
            click.echo(ending.text)
    if not failed:
        return None
    if len(endings) == 1:
        return ApiError(failed[0].text)
    for ending in failed:
        click.echo(ending.text, err=True)
    message = f"{len(failed)} of {len(endings)} machines did not get there"
    return ApiError(message) if len(failed) == len(endings) else Partly(message)


def _late(waiting: Waiting, timeout_s: float) -> str:
    stand = ", ".join(
        f"{printable(name)} is in {where(row)}" for name, row in waiting.rows.items() if name in waiting.left
    )
    return f"not there after {span(timeout_s)}: {stand or ', '.join(waiting.left)}"


def _going_on(names: list[str]) -> str:
    if not names:
        return "nothing is under way"
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    verb, them = ("goes", "it") if len(names) == 1 else ("go", "them")
    cancel = (
        f"`provisionctl cancel {','.join(names)}` ends {them}" if len(names) <= 3 else "`provisionctl cancel` ends them"
    )
    return f"{some} {verb} on; `provisionctl trace -f {names[0]}` follows, {cancel}"


@contextmanager
def _display(session: Session) -> Iterator[Show]:
    if session.quiet:
        yield lambda waiting, trouble: None
    elif is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        with _bars() as show:
            yield show
    else:
        yield _lines()


def _lines() -> Show:
    """Print a line when a machine enters another phase: for logs and CI."""
    said: dict[str, str] = {}
    started = time.monotonic()

    def show(waiting: Waiting, trouble: str) -> None:
        stands = {printable(name): row["run"]["phase"] for name, row in waiting.rows.items() if row["run"]}
        for name, stand in (*stands.items(), ("", trouble)):
            if stand and said.get(name) != stand:
                words = [part for part in (span(time.monotonic() - started).rjust(6), name, stand) if part]
                click.echo("  ".join(words), err=True)
            said[name] = stand

    return show


@contextmanager
def _bars() -> Iterator[Show]:
    """Draw a bar for each machine."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[name]}", style="bold"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stand]}"),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        tasks: dict[str, TaskID] = {}

        def show(waiting: Waiting, trouble: str) -> None:
            for name in waiting.runs:
                if name not in tasks:
                    tasks[name] = progress.add_task("", total=1.0, name=escape(printable(name)), stand="")
                ending = waiting.endings.get(name)
                stand = _stand(ending, trouble or (where(waiting.rows[name]) if name in waiting.rows else ""))
                done = 1.0 if ending and ending.ok else share(waiting.rows.get(name, {}).get("run"))
                if ending and not ending.ok:
                    progress.stop_task(tasks[name])
                progress.update(tasks[name], completed=done, stand=stand)

        def _stand(ending: Ending | None, otherwise: str) -> str:
            if ending is None:
                return escape(otherwise)
            return "[green]done[/]" if ending.ok else "[red]failed[/]"

        yield show

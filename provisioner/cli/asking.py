"""What asks a person on a terminal before it touches machines in use, and `--yes`, which spares that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import click

from provisioner.cli.client import Client
from provisioner.cli.session import is_terminal
from provisioner.cli.text import Row, printable

YES = click.option("-y", "--yes", is_flag=True, help="Do not ask back.")
STOPS = "switches it off, whatever runs on it"
RESETS = "restarts it, whatever runs on it"
USED = frozenset({"active", "reserved", "rescue"})


def in_use(row: Row) -> bool:
    """Say whether somebody uses a machine: now, or as soon as its hold is over."""
    return row["state"] in USED or bool(row["hold"] and row["hold"]["return_to"] in USED)


def ask_back(client: Client, machines: Sequence[str], what: str, does: Callable[[], str]) -> Mapping[str, int]:
    """On a terminal, ask before that is done to a machine in use; a script has said what it wants.

    Returns the generation of each machine that was looked at, by name and id: what is done is done to that one only.
    """
    if not is_terminal(sys.stdin):
        return {}
    rows = client.machines(machines)
    used = [row for row in rows if in_use(row)]
    called = [f"{printable(row['name'])} ({printable(row['bootenv'] or row['state'])})" for row in used]
    _confirm(called, lambda: f"`{what}` {does()}")
    return {row[key]: row["generation"] for row in rows for key in ("name", "id")}


def ask_back_of(meant: Callable[[], Sequence[Row]], what: str) -> None:
    """Ask it of many at once; `what` says what will become of them, with {count}."""
    if is_terminal(sys.stdin):
        used = [printable(row["name"]) for row in meant() if in_use(row)]
        _confirm(used, lambda: what.format(count=len(used)))


def _confirm(used: Sequence[str], becomes: Callable[[], str]) -> None:
    if used:
        some = ", ".join(used[:5]) + (f" and {len(used) - 5} more" if used[5:] else "")
        click.confirm(f"{some}: in use; {becomes()}. Go on?", abort=True, err=True)

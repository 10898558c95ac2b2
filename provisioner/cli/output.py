"""Print what a command found, in the format that was asked for. Data goes to stdout, notes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from provisioner.cli.session import Session, colours, width_of
from provisioner.cli.text import Column, Row, folded, printable, table

READ = frozenset({"table", "wide"})
"""The formats that people read."""
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"


def print_rows(session: Session, rows: Sequence[Row], columns: Sequence[Column], *, empty: str) -> None:
    """Print a list. `empty` is said where there is nothing to list, on stderr.

    What names a row is what its first column that is kept shows: not everything has a name.
    """
    match session.output:
        case "json" | "yaml":
            print_data(session, list(rows))
        case "name":
            named = next((column for column in columns if column.keep), columns[0])
            for row in rows:
                click.echo(printable(named.value(row)))
        case _ if not rows:
            session.note(empty)
        case _:
            wide = session.output == "wide"
            shown = [column for column in columns if wide or not column.wide]
            for line in table(rows, shown, width=0 if wide else width_of(sys.stdout), colour=colours()):
                click.echo(line)


def print_one(session: Session, value: Row, words: Callable[[], Sequence[str]], *, name: str = "name") -> None:
    """Print one thing: `words` make the lines that people read, the field `name` says which one it is."""
    match session.output:
        case "json" | "yaml":
            print_data(session, value)
        case "name":
            click.echo(printable(value[name]))
        case _:
            print_lines(words())


def print_lines(lines: Iterable[str]) -> None:
    """Print what people read; on a terminal, folded at its words."""
    for line in lines:
        for part in folded(line, width_of(sys.stdout)):
            click.echo(part)


def print_changed(session: Session, names: Sequence[str], changed: Sequence[Row]) -> None:
    """Print as data what became of machines: where one was named that one, and nothing where it was refused."""
    match session.output:
        case "json" | "yaml" if len(names) > 1:
            print_data(session, list(changed))
        case "json" | "yaml":
            for one in changed:
                print_data(session, one)
        case "name":
            for one in changed:
                click.echo(printable(one["name"]))


def print_next(session: Session, value: Any) -> None:
    """Print one of many that come as they come: a line of JSON, or a document of YAML."""
    if session.output == "yaml":
        click.echo("---")
        print_data(session, value)
    else:
        click.echo(json.dumps(value, ensure_ascii=False))


def print_data(session: Session, value: Any) -> None:
    """Print a value of the API as it is."""
    if session.output == "yaml":
        from provisioner.yamlfile import dump

        click.echo(dump(value), nl=False)
    else:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

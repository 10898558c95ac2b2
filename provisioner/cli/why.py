"""`why`: what a machine waits for, or why it failed, in a sentence."""

from __future__ import annotations

import click

from provisioner.cli.complete import machine_names
from provisioner.cli.output import BOLD, print_data, print_lines
from provisioner.cli.session import Session, colours, command
from provisioner.cli.text import Row, painted, printable
from provisioner.cli.urls import quoted
from provisioner.cli.watch import words


@command("why")
@click.argument("name", metavar="MACHINE", shell_complete=machine_names)
def why(session: Session, name: str) -> None:
    """Say what a machine waits for, or why its last run failed, and what to do about it.

    Below the sentence stand the lines of its trace that speak for it, and what was tried. What fits no known fault is
    called unknown, with all that was seen. docs/diagnoses.md lists what can be told.
    """
    verdict = session.client().get(f"/v1/machines/{quoted(name)}/why")
    if session.output in {"json", "yaml"}:
        print_data(session, verdict)
        return
    print_lines(told(verdict, colour=colours()))


def told(verdict: Row, *, colour: bool = False) -> list[str]:
    """Put a verdict into lines."""
    lines = [painted(printable(verdict["text"]), BOLD if colour else "")]
    if verdict["todo"]:
        lines.append(f"what to do: {printable(verdict['todo'])}")
    if verdict["tried"]:
        lines += ["", "what was tried", *(f"  {printable(text)}" for text in verdict["tried"])]
    if verdict["evidence"]:
        lines += ["", "what was seen", *(f"  {words(line, colour)}" for line in verdict["evidence"])]
    return lines

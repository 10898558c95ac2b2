"""Do the same for several machines at once: one that refuses, or is slow, keeps no other from it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from provisioner.cli.exits import Exit, NoneDid, Partly, exit_of
from provisioner.cli.output import READ, print_changed
from provisioner.cli.session import Session, complain
from provisioner.cli.text import Row, error_lines, printable
from provisioner.errors import ProvisionerError

T = TypeVar("T")
AT_ONCE = 16
"""Requests under way: each may wait for a BMC, so one after the other a rack takes minutes."""


def for_each(names: Sequence[str], ask: Callable[[str], T], tell: Callable[[T], None]) -> ProvisionerError | None:
    """Ask for every machine, and tell of each, in their order; return what the command is to exit with, if not 0.

    Where there are several, a refusal is told on stderr, with what is at fault.
    """
    failures: list[ProvisionerError] = []
    for name, outcome in zip(names, outcomes(names, ask), strict=True):
        if not isinstance(outcome, ProvisionerError):
            tell(outcome)
            continue
        failures.append(outcome)
        if len(names) > 1:
            for line in error_lines(outcome, "" if _names(name, outcome.message) else f"{name}: "):
                complain(line)
    if not failures or len(names) == 1:
        return failures[0] if failures else None
    message = f"{len(failures)} of {len(names)} machines refused"
    if len(failures) < len(names):
        return Partly(message)
    statuses = {exit_of(failure) for failure in failures}
    return NoneDid(message, statuses.pop() if len(statuses) == 1 else Exit.FAILED)


def change_each(session: Session, names: Sequence[str], ask: Callable[[str], Row], how: Callable[[Row], str]) -> None:
    """Ask for every machine, and say how each is now, for people or as data; raise what the command is to exit with."""
    changed: list[Row] = []

    def tell(machine: Row) -> None:
        changed.append(machine)
        if session.output in READ:
            click.echo(f"{printable(machine['name'])} {how(machine)}")

    failure = for_each(names, ask, tell)
    print_changed(session, names, changed)
    if failure:
        raise failure


def _names(name: str, text: str) -> bool:
    """Tell whether a refusal says itself whose it is."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def outcomes(names: Sequence[str], ask: Callable[[str], T]) -> Iterator[T | ProvisionerError]:
    """Ask for every machine, some at a time; give what came of each, in their order. Who leaves (Ctrl-C) waits for none
    that is under way, and what is not asked for yet is not."""

    def asked(name: str) -> T | ProvisionerError:
        try:
            return ask(name)
        except ProvisionerError as error:
            return error

    if len(names) == 1:
        yield asked(names[0])
        return
    from concurrent.futures import Future

    found: list[Future[T | ProvisionerError]] = [Future() for _ in names]
    waiting = deque(zip(names, found, strict=True))

    def work() -> None:
        with contextlib.suppress(IndexError):  # nothing is left
            while True:
                answer(*waiting.popleft())

    def answer(name: str, future: Future[T | ProvisionerError]) -> None:
        try:
            future.set_result(asked(name))
        except Exception as error:  # noqa: BLE001  it is raised where it is asked for
            future.set_exception(error)

    for _ in range(min(AT_ONCE, len(names))):
        threading.Thread(target=work, daemon=True, name="asks").start()
    try:
        for future in found:
            yield future.result()
    finally:
        waiting.clear()

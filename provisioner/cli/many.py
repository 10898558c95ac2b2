"""Do the same for several machines at once: one that refuses, or is slow, keeps no other from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from provisioner.cli.exits import Exit, NoneDid, Partly, exit_of
from provisioner.cli.text import error_lines
from provisioner.errors import ProvisionerError

T = TypeVar("T")
AT_ONCE = 16
"""Requests under way: each may wait for a BMC, so one after the other a rack takes minutes."""


def for_each(names: Sequence[str], ask: Callable[[str], T], tell: Callable[[T], None]) -> ProvisionerError | None:
    """Ask for every machine, and tell of each, in their order; return what the command is to exit with, if not 0.

    Where there are several, a refusal is told on stderr, with what is at fault.
    """
    failures: list[ProvisionerError] = []
    for name, outcome in zip(names, _outcomes(names, ask), strict=True):
        if not isinstance(outcome, ProvisionerError):
            tell(outcome)
            continue
        failures.append(outcome)
        if len(names) > 1:
            for line in error_lines(outcome, "" if _names(name, outcome.message) else f"{name}: "):
                click.echo(line, err=True)
    if not failures or len(names) == 1:
        return failures[0] if failures else None
    message = f"{len(failures)} of {len(names)} machines refused"
    if len(failures) < len(names):
        return Partly(message)
    statuses = {exit_of(failure) for failure in failures}
    return NoneDid(message, statuses.pop() if len(statuses) == 1 else Exit.FAILED)


def _names(name: str, text: str) -> bool:
    """Tell whether a refusal says itself whose it is."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _outcomes(names: Sequence[str], ask: Callable[[str], T]) -> Iterator[T | ProvisionerError]:
    def asked(name: str) -> T | ProvisionerError:
        try:
            return ask(name)
        except ProvisionerError as error:
            return error

    if len(names) == 1:
        yield asked(names[0])
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as pool:
        try:
            yield from pool.map(asked, names)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C: what is not asked for yet is not

"""What is typed, where a reader of ours reads it: what that refuses is wrong usage. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from provisioner.cli.complete import machine_names
from provisioner.errors import ConfigError
from provisioner.model.names import expand

T = TypeVar("T")


class Count(click.IntRange):
    """A whole number within bounds, called a number where it is none."""

    name = "number"


class Number(click.FloatRange):
    """Any number within bounds."""

    name = "number"


def pair_of(text: str) -> tuple[str, str]:
    """Read NAME=VALUE; raise `ConfigError`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text!r}: not NAME=VALUE")
    return name, value


def reads(read: Callable[[Any], T]) -> Callable[[click.Context, click.Parameter, Any], T | None]:
    """Make a callback that has an option or argument read; one that is not given stays None."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> T | None:
        try:
            return None if value is None else read(value)
        except ConfigError as error:
            text = "; ".join(error.faults) or error.message
            raise click.BadParameter(f"{text}; {error.hint}" if error.hint else text, ctx, param) from error

    return callback


MACHINES = click.argument(
    "machines", metavar="MACHINE[,MACHINE...]", callback=reads(expand), shell_complete=machine_names
)
"""Machines by name: `node17,node18`, `node[01-20]`."""

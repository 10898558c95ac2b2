"""Names for the shell's completion. A daemon that does not answer costs nothing but the names."""

from __future__ import annotations

import click

from provisioner.cli.session import session_of
from provisioner.errors import ProvisionerError


def machine_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of machines, after commas too."""
    done, comma, begun = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in _names(ctx, "machines") if name.startswith(begun)]


def bootenv_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of bootenvs."""
    return [name for name in _names(ctx, "bootenvs") if name.startswith(incomplete)]


def _names(ctx: click.Context, kind: str) -> list[str]:
    session = session_of(ctx)
    session.quiet = True
    try:
        return [str(row["name"]) for row in session.client().get(f"/v1/{kind}")[kind]]
    except (ProvisionerError, click.ClickException):
        return []

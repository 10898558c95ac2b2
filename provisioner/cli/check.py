"""`check`: read everything that the daemon would read, start nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from provisioner import config as configuration
from provisioner.catalog.load import Catalog
from provisioner.cli.session import Session, command
from provisioner.discovery.profiles import load_profiles
from provisioner.errors import ConfigError
from provisioner.workflow.load import load_workflows


@command("check")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=configuration.DEFAULT_PATH,
    show_default=True,
    help="The daemon's configuration.",
)
def check(session: Session, path: Path) -> None:
    """Check the configuration, the bootenvs, the templates, the hardware profiles and the workflows.

    Reads all that the daemon would read and starts nothing. Every fault is told with its file and line; exit status 0
    means that `provisionerd` will take it.
    """
    config = configuration.load(path)
    folders = [Path(folder) for folder in config.catalogue.paths]
    faults = _faults(lambda: Catalog.load(folders)) + _faults(lambda: load_profiles(folders))
    faults += _faults(lambda: load_workflows(folders))
    if faults:
        raise ConfigError("what can be booted is not in order", faults=faults)
    session.note(f"{path} and what can be booted are in order")


def _faults(read: Callable[[], Any]) -> list[str]:
    try:
        read()
    except ConfigError as error:
        return list(error.faults) or [error.message]
    return []

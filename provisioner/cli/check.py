"""`check`: read everything that the daemon would read, start nothing."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner import config as configuration
from provisioner.cli.session import Session, command


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
    means that `provisionerd` will take it, where its user may read what root may. What it takes and you may not have
    meant is a warning.
    """
    from provisioner import premises

    written = configuration.read(path)
    premises.check(written, catalogue=True)
    for doubt in premises.doubts(written):
        session.note(f"warning: {doubt}")
    session.note(f"{path} and what can be booted are in order")

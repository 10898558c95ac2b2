"""`backup`: copy the state directory of a daemon, running or not, into a new folder."""

from __future__ import annotations

import time
from pathlib import Path

import click

from provisioner import config as configuration
from provisioner.cli.session import Session, command
from provisioner.cli.text import size


@command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The daemon's configuration, which says where its state is (default: {configuration.DEFAULT_PATH}).",
)
@click.option("--without-key", is_flag=True, help="Leave out secrets.key; keep that elsewhere, passwords need it.")
def backup(session: Session, folder: Path, path: Path | None, without_key: bool) -> None:
    """Copy what cannot be made again into FOLDER, which is new; the daemon may run meanwhile.

    That is the database, the key of its secrets, certificates, and what was applied from a directory. Nothing is under
    way in a backup: a daemon that is started from one takes up no install that was begun before it (docs/backup.md).
    """
    from provisioner import backups

    there = path or configuration.default_path()
    config = configuration.load(there) if there else configuration.Config()
    made = backups.write(config, folder, time.time(), key=not without_key)
    session.note(f"{folder}: {', '.join(made.parts)}; {size(made.size_bytes)}")
    under_way = [f"{count} {name}" for name, count in made.stopped._asdict().items() if count]
    if under_way:
        session.note(f"under way now, and stopped in the backup: {', '.join(under_way)}")
    session.note(f"not in it: artifacts, mirror, consoles of {config.state_dir}")

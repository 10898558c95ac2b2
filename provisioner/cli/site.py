"""`bootenvs`, `info`, `completion`: what the daemon has, and help for the shell."""

from __future__ import annotations

import os
from pathlib import Path

import click

from provisioner.cli.output import GREEN, YELLOW, print_one, print_rows
from provisioner.cli.session import Session, command
from provisioner.cli.text import Column, listing
from provisioner.errors import ConfigError

COLUMNS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("TITLE", lambda row: row["title"]),
    Column("KIND", lambda row: row["kind"]),
    Column("ARCH", lambda row: ",".join(row["arch"])),
    Column(
        "ARTEFACTS",
        lambda row: "here" if row["ready"] else f"{len(row['missing'])} missing",
        style=lambda row: GREEN if row["ready"] else YELLOW,
    ),
    Column("TESTED", lambda row: "yes" if row["tested"] else "never"),
    Column("WHERE", lambda row: row["tested"], wide=True),
    Column("ALIASES", lambda row: ",".join(row["aliases"]), wide=True),
    Column("MISSING", lambda row: "; ".join(row["missing"]), wide=True),
)


@command("bootenvs")
def bootenvs(session: Session) -> None:
    """List what machines can boot.

    ARTEFACTS says whether kernel, images and so on are here; -o wide shows what is missing and the command that gets
    it. TESTED says whether those who ship it have booted it, and there, where.
    """
    rows = session.client().get("/v1/bootenvs")["bootenvs"]
    print_rows(session, rows, COLUMNS, empty="no bootenvs")


@command("info")
def info(session: Session) -> None:
    """Show which daemon answers, its version, and where it listens."""
    client = session.client()
    found = client.get("/v1/info")
    pairs = [("daemon", f"{found['name']} {found['version']} at {client.server}")]
    pairs += [(item["service"], item["address"]) for item in found["listeners"]]
    print_one(session, found, lambda: listing(pairs))


RC_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/provisionctl.fish"}


@command("completion")
@click.argument("shell", type=click.Choice(sorted(RC_FILES)), default=lambda: Path(os.environ.get("SHELL", "")).name)
def completion(session: Session, shell: str) -> None:
    """Print what makes the shell complete commands, machines and bootenvs.

    \b
      provisionctl completion bash > /etc/bash_completion.d/provisionctl
      provisionctl completion zsh  >> ~/.zshrc
      provisionctl completion fish > ~/.config/fish/completions/provisionctl.fish
    """
    from click.shell_completion import get_completion_class

    from provisioner.cli.root import root

    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigError(f"no completion for {shell}")
    click.echo(kind(root, {}, "provisionctl", "_PROVISIONCTL_COMPLETE").source())
    session.note(f"# for every new shell: put this into {RC_FILES[shell]}")

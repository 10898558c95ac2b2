"""`provisionctl ca`: the certificate that firmware and loaders have to trust, in the forms that they take."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from provisioner.boot.trust import FORMATS
from provisioner.cli.output import print_one
from provisioner.cli.session import Group, Session, command
from provisioner.cli.text import listing


@click.group(cls=Group)
def ca() -> None:
    """Show the daemon's own CA, and write its certificate for firmware that is to trust it (docs/hardware.md)."""


@command("show")
def show(session: Session) -> None:
    """Show the certificate of the daemon's CA: its fingerprint (SHA-256), how long it is good, and where it is used."""
    row = session.client().get("/v1/ca")
    shown = [("sha256", row["sha256"]), ("until", row["until"]), ("tls port", str(row["tls_port"]))]
    print_one(session, row, lambda: listing(shown), name="sha256")


@command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(FORMATS)),
    default="pem",
    show_default=True,
    help="pem or der for setup menus, boards and `make TRUST=`; esl, an EFI signature list, for a variable.",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("-"))
def export(session: Session, form: str, file: Path) -> None:
    """Write the certificate of the daemon's CA to FILE, or to stdout. The CA's key never leaves the daemon.

    \b
      provisionctl ca export --format der /boot/efi/ca.cer
      provisionctl ca export --format esl ca.esl
    """
    content = FORMATS[form](session.client().get("/v1/ca")["pem"])
    if str(file) == "-":
        sys.stdout.buffer.write(content)
    else:
        file.write_bytes(content)
    session.note(f"{len(content)} octets, {form}")


ca.add_command(show)
ca.add_command(export)

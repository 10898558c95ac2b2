"""`provisionctl loaders`: the boot loaders that are served, with version and checksum."""

from __future__ import annotations

import click

from provisioner.cli.local import artifact_client
from provisioner.cli.output import print_rows
from provisioner.cli.session import Group, Session, command
from provisioner.cli.text import Column, size

COLUMNS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("SIZE", lambda row: size(row["size_bytes"]), right=True),
    Column("SHA256", lambda row: row["sha256"][:12]),
    Column("ORIGIN", lambda row: row["origin"]),
    Column("DIGEST", lambda row: row["sha256"], wide=True),
)
NONE = "no boot loader found: `apt install ipxe`, or name a directory of your own (catalogue.loaders)"


@click.group(cls=Group)
def loaders() -> None:
    """List and refresh boot loaders."""


@command("list")
def list_loaders(session: Session) -> None:
    """List the loaders that are served."""
    with artifact_client(session) as client:
        print_rows(session, client.get("/v1/loaders")["loaders"], COLUMNS, empty=NONE)


@command("install")
@click.option("--fetch", multiple=True, metavar="ARCH", help="Download Debian's packages first: amd64, arm64.")
def install(session: Session, fetch: tuple[str, ...]) -> None:
    """Look for loaders anew, after a package was installed or upgraded, and serve these from now on.

    They are copied: an upgrade of a package changes nothing under a machine that is booting. Your own directories
    (catalogue.loaders) come before packages. --fetch unpacks packages without installing them: for another
    architecture, or where you are not root.
    """
    with artifact_client(session) as client:
        rows = client.post("/v1/loaders/install", {"fetch": list(fetch)}, slow=True)["loaders"]
        print_rows(session, rows, COLUMNS, empty=NONE)


loaders.add_command(list_loaders)
loaders.add_command(install)

"""`provisionctl artifacts`: what machines boot, fetched, given, listed, checked and removed."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from provisioner.cli.complete import bootenv_names
from provisioner.cli.local import artifact_client
from provisioner.cli.output import print_rows
from provisioner.cli.sending import length_of
from provisioner.cli.session import Group, Session, command, is_terminal
from provisioner.cli.text import Column, Row, age, printable, seconds_of, size
from provisioner.cli.typed import reads
from provisioner.cli.urls import query_of, quoted
from provisioner.errors import ArtifactError, ConfigError

COLUMNS = (
    Column("ARTEFACT", lambda row: row["name"], keep=True),
    Column("SIZE", lambda row: size(row["size_bytes"]), right=True),
    Column("SHA256", lambda row: row["sha256"][:12]),
    Column("ORIGIN", lambda row: row["origin"]),
    Column(
        "AGE", lambda row: age(None if (at := seconds_of(row["stored_at"])) is None else time.time() - at), right=True
    ),
    Column("DIGEST", lambda row: row["sha256"], wide=True),
)


@click.group(cls=Group)
def artifacts() -> None:
    """Fetch, import and list kernels and images.

    Without a daemon they are kept in the state directory all the same; the daemon serves them once it runs.
    """


@command("list")
def list_artifacts(session: Session) -> None:
    """List what is in store, with where it came from and why it is believed."""
    with artifact_client(session) as client:
        rows = client.get("/v1/artifacts")["artifacts"]
    print_rows(session, rows, COLUMNS, empty="nothing in store yet: `provisionctl artifacts fetch BOOTENV`")


@command("fetch")
@click.argument("bootenv", shell_complete=bootenv_names)
@click.option("--arch", metavar="ARCH", default="", help="amd64, arm64, or all (default: amd64 where there is one).")
@click.option("--again", is_flag=True, help="Fetch what is there already, too.")
@click.option("--unverified", is_flag=True, help="Take what neither a hash nor a signature vouches for.")
def fetch(session: Session, bootenv: str, arch: str, again: bool, unverified: bool) -> None:
    """Fetch what BOOTENV needs and the store has not.

    Downloads go on where they stopped. Each file is checked against the SHA-256 that the bootenv pins, or the vendor's
    checksums and their signature; it is served only once it is whole and checked. Kernels are taken out of their images
    without mounting them.
    """
    body = {"bootenv": bootenv, "arch": arch, "again": again, "unverified": unverified}
    show = _Bar(session)
    stored: list[Row] = []
    with artifact_client(session) as client:
        for event in client.lines("/v1/artifacts/fetch", body):
            if event["event"] == "stored":
                stored.append(event)
                show.clear()
                session.note(f"{printable(event['name'])}  {size(event['size_bytes'])}  {printable(event['origin'])}")
            elif event["event"] == "note":
                show.clear()
                session.note(printable(event["text"]))
            elif event["event"] == "progress":
                show.progress(event)
    show.clear()
    if session.output in {"json", "yaml", "name"}:
        print_rows(session, stored, COLUMNS, empty="")
    elif not stored:
        session.note(f"{bootenv}: nothing was missing that can be fetched")


class _Bar:
    """One line about a download, redrawn in place on a terminal."""

    def __init__(self, session: Session) -> None:
        self._shown = not session.quiet and is_terminal(sys.stderr)

    def progress(self, event: Row) -> None:
        """Redraw the line."""
        if not self._shown:
            return
        done, total = event["done"], event["total"]
        share = f" of {size(total)}, {100 * done / total:.0f} %" if total else ""
        click.echo(f"\r\x1b[K{printable(event['url'].rpartition('/')[2])}  {size(done)}{share}", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def artifact_of(text: str) -> str:
    """Read BOOTENV/[ARCH/]NAME, and give it whole; raise `ConfigError`."""
    parts = text.split("/")
    if len(parts) == 2:
        parts.insert(1, "amd64")
    if len(parts) != 3 or not all(parts):
        raise ConfigError(f"{text!r}: not BOOTENV/NAME or BOOTENV/ARCH/NAME", hint="such as discovery/vmlinuz")
    return "/".join(parts)


@command("import")
@click.argument("artifact", metavar="BOOTENV/[ARCH/]NAME", callback=reads(artifact_of))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--sha256", metavar="SHA256", default="", help="The SHA-256 that it must have.")
@click.option(
    "--origin", metavar="WHERE", default="", help="Where it came from, for the list (default: the file's name)."
)
def import_file(session: Session, artifact: str, file: Path, sha256: str, origin: str) -> None:
    """Give the store a FILE as artefact of a bootenv; ARCH is amd64 where it is left out.

    \b
      provisionctl artifacts import discovery/vmlinuz ./vmlinuz
    """
    length_of(file)  # a pipe is refused before it is opened, which would wait for who writes to it
    with (
        _converted(session, artifact, file, sha256) as (chosen, expected),
        chosen.open("rb") as content,
        artifact_client(session) as client,
    ):
        query = {"origin": origin or f"file {file.name}"} | ({"sha256": expected} if expected else {})
        row = client.send(f"/v1/artifacts/{quoted(artifact, safe='/')}", content, length_of(chosen), query)
    print_rows(session, [row], COLUMNS, empty="")


@contextlib.contextmanager
def _converted(session: Session, artifact: str, file: Path, sha256: str) -> Iterator[tuple[Path, str]]:
    """The file and its hash, or what a qcow2 image becomes where the artefact is a disk packed with zstd."""
    from provisioner.catalog.convert import is_qcow2, to_zstd

    if not is_qcow2(file):
        yield file, sha256
        return
    if not artifact.endswith(".zst"):
        text = f"{file}: a qcow2 image; machines are given disks as they are"
        raise ArtifactError(text, hint="import it as BOOTENV/NAME.raw.zst")
    with file.open("rb") as image:
        found = hashlib.file_digest(image, "sha256").hexdigest() if sha256 else ""
    if found != sha256:
        raise ArtifactError(f"{file}: its SHA-256 is {found}, it should be {sha256}")
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=file.resolve().parent) as folder:
        session.note(f"{file}: qcow2, converting")
        to_zstd(file, Path(folder) / "disk.zst")
        yield Path(folder) / "disk.zst", ""


@click.group(cls=Group)
def bundle() -> None:
    """Carry artefacts to a site that no vendor's server can be reached from: one file, checked whole."""


@command("create")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("bootenvs", metavar="BOOTENV...", nargs=-1, required=True, shell_complete=bootenv_names)
@click.option("--arch", metavar="ARCH", default="", help="amd64, arm64, or all (default: amd64 where there is one).")
def bundle_create(session: Session, file: Path, bootenvs: tuple[str, ...], arch: str) -> None:
    """Write what is in store of BOOTENVs to FILE: a tar archive with a manifest and each content under its SHA-256.

    \b
      provisionctl artifacts bundle create site.tar discovery debian-12
    """
    query = query_of([("bootenv", name) for name in bootenvs] + ([("arch", arch)] if arch else []))
    partial = file.with_name(f"{file.name}.part")
    with artifact_client(session) as client, contextlib.closing(client.open("GET", f"/v1/bundle?{query}")) as answer:
        announced = int(answer.headers["Content-Length"])
        try:
            out = partial.open("wb")
        except OSError as error:
            raise ArtifactError(f"{file}: cannot be written: {error.strerror}") from error
        with out:
            try:
                shutil.copyfileobj(answer, out, 1 << 20)
                done = out.tell()
            except (ConnectionError, http.client.HTTPException) as error:
                raise ArtifactError(f"{partial}: {error}", hint="the daemon's log says why it ended") from error
            except OSError as error:
                raise ArtifactError(f"{partial}: cannot be written: {error.strerror}") from error
    if done != announced:
        raise ArtifactError(f"{partial}: {done} of {announced} bytes came", hint="the daemon's log says why it ended")
    partial.replace(file)
    session.note(f"{file}: {size(done)}")


@command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def bundle_import(session: Session, file: Path) -> None:
    """Take what the bundle FILE holds into the store. Every content is hashed; when one is wrong, nothing is taken.

    What no bootenv here has is taken, too, and said: the catalogue that has it may come later.
    """
    length = length_of(file)
    with file.open("rb") as content, artifact_client(session) as client:
        taken = client.send("/v1/bundle", content, length, {})
    print_rows(session, taken["artifacts"], COLUMNS, empty="")
    for note in taken["notes"]:
        session.note(printable(note))


for verb in (bundle_create, bundle_import):
    bundle.add_command(verb)


@command("remove")
@click.argument("artifact", metavar="BOOTENV[/ARCH[/NAME]]")
def remove(session: Session, artifact: str) -> None:
    """Remove artefacts: all of a bootenv, of one architecture, or one of them. Refused while a machine boots it."""
    with artifact_client(session) as client:
        gone: Any = client.delete(f"/v1/artifacts/{quoted(artifact.strip('/'), safe='/')}")
    print_rows(session, gone["removed"], COLUMNS, empty="")


@command("verify")
def verify(session: Session) -> None:
    """Read all content again. What is damaged is served no more; fetching it again mends it."""
    with artifact_client(session) as client:
        damaged = client.post("/v1/artifacts/verify", slow=True)["damaged"]
    print_rows(session, damaged, COLUMNS, empty="all artefacts are whole")
    if damaged:
        raise ArtifactError(f"{len(damaged)} damaged", hint="`provisionctl artifacts fetch BOOTENV` gets them again")


for verb in (list_artifacts, fetch, import_file, remove, verify):
    artifacts.add_command(verb)
artifacts.add_command(bundle)

"""`lint`: every bootenv rendered for every kind of machine, and validated by those who will read it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from provisioner.catalog.lint import Linter
from provisioner.catalog.load import Catalog
from provisioner.catalog.proving import Proof, Report, Tell, prove
from provisioner.cli.output import GREEN, RED, YELLOW, print_data, print_rows
from provisioner.cli.session import Session, command, is_terminal
from provisioner.cli.text import Column, Row
from provisioner.discovery.profiles import load_profiles
from provisioner.errors import CatalogError, ConfigError
from provisioner.workflow.load import load_workflows

COLUMNS = (
    Column("BOOTENV", lambda row: row["name"], keep=True),
    Column("MACHINES", lambda row: f"{len(row['taken'])} of {len(row['taken']) + len(row['refused'])}", right=True),
    Column("FILES", lambda row: row["files"], right=True),
    Column(
        "BOOTED",
        lambda row: "; ".join(_booted(row)),
        style=lambda row: GREEN if row["tested"] else YELLOW,
    ),
    Column(
        "NOT FOR",
        lambda row: "; ".join(f"{name}: {why}" for name, why in row["refused"].items()),
        wide=True,
        style=lambda row: "" if row["taken"] else RED,
    ),
)


@command("lint")
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--only", multiple=True, metavar="BOOTENV", help="This bootenv; repeatable.")
@click.option("--strict", is_flag=True, help="A validator that is not installed is a fault, too.")
def lint(session: Session, folders: Sequence[Path], only: Sequence[str], strict: bool) -> None:
    """Render every bootenv for every kind of machine, and have the result validated.

    DIR is a site's catalogue, which is read on top of ours (default: those of the daemon's configuration, if there is
    one). Files are rendered for the sample machines and for each profile and role of the site, and go to the systems'
    own validators: shellcheck, ksvalidator, debconf-set-selections, ignition-validate, cloud-init's schema; XML goes
    to xmllint, which asks no schema, and to our own shapes.
    Those that are not installed are named. No daemon is needed. Exit status 1 where anything is wrong.

    \b
      provisionctl lint
      provisionctl lint /srv/catalogue --strict
      provisionctl lint --only debian-12-installer -o json
    """
    report = Report()
    try:
        catalog = Catalog.load(paths := _folders(folders))
        load_profiles(paths)
        load_workflows(paths)
    except CatalogError as error:
        report.verdict.faults += error.faults or [error.message]
    else:
        with _progress(session) as tell:
            report = prove(catalog, Linter(), only=only, tell=tell)
    missing = sorted(report.verdict.missing)
    if strict:
        report.verdict.faults += [f"{name} is not installed" for name in missing]
    _show(session, report, missing)
    if not report.ok:
        raise ConfigError("the catalogue is not in order", faults=report.verdict.faults)


def _folders(given: Sequence[Path]) -> list[Path]:
    """Say which directories are meant."""
    from provisioner import config as configuration

    if given or (default := configuration.default_path()) is None:
        return list(given)
    return [Path(path) for path in configuration.load(default).catalogue.paths]


def _show(session: Session, report: Report, missing: Sequence[str]) -> None:
    rows = [_row(proof) for proof in report.proofs]
    if session.output in {"json", "yaml"}:
        verdict = report.verdict
        head = {"ok": report.ok, "bootenvs": rows, "texts": report.texts, "faults": verdict.faults}
        print_data(session, head | {"asked": sorted(verdict.asked), "missing": missing})
        return
    print_rows(session, rows, COLUMNS, empty="nothing was rendered")
    if report.verdict.asked:
        session.note(f"{report.texts} different files, validated by {', '.join(sorted(report.verdict.asked))}")
    for name in missing:
        session.note(f"not asked, since it is not installed: {name}")


def _booted(row: Row) -> Iterator[str]:
    if row["tested"]:
        yield row["tested"]
    if row["untested"] or not row["tested"]:
        yield f"untested: {row['untested'] or 'nobody has booted it yet'}"


def _row(proof: Proof) -> Row:
    bootenv = proof.bootenv
    return {
        "name": bootenv.name,
        "taken": proof.taken,
        "refused": proof.refused,
        "files": proof.files,
        "tested": bootenv.tested,
        "untested": bootenv.untested,
    }


@contextmanager
def _progress(session: Session) -> Iterator[Tell]:
    """Show a bar where people watch; elsewhere nothing, since what counts is what comes out."""
    if session.quiet or not is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: tuple[Any, ...] = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as progress:
        task = progress.add_task("", total=None)

        def tell(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        shown: Callable[[int, int, str], None] = tell
        yield shown

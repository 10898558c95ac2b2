"""`plan` and `apply`: a directory of machines and a catalogue, under Git or not, brought to the daemon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from provisioner.cli.client import LONG_S
from provisioner.cli.exits import ApiProblem
from provisioner.cli.folder import body_of
from provisioner.cli.output import READ, print_data
from provisioner.cli.session import Session, command, is_terminal
from provisioner.cli.text import Row, printable
from provisioner.errors import ApiError, ConfigError

GIT_S = 20.0
SIGNS = {"create": "+", "change": "~", "forget": "-", "left": " "}

_DIR = click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
_PRUNE = click.option("--prune", is_flag=True, help="Forget machines that were declared before and are no more.")


@command("plan")
@_DIR
@_PRUNE
def plan(session: Session, folder: Path, prune: bool) -> None:
    """Show what `apply` would change; nothing is changed.

    DIR (default: the current directory) has machines/*.yaml and, where the site has bootenvs of its own, bootenvs/ and
    templates/. The catalogue is read whole as the daemon would; what is wrong with it, or with a machine, is listed.
    Exit status 1 where an apply would be refused.
    """
    planned = session.client().post("/v1/site/plan", _body(session, folder, prune), slow=True)
    if session.output in {"json", "yaml"}:
        print_data(session, planned)
    else:
        _show(session, planned)
    if planned["faults"]:
        raise ConfigError("this would be refused", faults=planned["faults"])


@command("apply")
@_DIR
@_PRUNE
@click.option("--no-verify", is_flag=True, help="Do not log in to BMCs that are new.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask back.")
def apply(session: Session, folder: Path, prune: bool, no_verify: bool, yes: bool) -> None:
    """Bring the daemon to what a directory says: machines and catalogue, all of it or nothing.

    What is wrong anywhere (a template, a parameter, a secret that cannot be had, a BMC that does not let us in) is
    told, and the running catalogue and all machines stay as they are. The Git revision is recorded with it.

    \b
      provisionctl plan /srv/site
      provisionctl apply /srv/site -y
    """
    body, client = _body(session, folder, prune) | {"verify": not no_verify}, session.client()
    planned = client.post("/v1/site/plan", body, slow=True)
    if planned["faults"]:
        raise ConfigError("nothing was applied", faults=planned["faults"])
    changes = bool(planned["catalogue"] or any(each["what"] != "left" for each in planned["machines"]))
    if session.output in READ:
        _show(session, planned)
    if changes and not yes and is_terminal(sys.stdin):
        click.confirm("Apply this?", abort=True, err=True)
    try:  # it logs in to the BMC of every new machine; the daemon brings to its end what it was told in any case
        done = client.post("/v1/site/apply", {**body, "after": planned["base"]["seq"]}, slow=True, takes_s=LONG_S)
    except ApiProblem:
        raise
    except ApiError as error:
        hint = "it may have been applied: `provisionctl plan` shows what is left"
        raise ApiError(error.message, hint=hint) from error
    if session.output in {"json", "yaml"}:
        print_data(session, done)
    revision = f" of revision {printable(done['revision'])}" if done["revision"] else ""
    session.note(f"applied{revision}; it is number {done['applied']['seq']}")


def _show(session: Session, planned: Row) -> None:
    base = planned["base"]
    if base["seq"]:
        before = f"revision {base['revision']}" if base["revision"] else "no revision"
        session.note(printable(f"applied before: {before}, {base['at']}"))
    for fault in planned["lacking"]:
        session.note(printable(f"what was applied is not in use: {fault}"))
    if planned["revision"]:
        session.note(printable(f"this is revision {planned['revision']}"))
    for line in planned["catalogue"]:
        click.echo(printable(f"~ {line}"))
    for machine in planned["machines"]:
        click.echo(printable(f"{SIGNS[machine['what']]} machine {machine['name']}: {machine['what']}"))
        for line in machine["lines"]:
            click.echo(printable(f"    {line}"))
    if not planned["catalogue"] and not planned["machines"]:
        session.note("nothing differs")


def _body(session: Session, folder: Path, prune: bool) -> dict[str, Any]:
    return body_of(folder, revision_of(folder, session.note), prune=prune)


class _NotTold(Exception):
    """Git gave no answer; says why."""


def revision_of(folder: Path, note: Callable[[str], None]) -> str:
    """Name the Git revision of a work tree, with `+changes` where files differ from it; empty where there is none.

    What git does not tell is no answer: `+unknown` stands for whether files differ, and `note` is told why.
    """
    place = folder.resolve()
    if not any((each / ".git").exists() for each in (place, *place.parents)):
        return ""
    revision = ""
    try:
        revision = _git(folder, "rev-parse", "--verify", "HEAD")
        return revision + ("+changes" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except _NotTold as error:
        what = "whether files differ from the revision is not known" if revision else "no revision is recorded"
        note(printable(f"{folder}: {what}: {error}"))
        return f"{revision}+unknown" if revision else ""


def _git(folder: Path, *args: str) -> str:
    """Ask git, which leaves the index of somebody's work tree as it is; raise `_NotTold`."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *args],
            capture_output=True, text=True, errors="replace", timeout=GIT_S, check=False,
        )  # fmt: skip
    except OSError as error:
        raise _NotTold(f"git: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise _NotTold(f"git did not answer within {GIT_S:.0f} s") from error
    if done.returncode != 0:
        raise _NotTold(" ".join(done.stderr.split()))
    return done.stdout.strip()

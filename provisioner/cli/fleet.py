"""`rollout`, `rollouts`, `rollout-pause`, `-resume`, `-abort`: one operating system onto many machines."""

from __future__ import annotations

import uuid
from typing import Any

import click

from provisioner.cli.asking import ask_back_of
from provisioner.cli.boot import waits
from provisioner.cli.complete import bootenv_names
from provisioner.cli.following import STYLES, Followed, of, since, total
from provisioner.cli.machines import state_style
from provisioner.cli.output import RED, print_rows
from provisioner.cli.session import Session, command
from provisioner.cli.text import Column, Row
from provisioner.cli.typed import Count

ROLLOUTS = Followed("rollout", "/v1/rollouts", ("status",), "rollouts", "rollout-abort")


COLUMNS = (
    Column("ROLLOUT", lambda row: row["id"], keep=True),
    Column("BOOTENV", lambda row: row["bootenv"]),
    Column("STATUS", lambda row: row["status"], style=lambda row: STYLES[row["status"]]),
    Column("DONE", lambda row: f"{of(row, 'done')}/{total(row)}", right=True),
    Column("RUNNING", lambda row: of(row, "starting", "running"), right=True),
    Column("FAILED", lambda row: of(row, "failed"), right=True, style=lambda row: RED if of(row, "failed") else ""),
    Column("AGE", since, right=True),
    Column("SELECT", lambda row: row["select"]),
    Column("WHY", lambda row: row["reason"]),
)
MEANT = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("STATE", lambda row: row["state"], style=state_style),
    Column("BOOTENV", lambda row: row["bootenv"]),
)
MEMBERS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("STAGE", lambda row: row["stage"], style=lambda row: STYLES.get(row["stage"], "")),
    Column("RUN", lambda row: row["run"]),
    Column("WHY", lambda row: row["reason"]),
)


@command("rollout")
@click.argument("bootenv", shell_complete=bootenv_names)
@click.option(
    "--select", "-l", required=True, metavar="SELECTOR", help="Which machines, such as rack=r1,!state=active."
)
@click.option("--at-once", type=Count(1), default=4, show_default=True, help="Machines under way at once.")
@click.option(
    "--max-failures",
    type=Count(0),
    default=0,
    show_default=True,
    help="Machines that may fail before it pauses itself.",
)
@click.option("--plan", is_flag=True, help="Say which machines are meant, and touch nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask back.")
@waits
def rollout(session: Session, bootenv: str, select: str, **given: Any) -> None:
    """Install BOOTENV on all machines that --select means, some at a time.

    When more than --max-failures machines failed, no further one is begun and the rollout is paused; what is under way
    goes on. The daemon carries it out: it goes on when this command ends, and when the daemon restarts.

    A selector is a list of terms: names and ranges add up, fields and tags narrow, "!" turns a term round.

    \b
      provisionctl rollout ubuntu-24.04 -l rack=r1 --at-once 4 --max-failures 2
      provisionctl rollout debian-12 -l 'node[01-40],!state=active' --plan
    """
    client = session.client()
    body = {"bootenv": bootenv, "select": select, "at_once": given["at_once"], "max_failures": given["max_failures"]}
    if given["plan"]:
        client.post("/v1/rollouts/plan", body)  # refused as the rollout would be
    meant = client.get("/v1/machines", {"select": select})["machines"]
    if given["plan"]:
        print_rows(session, meant, MEANT, empty="")
        session.note(f"{len(meant)} machines, {given['at_once']} at once; nothing was touched")
        return
    if not given["yes"]:
        ask_back_of(lambda: meant, f"`rollout {bootenv}` destroys what is on {{count}} disks")
    begun: Row = client.post("/v1/rollouts", body, key=str(uuid.uuid4()))
    if given["wait"]:
        begun = ROLLOUTS.wait(session, client, begun, given["timeout"])
    ROLLOUTS.show(session, begun)
    if given["wait"]:
        ROLLOUTS.judge(begun, total(begun) - of(begun, "done"))


@command("rollouts")
@click.argument("rollout", default="")
def rollouts(session: Session, rollout: str) -> None:
    """List rollouts, the latest first; or the machines of one."""
    ROLLOUTS.status(session, rollout, MEMBERS, COLUMNS, "no rollouts yet: `provisionctl rollout --help`")


@command("rollout-pause")
@click.argument("rollout")
def pause_rollout(session: Session, rollout: str) -> None:
    """Begin no further machines; what is under way goes on."""
    ROLLOUTS.order(session, rollout, "pause")


@command("rollout-resume")
@click.argument("rollout")
@click.option("--restored", is_flag=True, help="It comes from a backup: install machines that may be installed by now.")
def resume_rollout(session: Session, rollout: str, restored: bool) -> None:
    """Go on with a rollout that is paused; failures so far count no more.

    One that comes from a backup says first which machines it would install: those that had their turn since the backup
    was made are among them. `adopt` leaves a machine out.
    """
    ROLLOUTS.order(session, rollout, "resume", {"restored": True} if restored else None)


@command("rollout-abort")
@click.argument("rollout")
def abort_rollout(session: Session, rollout: str) -> None:
    """End a rollout: machines that were not begun are left as they are, what is under way goes on to its end."""
    ROLLOUTS.order(session, rollout, "abort")

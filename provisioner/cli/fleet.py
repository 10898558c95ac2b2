"""`rollout`, `rollouts`, `rollout-pause`, `-resume`, `-abort`: one operating system onto many machines."""

from __future__ import annotations

import sys
import time
import uuid
from typing import Any

import click

from provisioner.cli.boot import waits
from provisioner.cli.client import Client, pause
from provisioner.cli.complete import bootenv_names
from provisioner.cli.exits import Partly, Unreachable, WaitTimeout
from provisioner.cli.machines import quoted
from provisioner.cli.output import CYAN, GREEN, RED, YELLOW, print_one, print_rows
from provisioner.cli.session import Session, command, is_terminal
from provisioner.cli.text import Column, Row, age, listing, printable, seconds_of, span
from provisioner.errors import ApiError

POLL_S = 1.0
STYLES = {"running": CYAN, "paused": YELLOW, "aborted": RED, "done": GREEN}
STAGES = {"running": CYAN, "starting": CYAN, "failed": RED, "done": GREEN}


def _of(row: Row, *stages: str) -> int:
    return sum(row["counts"][stage] for stage in stages)


def _total(row: Row) -> int:
    return sum(row["counts"].values())


def _age(row: Row) -> str:
    at = seconds_of(row["created"])
    return age(None if at is None else time.time() - at)


COLUMNS = (
    Column("ROLLOUT", lambda row: row["id"], keep=True),
    Column("BOOTENV", lambda row: row["bootenv"]),
    Column("STATUS", lambda row: row["status"], style=lambda row: STYLES[row["status"]]),
    Column("DONE", lambda row: f"{_of(row, 'done')}/{_total(row)}", right=True),
    Column("RUNNING", lambda row: _of(row, "starting", "running"), right=True),
    Column("FAILED", lambda row: _of(row, "failed"), right=True, style=lambda row: RED if _of(row, "failed") else ""),
    Column("AGE", _age, right=True),
    Column("SELECT", lambda row: row["select"]),
    Column("WHY", lambda row: row["reason"]),
)
MEMBERS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("STAGE", lambda row: row["stage"], style=lambda row: STAGES.get(row["stage"], "")),
    Column("RUN", lambda row: row["run"]),
    Column("WHY", lambda row: row["reason"]),
)


@command("rollout")
@click.argument("bootenv", shell_complete=bootenv_names)
@click.option(
    "--select", "-l", required=True, metavar="SELECTOR", help="Which machines, such as rack=r1,!state=active."
)
@click.option("--at-once", type=click.IntRange(1), default=4, show_default=True, help="Machines under way at once.")
@click.option("--max-failures", type=click.IntRange(0), default=0, show_default=True, help="Machines that may fail.")
@click.option("--plan", is_flag=True, help="Say which machines are meant, and touch nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask back.")
@waits
def rollout(session: Session, bootenv: str, select: str, **given: Any) -> None:
    """Install BOOTENV on all machines that are meant, so many at once.

    When more than --max-failures machines failed, no further one is begun and the rollout is paused; what is under way
    goes on. The daemon carries it out: it goes on when this command ends, and when the daemon restarts.

    A selector is a list of terms: names and ranges add up, fields and tags narrow, "!" turns a term round.

    \b
      provisionctl rollout ubuntu-24.04 --select rack=r1 --at-once 4 --max-failures 2
      provisionctl rollout debian-12 -l 'node[01-40],!state=active' --plan
    """
    client = session.client()
    meant = client.get("/v1/machines", {"select": select})["machines"]
    if given["plan"]:
        for row in meant:
            click.echo(printable(f"{row['name']} is {row['state']} {row['bootenv']}".rstrip()))
        session.note(f"{len(meant)} machines, {given['at_once']} at once; nothing was touched")
        return
    if not given["yes"]:
        _ask_back(meant, bootenv)
    body = {"bootenv": bootenv, "select": select, "at_once": given["at_once"], "max_failures": given["max_failures"]}
    begun: Row = client.post("/v1/rollouts", body, key=str(uuid.uuid4()))
    if given["wait"]:
        begun = _wait(session, client, begun, given["timeout"])
    _show(session, begun)
    if given["wait"] and _of(begun, "failed"):
        message = f"{_of(begun, 'failed')} of {_total(begun)} machines did not get there"
        raise Partly(message) if _of(begun, "done") else ApiError(message)


def _ask_back(meant: list[Row], bootenv: str) -> None:
    used = [row for row in meant if row["state"] in {"active", "reserved"}]
    if not used or not is_terminal(sys.stdin):
        return
    some = ", ".join(printable(row["name"]) for row in used[:5]) + (f" and {len(used) - 5} more" if used[5:] else "")
    click.confirm(
        f"{some}: in use; `rollout {bootenv}` destroys what is on {len(used)} disks. Go on?", abort=True, err=True
    )


def _wait(session: Session, client: Client, row: Row, timeout_s: float) -> Row:
    """Follow a rollout until it is over or paused; a daemon that is away is waited for."""
    deadline, said = time.monotonic() + timeout_s, ""
    while not row["over"] and (row["status"] != "paused" or _of(row, "starting", "running")):
        if time.monotonic() >= deadline:
            raise WaitTimeout(f"not there after {span(timeout_s)}: {_stand(row)}", hint="the rollout goes on")
        if _stand(row) != said:
            session.note(said := _stand(row))
        pause(POLL_S)
        try:
            row = client.get(f"/v1/rollouts/{quoted(row['id'])}")
        except Unreachable:
            continue
    return row


def _stand(row: Row) -> str:
    counts = ", ".join(f"{count} {stage}" for stage, count in row["counts"].items() if count)
    return f"rollout {row['id']} is {row['status']}: {counts}"


def _show(session: Session, row: Row) -> None:
    def words() -> list[str]:
        pairs = [("rollout", row["id"]), ("status", row["status"]), ("why", row["reason"]), ("machines", _counts(row))]
        failed = [
            f"  {printable(m['name'])}: {printable(m['reason'])}" for m in row["members"] if m["stage"] == "failed"
        ]
        return [*listing(pairs), *failed]

    print_one(session, {**row, "name": row["id"]} if session.output == "name" else row, words)


def _counts(row: Row) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in row["counts"].items() if count)


@command("rollouts")
@click.argument("rollout", default="")
def rollouts(session: Session, rollout: str) -> None:
    """List rollouts, the latest first; or the machines of one."""
    client = session.client()
    if rollout:
        row = client.get(f"/v1/rollouts/{quoted(rollout)}")
        session.note(_stand(row) + (f" ({row['reason']})" if row["reason"] else ""))
        print_rows(session, row["members"], MEMBERS, empty="")
        return
    rows = client.get("/v1/rollouts")["rollouts"]
    if session.output == "name":
        rows = [{**row, "name": row["id"]} for row in rows]
    print_rows(session, rows, COLUMNS, empty="no rollouts yet: `provisionctl rollout --help`")


@command("rollout-pause")
@click.argument("rollout")
def pause_rollout(session: Session, rollout: str) -> None:
    """Begin no further machines; what is under way goes on."""
    _show(session, session.client().post(f"/v1/rollouts/{quoted(rollout)}/pause"))


@command("rollout-resume")
@click.argument("rollout")
def resume_rollout(session: Session, rollout: str) -> None:
    """Go on with a rollout that is paused; failures so far count no more."""
    _show(session, session.client().post(f"/v1/rollouts/{quoted(rollout)}/resume"))


@command("rollout-abort")
@click.argument("rollout")
def abort_rollout(session: Session, rollout: str) -> None:
    """End a rollout: machines that were not begun are left as they are, what is under way goes on to its end."""
    _show(session, session.client().post(f"/v1/rollouts/{quoted(rollout)}/abort"))

"""`provisionctl workflow`: plan, run and steer workflows, and read what their steps printed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import click

from provisioner.cli.asking import ask_back_of
from provisioner.cli.boot import waits
from provisioner.cli.client import Client, pause
from provisioner.cli.exits import Unreachable
from provisioner.cli.following import POLL_S, STYLES, Followed, of, since, total
from provisioner.cli.output import print_data, print_lines, print_next, print_one, print_rows
from provisioner.cli.session import Group, Session, command, session_of
from provisioner.cli.text import Column, Row, listing, printable
from provisioner.cli.typed import Count, pair_of, reads
from provisioner.cli.urls import quoted
from provisioner.errors import ApiError, ProvisionerError

FLOWS = Followed("run", "/v1/workflow-runs", ("workflow", "status"), "workflow status", "workflow abort")

WORKFLOWS = (
    Column("WORKFLOW", lambda row: row["name"], keep=True),
    Column("TITLE", lambda row: row["title"]),
    Column("GOAL", lambda row: " ".join(row["goal"])),
    Column("FILE", lambda row: row["source"], wide=True),
)
RUNS = (
    Column("RUN", lambda row: row["id"], keep=True),
    Column("WORKFLOW", lambda row: row["workflow"]),
    Column("STATUS", lambda row: row["status"], style=lambda row: STYLES[row["status"]]),
    Column("DONE", lambda row: f"{row['counts']['done']}/{total(row)}", right=True),
    Column("FAILED", lambda row: row["counts"]["failed"], right=True),
    Column("AGE", since, right=True),
    Column("SELECT", lambda row: row["select"]),
    Column("WHY", lambda row: row["reason"]),
)
MEMBERS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("STAGE", lambda row: row["stage"], style=lambda row: STYLES.get(row["stage"], "")),
    Column("STEP", lambda row: row["step"]),
    Column("DONE", lambda row: f"{row['at']}/{len(row['plan'])}", right=True),
    Column("TRY", lambda row: row["attempt"], right=True),
    Column("WHY", lambda row: row["reason"]),
)


def _names(ctx: click.Context, kind: str, field: str) -> list[str]:
    session = session_of(ctx)
    session.quiet = True
    try:
        found = session.client().get(f"/v1/{kind}")
    except (ProvisionerError, click.ClickException):
        return []
    return [str(row[field]) for rows in found.values() for row in rows]


def workflow_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of workflows."""
    return [name for name in _names(ctx, "workflows", "name") if name.startswith(incomplete)]


def run_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the ids of runs."""
    return [name for name in _names(ctx, "workflow-runs", "id") if name.startswith(incomplete)]


_NAME = click.argument("name", metavar="WORKFLOW", shell_complete=workflow_names)
_RUN = click.argument("run", shell_complete=run_ids)
_SELECT = click.option(
    "--select", "-l", default="", metavar="SELECTOR", help="Machines, such as rack=r1,!state=active."
)
_SET = click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    callback=reads(lambda given: dict(map(pair_of, given))),
    help="A parameter; repeatable.",
)


@click.group(cls=Group)
def workflow() -> None:
    """Steps of your own over many machines.

    A workflow is a YAML file of steps; the planner picks, for each machine, those that lead to its goal. The daemon
    carries a run out: it goes on when this command ends, and when the daemon restarts.

    \b
      provisionctl workflow plan burn-in node17
      provisionctl workflow run burn-in -l rack=r1 --set minutes=30 --wait
      provisionctl workflow status
    """


@command("list")
def list_workflows(session: Session) -> None:
    """List workflows."""
    rows = session.client().get("/v1/workflows")["workflows"]
    print_rows(session, rows, WORKFLOWS, empty="no workflows: put YAML files into bootenvs/workflows/")


@command("show")
@_NAME
def show(session: Session, name: str) -> None:
    """Show a workflow: its goal, its parameters and its steps."""
    print_one(session, row := session.client().get(f"/v1/workflows/{quoted(name)}"), lambda: _workflow(row))


def _workflow(row: Row) -> list[str]:
    params = [f"{name} ({each['kind']}, default {each['default']})" for name, each in row["params"].items()]
    pairs = [
        ("workflow", f"{row['name']}: {row['title']}"),
        ("goal", " ".join(row["goal"])),
        ("also", " ".join(row["also"])),
        ("parameters", ", ".join(params)),
        ("file", row["source"]),
    ]
    return [*listing([pair for pair in pairs if pair[1]]), *(_step(step) for step in row["steps"])]


def _step(step: Row) -> str:
    marks = [mark for mark in ("destructive", "barrier", "leader") if step[mark]]
    needs = f", needs {' '.join(step['requires'])}" if step["requires"] else ""
    gives = f", provides {' '.join(step['provides'])}" if step["provides"] else ""
    extra = f" [{', '.join(marks)}]" if marks else ""
    return printable(f"  {step['name']} ({step['where']}){extra}: {step['about'] or '-'}{needs}{gives}")


def _selector(machines: str, select: str) -> str:
    both = ",".join(part for part in (machines, select) if part)
    if not both:
        raise click.UsageError("which machines? name them, or give -l SELECTOR")
    return both


def _params(session: Session, name: str, given: dict[str, str]) -> dict[str, Any]:
    """Read each value as the kind that the workflow says."""
    known = session.client().get(f"/v1/workflows/{quoted(name)}")["params"]
    return {key: _value(text, known.get(key, {}).get("kind", "text")) for key, text in given.items()}


def _value(text: str, kind: str) -> Any:
    if kind == "text":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # the daemon says what is wanted


@command("plan")
@_NAME
@click.argument("machines", metavar="[MACHINE[,MACHINE...]]", default="")
@_SELECT
@_SET
def plan(session: Session, name: str, machines: str, select: str, given: dict[str, str]) -> None:
    """Say which steps each machine would take and why, and why others are left out. Nothing is touched."""
    body = {"select": _selector(machines, select), "params": _params(session, name, given)}
    plans = session.client().post(f"/v1/workflows/{quoted(name)}/plan", body)["plans"]
    if session.output in {"json", "yaml"}:
        print_data(session, plans)
    else:
        for each in plans:
            print_lines(map(printable, _plan(each)))
    if refused := [each for each in plans if each["faults"]]:
        raise ApiError(f"{len(refused)} of {len(plans)} machines cannot get there")


def _plan(row: Row) -> list[str]:
    head = f"{row['name']} ({row['state']})"
    steps = [f"  {at}. {each['step']}: {each['reason']}" for at, each in enumerate(row["steps"], 1)]
    return [
        head,
        *(f"  !  {fault}" for fault in row["faults"]),
        *(steps or ([] if row["faults"] else ["  nothing to do: the goal is reached"])),
        *(f"  -  {each['step']}: {each['reason']}" for each in row["left_out"]),
    ]


@command("run")
@_NAME
@click.argument("machines", metavar="[MACHINE[,MACHINE...]]", default="")
@_SELECT
@_SET
@click.option("--at-once", type=Count(0), default=0, help="Steps under way at once; 0: no limit.")
@click.option("--max-failures", type=Count(0), help="Machines that may fail before barriers stay shut.")
@click.option("--paused", is_flag=True, help="Begin nothing yet: `workflow step` does one step, `resume` all.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask back.")
@waits
def run(session: Session, name: str, machines: str, select: str, **given: Any) -> None:
    """Run a workflow on machines.

    Refused as a whole, with nothing touched, where one of them has no path to the goal.
    """
    client = session.client()
    selector, params = _selector(machines, select), _params(session, name, given["given"])
    if not given["yes"]:
        ask_back_of(
            lambda: client.get("/v1/machines", {"select": selector})["machines"],
            f"`workflow run {name}` may restart them",
        )
    body = {"select": selector, "params": params, "at_once": given["at_once"], "paused": given["paused"]}
    if given["max_failures"] is not None:
        body["max_failures"] = given["max_failures"]
    begun: Row = client.post(f"/v1/workflows/{quoted(name)}/run", body, key=str(uuid.uuid4()))
    if given["wait"]:
        begun = FLOWS.wait(session, client, begun, given["timeout"])
    FLOWS.show(session, begun)
    if given["wait"] and begun["status"] != "done":
        FLOWS.judge(begun, total(begun) - of(begun, "done"))


@command("status")
@click.argument("run", default="", shell_complete=run_ids)
def status(session: Session, run: str) -> None:
    """List runs, the latest first; or the machines of one, with what each does or waits for."""
    FLOWS.status(session, run, MEMBERS, RUNS, "no runs yet: `provisionctl workflow run --help`")


@command("pause")
@_RUN
def pause_run(session: Session, run: str) -> None:
    """Begin no further step; what is under way ends."""
    FLOWS.order(session, run, "pause")


@command("resume")
@_RUN
@click.option("--skip", is_flag=True, help="Machines that failed go on behind their step: you have seen to it.")
def resume(session: Session, run: str, skip: bool) -> None:
    """Go on with a run that is paused or failed; machines that failed try their step again.

    A step that may be begun only once is not begun again: look at the machine, then resume with --skip.
    """
    FLOWS.order(session, run, "skip" if skip else "resume")


@command("step")
@_RUN
def step(session: Session, run: str) -> None:
    """Let each machine of a paused run do one more step."""
    FLOWS.order(session, run, "step")


@command("abort")
@_RUN
def abort(session: Session, run: str) -> None:
    """End a run. What a step does on a machine at this moment is not stopped."""
    FLOWS.order(session, run, "abort")


@command("signal")
@_RUN
@click.argument("name", metavar="SIGNAL")
def signal(session: Session, run: str, name: str) -> None:
    """Say something to a run; a step that waits for it goes on, now or when it is reached."""
    path, key = f"/v1/workflow-runs/{quoted(run)}/signal", str(uuid.uuid4())
    FLOWS.show(session, session.client().post(path, {"name": name}, key=key))


@command("logs")
@_RUN
@click.argument("machine")
@click.option("--step", "name", metavar="STEP", default="", help="The last try of this step; without it, of any.")
@click.option("--try", "number", type=Count(1), help="The try of this number (-o json lists them).")
@click.option("-f", "--follow", is_flag=True, help="Go on as it is printed, until the try has ended.")
def logs(session: Session, run: str, machine: str, name: str, number: int | None, follow: bool) -> None:
    """Print what a step printed on a machine."""
    path = f"/v1/workflow-runs/{quoted(run)}/machines/{quoted(machine)}/log"
    pages = _pages(session.client(), path, {"step": name, "try": number}, follow)
    match session.output:
        case "json" | "yaml" if follow:
            for page in pages:
                print_next(session, page)
        case "json" | "yaml":
            *before, last = pages
            print_data(session, last | {"text": "".join(page["text"] for page in (*before, last))})
        case _:
            for page in pages:
                for line in page["text"].splitlines(keepends=True):
                    click.echo(printable(line.rstrip("\r\n")), nl=line.endswith("\n"))


def _pages(client: Client, path: str, asked: dict[str, Any], follow: bool) -> Iterator[dict[str, Any]]:
    """Give what is there of a log, a page at a time, and what follows; the last has nothing where nothing came."""
    after = 0
    while True:
        try:
            page = client.get(path, asked | {"after": after})
        except Unreachable:
            if not follow:
                raise
            pause(POLL_S)
            continue  # it restarts; the place stays
        more, after = page["next"] > after, page["next"]
        asked = asked | {"try": page["try"]}
        ends = page["over"] or not (follow or more)
        if more or ends:
            yield page
        if ends:
            return
        if not more:
            pause(POLL_S)


for each in (list_workflows, show, plan, run, status, pause_run, resume, step, abort, signal, logs):
    workflow.add_command(each)

"""`cancel`: end what is under way, and say what that leaves."""

from __future__ import annotations

import uuid

from provisioner.cli.exits import Partly
from provisioner.cli.many import for_each
from provisioner.cli.output import print_changed
from provisioner.cli.progress import until_over
from provisioner.cli.session import Session, command, complain
from provisioner.cli.text import Row, error_lines, printable
from provisioner.cli.typed import MACHINES
from provisioner.cli.urls import quoted
from provisioner.cli.wait import Waiting
from provisioner.errors import ApiError, ProvisionerError
from provisioner.model.names import run_name


@command("cancel")
@MACHINES
def cancel(session: Session, machines: list[str]) -> None:
    """End what is under way; the machine goes back to the state that it came from.

    It is `ready` where an install may have begun to write its disk, and quarantined where a release may have begun to
    erase it, whatever it was before: `resume` erases anew. One that may be writing to its disk is switched off by its
    BMC, and waited for until it is. Where its BMC does not do that, this says so: the machine may go on writing.
    """
    client = session.client()
    cancelled: list[Row] = []
    writing: list[Row] = []

    def ask(name: str) -> Row:
        machine: Row = client.post(f"/v1/machines/{quoted(name)}/cancel", key=str(uuid.uuid4()), slow=True)
        return machine

    def tell(machine: Row) -> None:
        name, run = printable(machine["name"]), machine["run"]
        what = printable(run_name(run["verb"], run["bootenv"]))
        if run["outcome"] == "running":
            writing.append(machine)
            session.note(f"{name}: {what} is being cancelled; it may be writing to its disk: switching it off")
        else:
            cancelled.append(machine)
            session.note(f"{name}: {what} cancelled, it is {_left(machine)}")

    failure = for_each(machines, ask, tell)
    waited = until_over(client, writing)
    failures = [error for name in waited.runs if (error := _still_on(session, waited, name)) is not None]
    print_changed(session, machines, [*cancelled, *waited.rows.values()])
    if len(writing) > 1:
        for error in failures:
            for line in error_lines(error):
                complain(line)
        kind = Partly if len(failures) < len(writing) else ApiError
        failures = [kind(f"{len(failures)} of {len(writing)} machines were not switched off")] if failures else []
    if failure or failures:
        raise failure or failures[0]


def _left(machine: Row) -> str:
    """Say in which state a run that was cancelled leaves a machine, and why in one that it may not have come from."""
    name, failure = printable(machine["name"]), machine["failure"]
    if failure and failure["return_to"] == "quarantined":
        return f"quarantined: its disks may be half erased (`provisionctl resume {name}` erases them anew)"
    if machine["state"] == "active" and machine["power"] == "off":
        return f"active, but its power is off (`provisionctl power {name} on`)"
    return str(machine["state"])


def _still_on(session: Session, waited: Waiting, ref: str) -> ProvisionerError | None:
    """Say how a run was ended that had to be by the power: to the operator, or as an error."""
    machine = waited.rows.get(ref)
    if machine is None:  # it was forgotten, or the next run has begun
        return ApiError(waited.endings[ref].text)
    name, run, failure = printable(machine["name"]), machine["run"], machine["failure"]
    what = printable(run_name(run["verb"], run["bootenv"]))
    if [(line["step"], line["outcome"]) for line in run["journal"][-1:]] == [("cancel.off", "done")]:
        session.note(f"{name}: {what} cancelled, it is off, and {_left(machine)}")
        return None
    if not failure:
        session.note(f"{name}: {what} {run['outcome']}, it is {machine['state']}")
        return None
    return ApiError(f"{name}: {printable(failure['reason'])}", hint=printable(failure["hint"]))

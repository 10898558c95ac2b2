"""What commands over many machines share: rollouts and runs of workflows are asked for, followed and shown alike."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import click

from provisioner.cli.answers import comes_back
from provisioner.cli.client import Client, pause
from provisioner.cli.exits import Partly, WaitTimeout
from provisioner.cli.output import CYAN, GREEN, RED, YELLOW, print_one, print_rows
from provisioner.cli.session import Session
from provisioner.cli.text import Column, Row, age, listing, printable, seconds_of, span
from provisioner.cli.urls import quoted
from provisioner.errors import ApiError

POLL_S = 1.0
STYLES = {"running": CYAN, "starting": CYAN, "paused": YELLOW, "aborted": RED, "failed": RED, "done": GREEN}


def of(row: Row, *stages: str) -> int:
    """Count the machines that stand there."""
    return sum(row["counts"].get(stage, 0) for stage in stages)


def total(row: Row) -> int:
    """Count all machines."""
    return sum(row["counts"].values())


def since(row: Row) -> str:
    """Say how long ago it was begun."""
    at = seconds_of(row["created"])
    return age(None if at is None else time.time() - at)


def counts(row: Row) -> str:
    """Say how many machines stand where."""
    return ", ".join(f"{count} {stage}" for stage, count in row["counts"].items() if count)


@dataclass(frozen=True)
class Followed:
    """One kind of them: what it is called, its path in the API, which pairs of words are shown of one, its commands."""

    noun: str
    path: str
    pairs: tuple[str, ...]
    shows: str
    aborts: str

    def get(self, client: Client, ref: str) -> Row:
        """Read one."""
        found: Row = client.get(f"{self.path}/{quoted(ref)}")
        return found

    def stand(self, row: Row) -> str:
        """Say in a line where it stands."""
        return f"{self.noun} {row['id']} is {row['status']}: {counts(row)}"

    def wait(self, session: Session, client: Client, row: Row, timeout_s: float) -> Row:
        """Follow one until it is over or paused; a daemon that is away is waited for."""
        try:
            return self._wait(session, client, row, timeout_s)
        except KeyboardInterrupt:
            click.echo(f"no longer waiting: {self._going_on(row)}", err=True)
            raise

    def _going_on(self, row: Row) -> str:
        show, abort = (f"provisionctl {command} {row['id']}" for command in (self.shows, self.aborts))
        return f"the {self.noun} goes on; `{show}` shows it, `{abort}` ends it"

    def _wait(self, session: Session, client: Client, row: Row, timeout_s: float) -> Row:
        deadline, said = time.monotonic() + timeout_s, ""
        while not row["over"] and (row["status"] != "paused" or of(row, "starting", "running")):
            if time.monotonic() >= deadline:
                late = f"not there after {span(timeout_s)}: {self.stand(row)}"
                raise WaitTimeout(late, hint=self._going_on(row))
            if self.stand(row) != said:
                session.note(said := self.stand(row))
            pause(POLL_S)
            try:
                row = self.get(client, row["id"])
            except ApiError as error:
                if (trouble := comes_back(error)) != said:
                    session.note(said := trouble)
        return row

    def judge(self, row: Row, missed: int) -> None:
        """End the command with a failure where machines did not get there."""
        if missed:
            message = f"{missed} of {total(row)} machines did not get there"
            raise Partly(message) if of(row, "done") else ApiError(message)

    def show(self, session: Session, row: Row) -> None:
        """Show one."""

        def words() -> list[str]:
            pairs = [(name, row["id" if name == self.noun else name]) for name in (self.noun, *self.pairs)]
            left = [m for m in row["members"] if m["stage"] in {"failed", "skipped"} and m["reason"]]
            return [
                *listing([*pairs, ("why", row["reason"]), ("machines", counts(row))]),
                *(f"  {printable(m['name'])}: {printable(m['reason'])}" for m in left),
            ]

        print_one(session, row, words, name="id")

    def status(self, session: Session, ref: str, members: Sequence[Column], rows: Sequence[Column], empty: str) -> None:
        """List all, or the machines of one."""
        client = session.client()
        if ref:
            row = self.get(client, ref)
            session.note(self.stand(row) + (f" ({row['reason']})" if row["reason"] else ""))
            print_rows(session, row["members"], members, empty="")
            return
        (found,) = client.get(self.path).values()
        print_rows(session, found, rows, empty=empty)

    def order(self, session: Session, ref: str, order: str, body: Row | None = None) -> None:
        """Give an order, and show what it made of it."""
        self.show(session, session.client().post(f"{self.path}/{quoted(ref)}/{order}", body, key=str(uuid.uuid4())))

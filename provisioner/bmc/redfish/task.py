"""How far a task is, by what its monitor or the task itself answers (DSP0266 section 12.2, DSP0268: Task). No I/O.

While an operation goes on its monitor answers 202; once it is over, with the status of the operation itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from provisioner.bmc.redfish.answers import Reply, Resource, clean, read_resource, said
from provisioner.errors import WireError

_DONE = frozenset({"Completed"})
_FAILED = frozenset({"Exception", "Killed", "Cancelled", "Interrupted", "Suspended"})


class Stage(StrEnum):
    """Where a task is."""

    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    AWAY = "away"
    """The service tells nothing of the task now."""


_BY_STATUS = {
    **dict.fromkeys((404, 410), Stage.LOST),
    **dict.fromkeys((408, 423, 429, 500, 502, 503, 504), Stage.AWAY),
}
"""What is not the operation's own status: boards answer 500, too, until what is behind their web server is up."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a task is, and what the board says of that."""

    stage: Stage
    words: str


def starts_task(reply: Reply) -> bool:
    """Say whether an answer means "begun", not "done"."""
    return reply.status == 202 or "/taskservice/" in reply.headers.get("location", "").lower()


def task_path(reply: Reply) -> str:
    """Return where the task that an answer started is asked for; empty where the answer names none."""
    try:
        return reply.leads_to or read_resource(reply).text("@odata.id")
    except WireError:
        return ""


def progress(reply: Reply) -> Progress:
    """Read what a task or its monitor answers."""
    if not reply.ok:
        return Progress(_BY_STATUS.get(reply.status, Stage.FAILED), _words(reply))
    try:
        task = read_resource(reply) if reply.body else Resource(reply.path, {})
    except WireError as error:  # a page that says that the service starts
        return Progress(Stage.UNDER_WAY if reply.status == 202 else Stage.AWAY, error.message)
    state = task.text("TaskState")
    if state in _DONE or (not state and reply.status != 202):
        return Progress(Stage.DONE, state)
    if state in _FAILED:
        return Progress(Stage.FAILED, f"{state}: {_reasons(task)}")
    return Progress(Stage.UNDER_WAY, clean(state) or "under way")


def _words(reply: Reply) -> str:
    words = said(reply)
    return f"HTTP {reply.status}" + (f": {words}" if words else "")


def _reasons(task: Resource) -> str:
    words = [message.text("Message") for message in task.rows("Messages")]
    return clean("; ".join(word for word in words if word)) or "no reason given"

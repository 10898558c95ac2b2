"""What is read of a task: by the status of its monitor, by its state, and by neither."""

from __future__ import annotations

import pytest

from provisioner.bmc.redfish.answers import Reply
from provisioner.bmc.redfish.task import Progress, Stage, progress, starts_task, task_path

TASK = "/redfish/v1/TaskService/Tasks/7"
PAGE = b"<html>starting</html>"

READ = {
    "a monitor: under way, with nothing": (202, b"", Progress(Stage.UNDER_WAY, "under way")),
    "a monitor: under way, with a page": (202, PAGE, Stage.UNDER_WAY),
    "a monitor: under way, with its task": (202, b'{"TaskState": "Running"}', Progress(Stage.UNDER_WAY, "Running")),
    "202 of a task that is over": (202, b'{"TaskState": "Completed"}', Stage.DONE),
    "202 of a task that failed": (202, b'{"TaskState": "Killed"}', Stage.FAILED),
    "a task: running": (200, b'{"TaskState": "Running"}', Progress(Stage.UNDER_WAY, "Running")),
    "a task: completed": (200, b'{"TaskState": "Completed"}', Stage.DONE),
    "a task: failed, and says why": (
        200,
        b'{"TaskState": "Exception", "Messages": [{"Message": "Bad signature."}, 7]}',
        Progress(Stage.FAILED, "Exception: Bad signature."),
    ),
    "a task: failed, and no reason": (
        200,
        b'{"TaskState": "Cancelled", "Messages": 1}',
        Progress(Stage.FAILED, "Cancelled: no reason given"),
    ),
    "a monitor: over, with the result": (201, b'{"Id": "7"}', Stage.DONE),
    "a monitor: over, with nothing": (204, b"", Stage.DONE),
    "a monitor: the operation was refused": (
        400,
        b'{"error": {"message": "The drive refused the erase"}}',
        Progress(Stage.FAILED, "HTTP 400: The drive refused the erase"),
    ),
    "a monitor: the operation is not possible now": (409, b"", Progress(Stage.FAILED, "HTTP 409")),
    "a monitor: the operation is not known": (501, b"", Stage.FAILED),
    "forgotten": (404, b"", Progress(Stage.LOST, "HTTP 404")),
    "gone": (410, b"", Stage.LOST),
    "a service that starts shows a page": (200, PAGE, Stage.AWAY),
    "a service that starts: busy": (503, b"", Progress(Stage.AWAY, "HTTP 503")),
    "a service that starts: fails inside": (500, b'{"error": {}}', Stage.AWAY),
}


@pytest.mark.parametrize(("status", "body", "wanted"), READ.values(), ids=READ.keys())
def test_progress(status: int, body: bytes, wanted: Progress | Stage) -> None:
    seen = progress(Reply("/task/1", status, body=body))
    assert wanted in (seen, seen.stage)


STARTED = {
    "by its path": (TASK, TASK),
    "by a name that is the board's own": (f"https://bmc.internal{TASK}?a=b", f"{TASK}?a=b"),
    "by nonsense": (f"https://[{TASK}", ""),
}


@pytest.mark.parametrize(("location", "path"), STARTED.values(), ids=STARTED.keys())
@pytest.mark.parametrize("status", [200, 201, 202])
def test_where_a_task_is(status: int, location: str, path: str) -> None:
    reply = Reply("/x", status, {"location": location})
    assert starts_task(reply)
    assert task_path(reply) == path


def test_what_starts_no_task() -> None:
    assert not starts_task(Reply("/x", 204))
    assert not starts_task(Reply("/x", 201, {"location": "/redfish/v1/Systems/1/Storage/1/Volumes/1"}))
    assert task_path(Reply("/x", 202, body=b'{"@odata.id": "/task/2"}')) == "/task/2"
    assert task_path(Reply("/x", 202)) == ""

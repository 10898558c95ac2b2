"""Virtual media and tasks: the resources, and what can be done to them (DSP0268, VirtualMedia and Task). No I/O."""

from __future__ import annotations

from provisioner.lab.board import Board
from provisioner.lab.faults import Fault
from provisioner.lab.hardware import Medium
from provisioner.lab.redfish.answer import Answer, Body, Refusal
from provisioner.lab.redfish.resources import MANAGER, STATUS, V1, collection, resource

MEDIA = f"{MANAGER}/VirtualMedia"
CD = f"{MEDIA}/Cd"
TASKS = f"{V1}/TaskService/Tasks"
URI_BYTES = 1024


def drive(board: Board) -> Body:
    """The virtual CD drive."""
    image = board.medium.uri
    return resource(
        CD, "VirtualMedia.v1_6_0.VirtualMedia", "Virtual CD",
        MediaTypes=["CD", "DVD"], Image=image or None, ImageName=image.rsplit("/", 1)[-1] or None,
        Inserted=bool(image), WriteProtected=True, ConnectedVia="URI" if image else "NotConnected", Status=STATUS,
        Actions={
            "#VirtualMedia.InsertMedia": {"target": f"{CD}/Actions/VirtualMedia.InsertMedia"},
            "#VirtualMedia.EjectMedia": {"target": f"{CD}/Actions/VirtualMedia.EjectMedia"},
        },
    )  # fmt: skip


def drives(board: Board) -> Body:
    return collection(MEDIA, "VirtualMedia", ["Cd"])


def insert(board: Board, body: Body) -> Answer:
    """InsertMedia: the image at a URL, read only."""
    image = body.get("Image")
    if not isinstance(image, str) or not image.startswith(("http://", "https://")) or len(image) > URI_BYTES:
        raise Refusal(400, "ActionParameterValueFormatError", "Image is the URL of an image, by http or https.")
    if board.medium.uri:
        raise Refusal(409, "ResourceInUse", "There is an image in the drive.")
    board.insert(Medium(image))
    return Answer(204)


def eject(board: Board, body: Body) -> Answer:
    """EjectMedia. Nothing in the drive is success."""
    if not board.faults.strikes(Fault.STUCK_MEDIA):
        board.insert(Medium())
    return Answer(204)


def task_service(board: Board) -> Body:
    path = f"{V1}/TaskService"
    links = {"Tasks": {"@odata.id": TASKS}}
    return resource(path, "TaskService.v1_2_0.TaskService", "Tasks", ServiceEnabled=True, Status=STATUS, **links)


def tasks(board: Board) -> Body:
    return collection(TASKS, "Task", [str(at + 1) for at in range(board.tasks)])


def task(board: Board, number: str) -> Body | None:
    """A task is done at once, unless it is stuck."""
    if not number.isdecimal() or not 1 <= int(number) <= board.tasks:
        return None
    fault = board.failed_tasks.get(int(number), "")
    state = "Running" if board.faults.on(Fault.STUCK_TASK) else "Exception" if fault else "Completed"
    rest = {"TaskState": state, "TaskStatus": "Critical" if fault else "OK"}
    said = [{"MessageId": "Update.1.0.ApplyFailed", "Message": fault}] if fault else []
    percent = 0 if state == "Running" else 100
    path = f"{TASKS}/{number}"
    return resource(path, "Task.v1_7_0.Task", f"Task {number}", **rest, PercentComplete=percent, Messages=said)


def begun(board: Board, fault: str = "") -> Answer:
    """The answer to what goes on in a task; `fault` is why it ends badly."""
    board.tasks += 1
    if fault:
        board.failed_tasks[board.tasks] = fault
    number = str(board.tasks)
    return Answer(202, task(board, number), {"Location": f"{TASKS}/{number}"})

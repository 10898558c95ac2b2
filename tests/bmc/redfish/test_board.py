"""Tasks: waited for, failed with their words, and given up on. Virtual time, no network."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.redfish.answers import Reply, Resource
from provisioner.bmc.redfish.board import Board
from provisioner.errors import BmcError, BmcProtocolError, BmcTimeout, BmcUnreachable, BmcUnsupported

pytestmark = pytest.mark.looptime

STARTED = Reply("/x", 202, {"location": "/task/1"})
UNDER_WAY, OVER, STARTING = Reply("/task/1", 202), Reply("/task/1", 204), Reply("/task/1", 503)


class Asked(Board):
    """A board whose task answers from a list; the last answer stays."""

    address = "redfish://asked"  # type: ignore[assignment]

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self._client = self  # type: ignore[assignment]

    async def look(self, path: str) -> Reply:
        self.asked.append(path)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(path, 200, body=answer)


ENDS = {
    "completed": [b'{"TaskState": "Running"}', b'{"TaskState": "Completed"}'],
    "the monitor answers with the result": [b'{"TaskState": "New"}', b'{"Id": "7"}'],
    "the monitor answers with nothing": [UNDER_WAY, OVER],
    "silent for a while": [BmcUnreachable("x"), BmcProtocolError("no TLS yet"), b'{"TaskState": "Completed"}'],
    "the service starts anew": [STARTING] * 20 + [b"<html>starting</html>", b'{"TaskState": "Completed"}'],
}


@pytest.mark.parametrize("answers", ENDS.values(), ids=ENDS.keys())
async def test_a_task_that_ends(answers: list[Any]) -> None:
    board = Asked(*answers)
    await board.finish("firmware.update", STARTED)
    assert board.asked == ["/task/1"] * len(answers)


async def test_a_task_that_fails_says_why() -> None:
    board = Asked(b'{"TaskState": "Exception", "Messages": [{"Message": "Bad signature."}, 7]}')
    with pytest.raises(BmcError, match=r"firmware\.update: the task ended as Exception: Bad signature\."):
        await board.finish("firmware.update", STARTED)
    with pytest.raises(BmcError, match="no reason given"):
        await Asked(b'{"TaskState": "Killed", "Messages": 1}').finish("firmware.update", STARTED)
    with pytest.raises(BmcError, match="the task ended as HTTP 400: Refused"):
        await Asked(UNDER_WAY, Reply("/task/1", 400, {"content-type": "text/plain"}, b"Refused")).finish(
            "bios.apply", STARTED
        )


async def test_a_task_that_the_board_has_forgotten_is_confirmed_by_nobody() -> None:
    gone = Reply("/task/1", 404)
    with pytest.raises(
        BmcTimeout, match=r"bios\.apply: the BMC knows nothing of task /task/1 any more .* nobody confirms it"
    ):
        await Asked(UNDER_WAY, gone).finish("bios.apply", STARTED)
    await Asked(UNDER_WAY, gone).finish_unseen("bios.apply", STARTED)


async def test_a_task_that_never_ends_is_given_up_on() -> None:
    with pytest.raises(BmcTimeout, match="task /task/1 is still Running after 3420 s"):
        await Asked(b'{"TaskState": "Running"}').finish("firmware.update", STARTED)
    with pytest.raises(BmcTimeout, match="still silent"):
        await Asked(BmcUnreachable("x")).finish("firmware.update", STARTED, 60)
    with pytest.raises(BmcTimeout, match="still HTTP 503"):
        await Asked(STARTING).finish("firmware.update", STARTED, 60)


async def test_an_answer_that_is_no_task() -> None:
    board = Asked(b"")
    await board.finish("bios.apply", Reply("/x", 204))
    assert board.asked == []
    await board.finish("bios.apply", Reply("/x", 202, body=b'{"@odata.id": "/task/2"}'))
    assert board.asked == ["/task/2"]
    with pytest.raises(BmcProtocolError, match="names no task"):
        await board.finish("bios.apply", Reply("/x", 202))


async def test_an_erase_may_take_the_night() -> None:
    with pytest.raises(BmcTimeout, match="still Running after 41040 s"):
        await Asked(b'{"TaskState": "Running"}').finish("drive.erase", STARTED)


async def test_act_needs_an_action() -> None:
    with pytest.raises(BmcUnsupported, match=r"/x has no action A\.B"):
        await Asked(b"").act("v", Resource("/x", {}), "A.B")

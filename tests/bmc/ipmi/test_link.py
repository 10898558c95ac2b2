"""The daemon's end of the IPMI worker, without a worker: what waits for what."""

from __future__ import annotations

import asyncio

from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.ipmi.messages import MAX_STUDIES, Answer, Command, Rows, Study, Subject, Target

TARGET = Target("127.0.0.1", 623, "admin", "secret")


async def test_studies_wait_for_one_another_before_they_are_asked_for_and_nothing_else_does() -> None:
    link = WorkerLink()
    link._up.set()
    async with asyncio.TaskGroup() as tasks:
        for number in range(MAX_STUDIES + 2):
            tasks.create_task(link.ask(Study(number, TARGET, Subject.PARTS), 60.0))
        tasks.create_task(link.ask(Command(99, TARGET, 6, 1, b""), 30.0))
        await _settled()
        assert sorted(link._waiting) == [*range(MAX_STUDIES), 99]
        link._waiting[99].put(Answer(99, 0, b""))
        link._waiting[3].put(Rows(3, []))
        await _settled()
        assert sorted(link._waiting) == [0, 1, 2, 4, 5, 6, 7, MAX_STUDIES]
        for number, replies in link._waiting.items():
            replies.put(Rows(number, []))
        await _settled()
        link._waiting[MAX_STUDIES + 1].put(Rows(MAX_STUDIES + 1, []))


async def _settled() -> None:
    """Let every task go on until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)

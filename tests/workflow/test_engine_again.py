"""An engine whose service ended by a fault, and was begun again within the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.lifecycle.conductor import Conductor
from provisioner.model.workflow import FlowStatus, Stage
from provisioner.store.db import Database
from tests.lifecycle.points import Points
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import WAITS, over, until


class BegunAgain(FlowRack):
    """The engine's service ends in its middle, and is begun again, as `Services.keep` does."""

    async def beside(self, conductor: Conductor, db: Database, points: Points) -> list[Callable[[], Any]]:
        (run,) = await super().beside(conductor, db, points)
        self.fault = asyncio.Event()

        async def kept() -> None:
            async with asyncio.TaskGroup() as group:
                service = group.create_task(run())
                await self.fault.wait()
                service.cancel()
            await run()

        return [kept]


async def test_an_engine_that_is_begun_again_takes_up_the_step_that_was_under_way(tmp_path: Path) -> None:
    rack = BegunAgain(tmp_path, ("node17",), WAITS)
    async with rack.daemon():
        await rack.enrol()
        run = await rack.begin("waits")
        await until(rack, run, lambda r: r.members[0].stage is Stage.RUNNING)
        rack.fault.set()
        await rack.engine.signal(run.id, "go")
        assert (await over(rack, run)).status is FlowStatus.DONE

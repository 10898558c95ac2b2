"""Whoever begins a workflow goes away at every write of that: what is on the disk is begun, and nothing else."""

from __future__ import annotations

import pytest

from tests.lifecycle.test_cut_off import KillableCutDatabase, agree, asked
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import over, ready

LOOK = """
name: look
title: one script in the discovery system
goal: [looked.at]
steps:
  look: {where: discovery, provides: [looked.at], script: look}
"""


class CutRack(FlowRack):
    """A rack with workflows whose store goes on without who asks."""

    database = KillableCutDatabase


@pytest.mark.slow
async def test_a_workflow_whose_operator_goes_away_is_carried_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    cut_at, writes, cuts = -1, 0, 0
    while cut_at < writes:
        rack = CutRack(tmp_path_factory.mktemp("at"), ("node17",), LOOK)
        async with rack.alive(), rack.daemon() as conductor:
            await ready(rack)
            writes, gone = await asked(conductor, rack.begin("look"), cut_at)
            assert {each.id for each in rack.engine.all()} == {each.id for each in await rack.engine.store.load()}
            for run in rack.engine.all():
                await over(rack, run)
            await agree(rack, conductor)
        cut_at, cuts = cut_at + 1, cuts + gone
    assert cuts

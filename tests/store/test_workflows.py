"""What steps print: pieces by their place, whatever is sent twice or lost, and never more than is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.model.intent import Asked
from provisioner.store.db import Database
from provisioner.store.intents import IntentStore
from provisioner.store.workflows import OUTPUT_LIMIT, WorkflowStore
from tests.workflow.flows import run_of
from tests.workflow.test_progress import CALL, SCRIPT


async def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    store, run = WorkflowStore(db), run_of(SCRIPT, CALL, machines=3)
    events = await store.create(run, Asked("key", "run x"), [("workflow.started", "", {"run": run.id})])
    assert [event.type for event in events] == ["workflow.started"]
    assert await IntentStore(db).find("key") == (run.id, "", "run x")
    assert await store.load() == [run]
    await store.put_output(run.id, "m1", 1, 0, b"x")
    await store.forget(run.id)
    assert (await store.load(), await store.output(run.id, "m1", 1, 0, 10)) == ([], (b"", 0))
    await db.close()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(0, 200))
async def test_pieces_that_are_sent_again_change_nothing(
    tmp_path: Path, text: bytes, sizes: list[int], after: int
) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    store, at, fence = WorkflowStore(db), 0, abs(hash((text, *sizes)))
    for size in sizes:
        piece = text[at : at + size]
        if not piece:
            break
        await store.put_output("run", "m1", fence, at, piece[: size // 2] or piece)  # its answer is lost: more comes
        await store.put_output("run", "m1", fence, at, piece)
        await store.put_output("run", "m1", fence, at, piece[: size // 3])  # it was on its way since
        at += len(piece)
    found, end = await store.output("run", "m1", fence, after, 10_000)
    assert found == text[after:at]
    assert end == max(after, at)
    await db.close()


async def test_what_is_done_anew_takes_the_place_of_what_it_printed(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    store = WorkflowStore(db)
    await store.put_output("run", "m1", 1, 0, b"no answer")
    await store.put_output("run", "m1", 1, 0, b"done")
    assert await store.output("run", "m1", 1, 0, 100) == (b"done", 4)
    await db.close()


async def test_of_much_output_the_end_is_kept(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    store, piece = WorkflowStore(db), b"x" * 60_000
    for at in range(30):
        await store.put_output("run", "m1", 1, at * len(piece), piece)
    found, end = await store.output("run", "m1", 1, 0, 1 << 30)
    assert end == 30 * len(piece)
    assert OUTPUT_LIMIT - len(piece) <= len(found) <= OUTPUT_LIMIT
    await db.close()


ODD = {
    "each a little further": lambda nth: nth,
    "each a little nearer": lambda nth: 1_000 - nth,
    "from far away and back": lambda nth: (1 << 40) - nth * 60_000,
    "to and fro": lambda nth: (nth % 2) * 60_000 + nth,
}


@pytest.mark.parametrize("place", ODD.values(), ids=ODD.keys())
async def test_no_order_of_pieces_fills_the_store(tmp_path: Path, place: Callable[[int], int]) -> None:
    """What a machine sends is not to be believed: not where a piece begins, either."""
    db = Database(tmp_path / "state.db")
    await db.open()
    store, piece = WorkflowStore(db), b"x" * 60_000
    for nth in range(60):
        await store.put_output("run", "m1", 1, place(nth), piece)
    kept = await db.read(lambda c: c.execute("SELECT sum(length(text)) FROM flow_output").fetchone()[0])
    assert 0 < kept <= OUTPUT_LIMIT + len(piece)
    await db.close()

"""The boot trace: bounded for strangers, kept for machines, claimed when a stranger turns out to be one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.clock import SteadyClock
from provisioner.errors import CursorError, StoreError
from provisioner.model.net import Mac
from provisioner.model.trace import NOW, Channel, TraceFilter, TraceLine
from provisioner.store import trace as module
from provisioner.store.db import Database
from provisioner.store.trace import LINES_EACH, STRANGERS, Trace, write_lines

MAC = Mac("52:54:00:77:00:11")
CLOCK = SteadyClock(wall=lambda: 1000.0, steady=lambda: 0.0)


def line(at: float, text: str = "x", mac: Mac | None = MAC, machine: str = "") -> TraceLine:
    return TraceLine(at, Channel.DHCP, "dhcp.offer", text, mac, machine)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


async def put_on_record(db: Database, *machines: str) -> None:
    rows = [(name, name) for name in machines]
    await db.submit(lambda c: c.executemany("INSERT INTO machine VALUES (?, ?, 1, x'')", rows) and None)


async def test_lines_of_a_machine_are_kept_in_order(db: Database) -> None:
    trace = Trace(db, CLOCK)
    for at in range(5):
        trace.note(line(at, f"line {at}", machine="m1"))
    rows = await trace.read("m1", 0, 100)
    assert [row.text for _, row in rows] == [f"line {at}" for at in range(5)]
    assert [row.text for _, row in await trace.read("m1", rows[2][0], 100)] == ["line 3", "line 4"]
    assert rows[0][1] == line(0, "line 0", machine="m1")


async def test_what_is_told_as_it_happens_has_the_time_of_the_clock_that_runs_have(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(NOW, "ours", machine="m1"))
    trace.note(line(NOW, "a stranger's"))
    assert [seen.at for _, seen in trace.of_stranger(MAC)] == [1000.0]
    trace.claim(MAC, "m1")
    trace.note(line(7.0, "told late", machine="m1"))
    assert [row.at for _, row in await trace.read("m1", 0, 100)] == [1000.0, 1000.0, 7.0]


async def test_what_a_stranger_did_becomes_its_machines(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, "before anybody knew it"))
    assert trace.strangers() == [MAC]
    trace.claim(MAC, "m1", "r1")
    trace.claim(MAC, "m1", "r1")
    assert [(row.text, row.run) for _, row in await trace.read("m1", 0, 100)] == [("before anybody knew it", "r1")]
    assert trace.of_stranger(MAC) == []


async def test_what_a_run_saw_is_told_though_the_clock_was_ahead_before_it(db: Database) -> None:
    trace = Trace(db, CLOCK)
    for at, run, text in (
        (90_000.0, "r1", "a day ahead, of the run before"),
        (90_001.0, "", "and after that"),
        (1_000.0, "r2", "its first line"),
        (900.0, "r2", "told late"),
        (1_001.0, "", "told without a run"),
        (1_002.0, "r2", "its last line"),
    ):
        trace.note(TraceLine(at, Channel.LIFE, "life.x", text, None, "m1", run))
    told = [each.text for each in await trace.since("m1", "r2")]
    assert told == ["its first line", "told late", "told without a run", "its last line"]
    assert await trace.since("m1", "r3") == []


async def test_a_number_that_no_line_has_yet_is_told(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, machine="m1"))
    trace.note(line(1.0))
    assert await trace.read("m1", 1, 100) == trace.of_stranger(MAC, 1) == []
    with pytest.raises(CursorError, match="no line of the trace has the number 2: the last is 1"):
        trace.of_stranger(MAC, 2)
    with pytest.raises(CursorError, match="no line of the trace has the number 70: the last is 1"):
        await trace.read("m1", 70, 100)


async def test_strangers_are_bounded_in_number_and_lines(db: Database) -> None:
    trace = Trace(db, CLOCK)
    for at in range(STRANGERS + 10):
        trace.note(line(at, mac=Mac(f"02:00:00:00:{at >> 8:02x}:{at & 255:02x}")))
    for at in range(LINES_EACH + 10):
        trace.note(line(at))
    assert len(trace.strangers()) == STRANGERS
    assert len(trace.of_stranger(MAC)) == LINES_EACH


async def test_a_number_of_a_strangers_line_is_never_used_twice(db: Database) -> None:
    """Neither when its oldest lines go, nor when it was forgotten for others and comes again."""
    trace, seen = Trace(db, CLOCK), 0
    for at in range(3 * LINES_EACH):
        trace.note(line(at))
        [(number, last)] = trace.of_stranger(MAC, seen)
        assert (number > seen, last.at) == (True, at)
        seen = number
    for at in range(STRANGERS):
        trace.note(line(at, mac=Mac(f"02:00:00:00:{at >> 8:02x}:{at & 255:02x}")))
    assert trace.of_stranger(MAC) == []
    trace.note(line(1.0))
    assert trace.of_stranger(MAC)[0][0] > seen


async def test_a_store_that_refuses_loses_nothing_within_bounds(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, "kept", machine="m1"))
    await db.submit(lambda c: c.execute("ALTER TABLE trace RENAME TO gone") and None)
    with pytest.raises(StoreError):
        await trace.flush()
    await db.submit(lambda c: c.execute("ALTER TABLE gone RENAME TO trace") and None)
    trace.note(line(2.0, "later", machine="m1"))
    assert [row.text for _, row in await trace.read("m1", 0, 100)] == ["kept", "later"]


async def test_lines_of_a_change_are_written_with_it_after_what_was_seen_before(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, "seen", machine="m1"))
    with trace.with_change([line(2.0, "changed", machine="m1")]) as lines:
        written = db.submit(lambda c: write_lines(c, lines))
        trace.note(line(3.0, "meanwhile", machine="m1"))
        await written
    assert [row.text for _, row in await trace.read("m1", 0, 100)] == ["seen", "changed", "meanwhile"]


async def test_who_reads_waits_for_a_change_though_nothing_else_was_seen(db: Database) -> None:
    trace, busy = Trace(db, CLOCK), threading.Event()
    held = db.submit(lambda _: busy.wait(20) and None)
    async with asyncio.TaskGroup() as group:
        with trace.with_change([line(1.0, "changed", machine="m1")]) as lines:
            written = db.submit(lambda c: write_lines(c, lines))
            reading = group.create_task(trace.read("m1", 0, 100))
            for _ in range(8):  # more than it takes to read a trace
                await db.read(lambda c: c.execute("SELECT 1").fetchone())
            waits = not reading.done()
            busy.set()
            await asyncio.gather(held, written)
    assert waits
    assert [row.text for _, row in reading.result()] == ["changed"]


async def test_who_reads_waits_for_a_change_that_comes_to_the_writer_later(db: Database) -> None:
    """What was seen before the reader asked is read, though a change took it along, and its write begins afterwards."""
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, "seen", machine="m1"))
    async with asyncio.TaskGroup() as group:
        with trace.with_change([line(2.0, "changed", machine="m1")]) as lines:
            trace.note(line(3.0, "meanwhile", machine="m1"))
            reading = group.create_task(trace.read("m1", 0, 100))
            while not await db.read(lambda c: c.execute("SELECT count(*) FROM trace").fetchone()[0]):
                await asyncio.sleep(0)  # until what the reader wrote itself is there
            for _ in range(8):  # more than it takes to read a trace
                await db.read(lambda c: c.execute("SELECT 1").fetchone())
            waits = not reading.done()
            await db.submit(lambda c: write_lines(c, lines))
    assert waits
    assert {row.text for _, row in reading.result()} == {"seen", "changed", "meanwhile"}


async def test_of_a_change_that_is_refused_nobody_hears(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, "seen", machine="m1"))
    with pytest.raises(StoreError), trace.with_change([line(2.0, "changed", machine="m1")]):
        raise StoreError("the disk is full")
    trace.note(line(3.0, "later", machine="m1"))
    assert [row.text for _, row in await trace.read("m1", 0, 100)] == ["seen", "later"]


async def test_more_than_can_wait_is_lost_counted_and_told_once(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PENDING_LIMIT", 10)
    trace = Trace(db, CLOCK)
    for at in range(25):
        trace.note(line(at, machine="m1"))
    assert trace.lost == 15
    with caplog.at_level("WARNING"):
        await trace.flush()
        trace.note(line(99, machine="m1"))
        await trace.flush()
    assert [record.getMessage() for record in caplog.records] == ["trace.lost lines=15"]


async def test_what_waits_for_a_store_that_refuses_is_bounded_and_counted(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PENDING_LIMIT", 10)
    trace = Trace(db, CLOCK)
    for at in range(10):
        trace.note(line(at, machine="m1"))
    await db.submit(lambda c: c.execute("ALTER TABLE trace RENAME TO gone") and None)

    async def note_meanwhile() -> None:
        for at in range(3):
            trace.note(line(10 + at, machine="m1"))

    [fault, _] = await asyncio.gather(trace.flush(), note_meanwhile(), return_exceptions=True)
    assert (type(fault), trace.lost) == (StoreError, 3)
    await db.submit(lambda c: c.execute("ALTER TABLE gone RENAME TO trace") and None)
    assert [row.at for _, row in await trace.read("m1", 0, 100)] == list(range(3, 13))


async def test_rows_of_machines_that_are_off_the_record_go_at_the_start(db: Database) -> None:
    await put_on_record(db, "m1")
    trace = Trace(db, CLOCK)
    for machine in ("m1", "m2"):
        trace.note(line(1.0, machine=machine))
    await trace.flush()
    await trace._trim_all()
    assert [len(await trace.read(machine, 0, 10)) for machine in ("m1", "m2")] == [1, 0]


async def test_old_rows_go(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ROWS_EACH", 10)
    trace = Trace(db, CLOCK)
    for at in range(25):
        trace.note(line(at, machine="m1"))
    trace.note(line(99, machine="m2"))
    await trace.flush()
    await trace.trim("m1")
    assert [row.at for _, row in await trace.read("m1", 0, 100)] == list(range(15, 25))
    assert len(await trace.read("m2", 0, 100)) == 1


async def test_a_talkative_machine_does_not_fill_the_store(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ROWS_EACH", 10)
    monkeypatch.setattr(module, "TRIM_EVERY", 5)
    trace = Trace(db, CLOCK)
    for at in range(100):
        trace.note(line(at, machine="m1"))
        await trace.flush()
        assert len(await trace.read("m1", 0, 1000)) < 10 + 5
    assert (await trace.read("m1", 0, 1000))[-1][1].at == 99


async def test_daemons_that_are_restarted_often_keep_no_more(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ROWS_EACH", 10)
    await put_on_record(db, "m1", "m2")
    for daemon in range(4):
        trace = Trace(db, CLOCK)
        for at in range(8):
            trace.note(line(8 * daemon + at, machine="m1"))
        trace.note(line(daemon, machine="m2"))
        await trace.flush()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(Trace(db, CLOCK).run())
        while len(rows := await Trace(db, CLOCK).read("m1", 0, 100)) > 10:
            await asyncio.sleep(0.005)
        running.cancel()
    assert [row.at for _, row in rows] == list(range(22, 32))
    assert len(await Trace(db, CLOCK).read("m2", 0, 100)) == 4


async def test_what_is_forgotten_leaves_nothing(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1, machine="m1"))
    await trace.flush()
    trace.note(line(2, machine="m1"))
    trace.note(line(3, machine="m2"))
    await trace.forget("m1")
    assert (await trace.read("m1", 0, 10), len(await trace.read("m2", 0, 10))) == ([], 1)


SOUGHT: dict[str, tuple[TraceFilter, list[str]]] = {
    "everything": (TraceFilter(), ["Offer 100%", "a_b", "sent"]),
    "text, in any case": (TraceFilter("OFFER"), ["Offer 100%"]),
    "the id": (TraceFilter("http."), ["sent"]),
    "signs that SQL would take for others": (TraceFilter("0%"), ["Offer 100%"]),
    "an underscore": (TraceFilter("a_b"), ["a_b"]),
    "an exclamation mark": (TraceFilter("!"), []),
    "a channel": (TraceFilter(channel="http"), ["sent"]),
    "a run": (TraceFilter(run="r2"), ["a_b", "sent"]),
    "what went wrong": (TraceFilter(troubles=True), ["a_b"]),
    "all together": (TraceFilter("b", "dhcp", "r2", troubles=True), ["a_b"]),
}


@pytest.mark.parametrize(("only", "texts"), SOUGHT.values(), ids=SOUGHT.keys())
async def test_search(db: Database, only: TraceFilter, texts: list[str]) -> None:
    """The store and the filter of lines in memory say the same."""
    trace = Trace(db, CLOCK)
    lines = [
        TraceLine(1, Channel.DHCP, "x.y", "Offer 100%", MAC, "m1", "r1"),
        TraceLine(2, Channel.DHCP, "x.z", "a_b", MAC, "m1", "r2", ok=False),
        TraceLine(3, Channel.HTTP, "http.sent", "sent", MAC, "m1", "r2"),
    ]
    for each in lines:
        trace.note(each)
    assert [found.text for _, found in await trace.read("m1", 0, 10, only)] == texts
    assert [each.text for each in lines if only.fits(each)] == texts


async def test_a_text_that_no_utf8_has_holds_up_no_other(db: Database) -> None:
    trace = Trace(db, CLOCK)
    trace.note(line(1.0, "Acme\ud800 ✓", machine="m1"))
    trace.note(line(2.0, "another's", machine="m2"))
    await trace.flush()
    with trace.with_change([line(3.0, "\udcff", machine="m1")]) as lines:
        await db.submit(lambda c: write_lines(c, lines))
    assert [row.text for _, row in await trace.read("m1", 0, 100)] == ["Acme? ✓", "?"]
    assert [row.text for _, row in await trace.read("m2", 0, 100)] == ["another's"]

"""Image fan-out with the real shell code, busybox's httpd and curl: content is whole, whatever neighbours do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.discovery.sharing import CHUNK, CONTENT, SHA, Machine, Origin
from tests.discovery.shell import run

pytestmark = pytest.mark.slow  # two programs are started for every chunk of every machine

GATHER = f'join_share {{}} {SHA}\ngather\nchunks_in_order | sha256sum | cut -d " " -f 1'
STREAM = f"join_share {{}} {SHA}\nset_window {CHUNK * 8}\nstream_shared | sha256sum | cut -d ' ' -f 1"


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    async with origin.serving():
        yield origin


@pytest.fixture
def machines(origin: Origin, tmp_path: Path) -> Iterator[list[Machine]]:
    made = [Machine(origin, tmp_path, number) for number in range(4)]
    yield made
    for machine in made:
        machine.end()


async def all_run(machines: list[Machine], script: str) -> list[tuple[int, bytes, str]]:
    return await asyncio.gather(*(machine.run(script.format(machine.image)) for machine in machines))


WIDE = STREAM.replace(str(CHUNK * 8), str(len(CONTENT) * 2))


@pytest.mark.parametrize("script", [GATHER, WIDE], ids=["all in memory", "as they write it"])
async def test_machines_take_an_image_together(origin: Origin, machines: list[Machine], script: str) -> None:
    for status, out, said in await all_run(machines, script):
        assert (status, out.decode().strip()) == (0, SHA), said
    assert origin.sent < 2 * len(CONTENT), "four machines, and no two copies from the origin"


async def test_machines_that_keep_little_end_with_the_same_image(origin: Origin, machines: list[Machine]) -> None:
    for status, out, said in await all_run(machines, STREAM):
        assert (status, out.decode().strip()) == (0, SHA), said


async def test_a_window_keeps_memory_small(origin: Origin, machines: list[Machine]) -> None:
    status, _, said = await machines[0].run(STREAM.format(machines[0].image))
    assert status == 0, said
    kept = list((machines[0].state / "share" / "www").glob("*/*"))
    assert 0 < len(kept) <= 8


LIES = {"other content": b"evil" * (CHUNK // 4), "more than was asked for": bytes(CHUNK * 9), "nothing": b""}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_neighbours_that_lie_change_nothing(origin: Origin, machines: list[Machine], lie: bytes) -> None:
    liar, honest = machines[:2]
    status, _, said = await liar.run(GATHER.format(liar.image))
    assert status == 0, said
    for file in (liar.state / "share" / "www").glob("*/*"):
        file.write_bytes(lie)
    status, out, said = await honest.run(GATHER.format(honest.image))
    assert (status, out.decode().strip()) == (0, SHA), said


async def test_no_more_is_kept_of_a_chunk_than_belongs_to_it(origin: Origin, machines: list[Machine]) -> None:
    """Whoever sends it sends on and on."""
    one = machines[0]
    origin.content = CONTENT + bytes(CHUNK * 9)
    fetch = f"join_share {one.image} {SHA}\nchunk_bytes=1000\n: >$share/report\n"
    fetch += 'rm() { stat -c %s "$2"; }\nfetch_chunk 0 "${share_url}?whole" 1'
    status, out, said = await one.run(fetch)
    assert status == 0, said
    assert out.decode().split() == ["1024", "bad", "0"]


async def test_nobody_is_blamed_where_memory_is_full(origin: Origin, machines: list[Machine]) -> None:
    one = machines[0]
    fetch = f"join_share {one.image} {SHA}\n: >$share/report\nln -s /dev/full $share/in/0.1\nfetch_chunk 0 - 1"
    status, out, said = await one.run(fetch)
    assert (status, out) == (1, b""), said
    assert f"failed: chunk 0 of {one.image} could not be kept: memory is full" in said


async def test_neighbours_that_are_gone_are_forgotten(origin: Origin, machines: list[Machine]) -> None:
    dead, alive = machines[:2]
    assert (await dead.run(GATHER.format(dead.image)))[0] == 0
    dead.end()
    status, out, said = await alive.run(GATHER.format(alive.image))
    assert (status, out.decode().strip()) == (0, SHA), said


async def test_an_origin_whose_content_is_wrong_ends_the_job(machines: list[Machine], origin: Origin) -> None:
    origin.content = bytes(len(CONTENT))
    status, out, said = await machines[0].run(GATHER.format(machines[0].image))
    assert status != 0
    assert out == b""
    assert "image has the wrong hash" in said


async def test_what_is_not_shared_is_streamed_as_ever(machines: list[Machine], origin: Origin) -> None:
    script = f"join_share {machines[0].image} {'0' * 64} && echo joined || echo alone"
    assert (await machines[0].run(script))[1] == b"alone\n"
    origin.hashes.add("0" * 64)
    assert (await machines[0].run(script))[1] == b"alone\n", "a list of something else"


async def test_chunks_are_served_under_a_path_that_nobody_guesses(machines: list[Machine], origin: Origin) -> None:
    one = machines[0]
    ask = f"curl --path-as-is -s -o /dev/null -w '%{{http_code}} ' http://127.0.0.1:{one.port}"
    script = GATHER.replace("{}", one.image) + f"\nfor path in / /0 /www /../list; do {ask}$path; done"
    status, out, said = await one.run(script)
    assert status == 0, said
    assert set(out.decode().split()[1:]) <= {"404", "400", "403"}


async def test_a_machine_takes_up_what_it_had(machines: list[Machine], origin: Origin) -> None:
    script = GATHER + "\nannounce && gather"
    status, _, said = await machines[0].run(script.format(machines[0].image))
    assert status == 0, said
    assert origin.sent == len(CONTENT)


HELD = {
    "nothing": ([], ""),
    "one": ([7], "have 7-7\n"),
    "runs, by number and not by name": ([0, 1, 2, 9, 10, 11, 100], "have 0-2\nhave 9-11\nhave 100-100\n"),
    "an image of 40 GiB but for one chunk": ([*range(4000), *range(4001, 10_000)], "have 0-3999\nhave 4001-9999\n"),
}


@pytest.mark.parametrize(("chunks", "lines"), HELD.values(), ids=HELD.keys())
def test_chunks_that_are_here_are_told_as_runs(tmp_path: Path, chunks: list[int], lines: str) -> None:
    for index in chunks:
        (tmp_path / str(index)).touch()
    done = run(f"chunk_dir={tmp_path}\nheld_runs", tmp_path.parent)
    assert (done.returncode, done.stdout.decode()) == (0, lines), done.stderr


@pytest.mark.parametrize("step", [1, 2], ids=["one run", "more runs than can be told"])
async def test_a_daemon_that_was_restarted_takes_a_machine_with_thousands_of_chunks(
    machines: list[Machine], step: int
) -> None:
    fill = f'index=0\nwhile [ $index -lt 10000 ]; do : >"$chunk_dir/$index"; index=$((index + {step})); done'
    status, _, said = await machines[0].run(f"join_share {machines[0].image} {SHA}\n{fill}\nannounce")
    assert status == 0, said


def test_the_content_is_what_its_hash_says() -> None:
    assert hashlib.sha256(CONTENT).hexdigest() == SHA

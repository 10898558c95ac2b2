"""The renderer's process: it renders, it is bounded, and one rendering that goes wrong takes nobody else's with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from provisioner.catalog.crypt import Unhashed, sha512_crypt
from provisioner.catalog.render import Renderer
from provisioner.catalog.renderer import RenderProcess
from provisioner.errors import RenderError

TEMPLATES = {
    "hello.sh.j2": "echo {{ machine.name }}\n",
    "hash.sh.j2": "echo {{ system.root.hash }}\n",
    "loop.sh.j2": "{% for a in range(4000) %}" * 3 + "{% endfor %}" * 3,
    "memory.sh.j2": "{% set n = namespace(x=['a']) %}{% for a in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "stuck.sh.j2": "{% set n = namespace(x=123456789) %}{% for a in range(64) %}{% set n.x = n.x * n.x %}{% endfor %}",
}
CONTEXT: dict[str, Any] = {"machine": {"name": "a b"}}


@asynccontextmanager
async def process(**settings: Any) -> AsyncIterator[RenderProcess]:
    async with RenderProcess(**settings) as renderer:
        await renderer.load(Renderer(TEMPLATES).codes)
        yield renderer


async def test_renders_many_at_once_in_their_order() -> None:
    async with process() as renderer:
        names = [f"node{number}" for number in range(500)]
        contexts: list[dict[str, Any]] = [{"machine": {"name": name}} for name in names]
        texts = await asyncio.gather(*(renderer.render("hello.sh.j2", context) for context in contexts))
        assert texts == [f"echo {name}\n" for name in names]


async def test_a_fault_is_the_template_s_own() -> None:
    async with process() as renderer:
        with pytest.raises(RenderError, match=r"templates/hello\.sh\.j2:1: .*no attribute 'name'"):
            await renderer.render("hello.sh.j2", {"machine": {}})
        with pytest.raises(RenderError, match="there is no such template"):
            await renderer.render("../etc/passwd", {})
        with pytest.raises(RenderError, match="cannot be given to a template"):
            await renderer.render("hello.sh.j2", {"machine": object()})
        assert await renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"


async def test_passwords_are_hashed_where_they_are_rendered() -> None:
    async with process() as renderer:
        contexts = [{"system": {"root": {"hash": Unhashed(word, "saltstring")}}} for word in ("Hello world!", "x") * 2]
        texts = await asyncio.gather(*(renderer.render("hash.sh.j2", context) for context in contexts))
        assert texts == [f"echo '{sha512_crypt(word, 'saltstring')}'\n" for word in ("Hello world!", "x") * 2]
        with pytest.raises(RenderError, match="cannot be given to a template"):
            await renderer.render("hash.sh.j2", {"system": {"root": {"hash": Unhashed("\ud83d", "saltstring")}}})


@pytest.mark.slow
async def test_what_takes_long_together_is_no_reason_to_end_the_process() -> None:
    """Requests that come together each have their own time."""
    async with process(wall_s=2.0) as renderer:
        pid = renderer.pid
        contexts = [{"system": {"root": {"hash": Unhashed(f"word{n}", "saltstring")}}} for n in range(400)]
        await asyncio.gather(*(renderer.render("hash.sh.j2", context) for context in contexts))
        assert renderer.pid == pid


async def test_new_templates_take_effect_at_once() -> None:
    async with process() as renderer:
        before = asyncio.ensure_future(renderer.render("hello.sh.j2", CONTEXT))  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
        await renderer.load(Renderer({"hello.sh.j2": "printf {{ machine.name }}\n"}).codes)
        assert await before == "echo 'a b'\n"
        assert await renderer.render("hello.sh.j2", CONTEXT) == "printf 'a b'\n"
        with pytest.raises(RenderError, match="there is no such template"):
            await renderer.render("loop.sh.j2", CONTEXT)


async def test_a_process_that_is_killed_before_it_has_templates_is_started_again() -> None:
    async with RenderProcess() as renderer:
        assert renderer.pid is not None
        os.kill(renderer.pid, signal.SIGKILL)
        while not renderer.restarts:
            await asyncio.sleep(0.01)
        await renderer.load(Renderer(TEMPLATES).codes)
        assert await renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"


async def test_a_process_that_does_not_start_is_told_to_whoever_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    async with RenderProcess() as renderer:
        with pytest.raises(RenderError, match="took the renderer down"):
            await renderer.load(Renderer(TEMPLATES).codes)


async def test_memory_is_bounded() -> None:
    async with process() as renderer:
        with pytest.raises(RenderError, match="memory"):
            await renderer.render("memory.sh.j2", CONTEXT)
        assert await renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"


@pytest.mark.slow
async def test_processor_time_is_bounded() -> None:
    async with process() as renderer:
        with pytest.raises(RenderError, match=r"took more than 2 s of processor time|was killed"):
            await renderer.render("loop.sh.j2", CONTEXT)
        assert await renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"


@pytest.mark.slow
async def test_what_hangs_is_killed_and_what_waited_behind_it_is_rendered() -> None:
    async with process(wall_s=0.7) as renderer:
        stuck = asyncio.ensure_future(renderer.render("stuck.sh.j2", CONTEXT))  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
        renderer._wall_s = 60.0  # of those behind it: they do not hang
        behind = await asyncio.gather(*(renderer.render("hello.sh.j2", CONTEXT) for _ in range(50)))
        assert set(behind) == {"echo 'a b'\n"}
        with pytest.raises(RenderError, match=r"killed|memory"):
            await stuck


async def test_what_waits_at_the_end_fails() -> None:
    async with process() as renderer:
        last = asyncio.ensure_future(renderer.render("stuck.sh.j2", CONTEXT))  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
    with pytest.raises(RenderError, match="is closed"):
        await last


async def test_a_process_that_somebody_kills_is_started_again() -> None:
    async with process() as renderer:
        assert renderer.pid is not None
        first = renderer.pid
        os.kill(first, signal.SIGKILL)
        contexts = [CONTEXT] * 200
        told = await asyncio.gather(
            *(renderer.render("hello.sh.j2", context) for context in contexts), return_exceptions=True
        )
        assert sum(isinstance(one, RenderError) for one in told) <= 1  # the one that it is thought to have died of
        assert await renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"
        assert renderer.pid != first
        assert renderer.restarts == 1

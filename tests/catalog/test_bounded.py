"""The renderer's process without a loop: what goes wrong in it is told, and the next text comes all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provisioner.catalog.bounded import BoundedRenderer
from provisioner.catalog.render import Renderer
from provisioner.errors import RefusedError, RenderError

TEMPLATES = {
    "hello.sh.j2": "echo {{ machine.name }}\n",
    "refused.sh.j2": "{{ fail('not on this one') }}",
    "loop.sh.j2": "{% for a in range(n) %}" * 3 + "{% endfor %}" * 3,
    "memory.sh.j2": "{% set n = namespace(x=['a']) %}{% for a in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
}
CONTEXT: dict[str, Any] = {"machine": {"name": "a b"}}


@pytest.fixture(scope="module")
def renderer() -> Iterator[BoundedRenderer]:
    with BoundedRenderer(Renderer(TEMPLATES).codes) as one:
        yield one


def test_renders(renderer: BoundedRenderer) -> None:
    assert renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"


def test_what_a_template_refuses_is_no_fault_of_it(renderer: BoundedRenderer) -> None:
    with pytest.raises(RefusedError, match="not on this one"):
        renderer.render("refused.sh.j2", CONTEXT)


def test_a_fault_has_its_place(renderer: BoundedRenderer) -> None:
    with pytest.raises(RenderError, match=r"templates/hello\.sh\.j2:1: .*no attribute 'name'") as caught:
        renderer.render("hello.sh.j2", {"machine": {}})
    assert not isinstance(caught.value, RefusedError)


def test_memory_is_bounded(renderer: BoundedRenderer) -> None:
    with pytest.raises(RenderError, match=r"memory\.sh\.j2.* memory"):
        renderer.render("memory.sh.j2", CONTEXT)
    assert renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"


BOUNDS = {"processor time": (60.0, "took more than 2 s of processor time"), "time": (1.0, "did not end within 1 s")}


@pytest.mark.slow
@pytest.mark.parametrize(("wall_s", "why"), BOUNDS.values(), ids=BOUNDS.keys())
def test_what_takes_too_long_is_tried_once(wall_s: float, why: str) -> None:
    with BoundedRenderer(Renderer(TEMPLATES).codes, wall_s=wall_s) as renderer:
        with pytest.raises(RenderError, match=why) as first:
            renderer.render("loop.sh.j2", CONTEXT | {"n": 4000})
        with pytest.raises(RenderError) as second:
            renderer.render("loop.sh.j2", CONTEXT | {"n": 1})  # would end at once, were it tried
        assert str(second.value) == str(first.value)
        renderer._wall_s = 60.0  # what does not hang may take its time
        assert renderer.render("hello.sh.j2", CONTEXT) == "echo 'a b'\n"

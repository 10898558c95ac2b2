"""The sandbox: what templates can do, what they cannot, and how a fault names its line."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.catalog.compile import MAX_TEMPLATE_BYTES
from provisioner.catalog.render import MAX_DEPTH, MAX_OUTPUT_CHARS, Renderer
from provisioner.errors import RenderError

CONTEXT: dict[str, Any] = {
    "machine": {"name": "it's $(node17)", "tags": ["a", "b"]},
    "params": {"packages": ["vim", "x y"], "deep": {"n": 3}},
}


def render(source: str, name: str = "t.sh.j2", **more: str) -> str:
    return Renderer({name: source, **more}).render(name, CONTEXT)


RENDERED = {
    "what is printed is escaped": ("echo {{ machine.name }}", """echo 'it'"'"'s $(node17)'"""),
    "what the template says itself is not": ("echo $(id)", "echo $(id)"),
    "a filter of the dialect is not applied twice": ("echo {{ machine.name | sh }}", """echo 'it'"'"'s $(node17)'"""),
    "joined text is a value again": ("echo {{ 'a ' ~ ('b c' | sh) }}", """echo 'a '"'"'b c'"'"''"""),
    "loops": ("{% for p in params.packages %}{{ p }} {{ loop.index }}\n{% endfor %}", "vim 1\n'x y' 2\n"),
    "a block that was set is a value": ("{% set x %}a b{% endset %}{{ x }}", "'a b'"),
    "defaults": ("{{ params.nothing | default('none') }}", "none"),
    "methods of plain values": ("{{ 'a-b'.split('-')[1] }}{{ params.deep.get('n') }}", "b3"),
    "a template in a value is not rendered": ("{{ '{{ machine }}' }}", "'{{ machine }}'"),
}


@pytest.mark.parametrize(("source", "text"), RENDERED.values(), ids=RENDERED.keys())
def test_renders(source: str, text: str) -> None:
    assert render(source) == text


def test_an_include_prints_by_its_own_dialect() -> None:
    outer = "a: {{ machine.name }}\n{% set script %}{% include 'in.sh.j2' %}{% endset %}b: {{ script }}\n"
    text = Renderer({"out.yaml.j2": outer, "in.sh.j2": "echo {{ machine.name }}"}).render("out.yaml.j2", CONTEXT)
    assert text == "a: \"it's $(node17)\"\nb: \"echo 'it'\\\"'\\\"'s $(node17)'\"\n"


ESCAPES = {
    "the class of a value": "{{ machine.__class__ }}",
    "the class by a filter": "{{ machine | attr('__class__') }}",
    "format strings (CVE-2016-10745)": "{{ '{0.__class__}'.format(machine) }}",
    "format_map (CVE-2019-10906)": "{{ '{a.__class__}'.format_map({'a': machine}) }}",
    "a stored method (CVE-2024-56326)": "{% set f = '{0.__class__}'.format %}{{ f(machine) }}",
    "the template's own insides (CVE-2016-3693)": "{{ self._TemplateReference__context }}",
    "the loop's insides": "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "a change of what was given": "{% set _ = params.packages.append('x') %}",
    "a change of a mapping": "{% set _ = machine.update({'name': 'x'}) %}",
    "much out of little": "{{ 'a' * 10000000 }}",
    "much out of little, the other way round": "{{ 10000000 * 'a' }}",
    "powers": "{{ 9 ** 9 ** 9 }}",
    "padding": "{{ 'a'.ljust(1000000000) }}",
    "format by %": "{{ '%1000000000d' % 1 }}",
    "a long range": "{% for i in range(1000000) %}x{% endfor %}",
    "a wide indent": "{{ 'a' | center(1000000000) }}",
    "more output than a page": "{% for i in range(4000) %}" + "x" * 300 + "{% endfor %}",
    "a name that nobody gave": "{{ nobody }}",
    "a key that is not there": "{{ machine.nothing }}",
    "a key that is not there, in a condition": "{% if machine.nothing %}x{% endif %}",
    "a list printed as it is": "{{ machine.tags }}",
    "division by nothing": "{{ 1 / 0 }}",
    "another template's file": "{% include '/etc/passwd' %}",
    "an include of itself": "{% include 't.sh.j2' %}",
    "a statement that is none": "{% if %}",
}


@pytest.mark.parametrize("source", ESCAPES.values(), ids=ESCAPES.keys())
def test_refuses(source: str) -> None:
    with pytest.raises(RenderError, match=r"templates/t\.sh\.j2"):
        render(source)


def test_a_fault_names_the_line() -> None:
    with pytest.raises(RenderError, match=r"templates/in\.sh\.j2:2: .*has no attribute 'nothing'"):
        render("\n\n{% include 'in.sh.j2' %}", **{"in.sh.j2": "\n{{ machine.nothing }}"})


CHECKED = {
    "a syntax fault": ("{% if x %}", "templates/t.sh.j2:1: "),
    "a macro": ("\n{% macro m() %}{% endmacro %}", "templates/t.sh.j2:2: {% macro %} is not read"),
    "inheritance": ("{% extends 'u.sh.j2' %}", "{% extends %} is not read"),
    "a name that does not exist": ("{{ machin.name }}", "machin: no such name"),
    "an include that does not exist": ("{% include 'no.sh.j2' %}", "includes no.sh.j2, which does not exist"),
    "an include by a computed name": ("{% include machine.name %}", "has to name its template plainly"),
    "a filter that does not exist": ("{{ machine.name | shh }}", "templates/t.sh.j2:1: No filter named 'shh'"),
    "too much text": ("x" * (MAX_TEMPLATE_BYTES + 1), "at most"),
}


@pytest.mark.parametrize(("source", "says"), CHECKED.values(), ids=CHECKED.keys())
def test_faults_are_found_before_a_template_is_used(source: str, says: str) -> None:
    faults = Renderer({"t.sh.j2": source, "u.sh.j2": ""}).check()
    assert len(faults) == 1
    assert says in faults[0]


def test_all_faults_of_all_templates_are_found() -> None:
    assert len(Renderer({"a.sh.j2": "{% if %}", "b.j2": "", "c.sh.j2": "{{ x }}{{ y }}"}).check()) == 4


NOT_PLAIN = {
    "an object": {"machine": object()},
    "a subclass of text": {"machine": type("S", (str,), {})("x")},
    "bytes": {"machine": b"x"},
    "a tuple": {"machine": ()},
    "a key that is no text": {"machine": {1: 2}},
    "a function": {"machine": {"name": print}},
}


@pytest.mark.parametrize("context", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_only_plain_values_reach_a_template(context: dict[str, Any]) -> None:
    with pytest.raises(RenderError, match="cannot be given to a template"):
        Renderer({"t.sh.j2": "x"}).render("t.sh.j2", context)


def test_values_nested_too_deep_are_refused() -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(RenderError, match="nested deeper"):
        Renderer({"t.sh.j2": "x"}).render("t.sh.j2", {"machine": deep})


def test_there_is_no_template_of_that_name() -> None:
    for name in ("../../etc/passwd", "/etc/shadow", "x", ""):
        with pytest.raises(RenderError, match="there is no such template"):
            Renderer({"t.sh.j2": "x"}).render(name, {})


def test_a_page_of_output_is_the_limit() -> None:
    assert MAX_OUTPUT_CHARS == 1 << 20
    with pytest.raises(RenderError, match="characters come out"):
        render("{% for i in range(4000) %}" + "x" * 300 + "{% endfor %}")


@pytest.mark.slow
@given(st.text(max_size=80))
def test_any_template_renders_or_raises_a_render_error(source: str) -> None:
    renderer = Renderer({"t.sh.j2": source})
    renderer.check()
    with contextlib.suppress(RenderError):
        renderer.render("t.sh.j2", CONTEXT)

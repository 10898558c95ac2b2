"""What is compiled: nothing is evaluated by it, and what is too much of a template is a fault with its line."""

from __future__ import annotations

import pytest

from provisioner.catalog import compile as compiling
from provisioner.catalog import escape, render
from provisioner.catalog.compile import MAX_BITS, MAX_NESTING, MAX_NODES, compiled
from provisioner.catalog.render import Renderer

BOMBS = {
    "digits": "{{ 1.5 | round(30000000, 'ceil') }}",
    "width": '{{ "x\\ny" | indent(700000000) | length }}',
    "repeated": "{{ 'x' * 3000000000 }}",
    "powers": "{{ 9 ** 9 ** 9 }}",
    "formatted": "{{ '%3000000000d' % 1 }}",
    "replaced": "{{ ('a' * 65000) | replace('a', 'b' * 65000) | length }}",
    "filled": "{{ [1] | batch(1000000000, 'x') | list | length }}",
    "sliced": "{{ [1] | slice(1000000000) | list | length }}",
    "in a condition": "{% if 1.5 | round(30000000, 'ceil') %}x{% endif %}",
    "in what is set": "{% set x = 'x\\ny' | indent(700000000) %}",
    "in a loop": "{% for x in [1] | batch(1000000000, 'x') %}x{% endfor %}",
}
"""Constants that take minutes or gigabytes once somebody evaluates them."""

EVALUATED = {
    "printed": "{{ 'x' | seen }}",
    "in a condition": "{% if 'x' | seen %}{% elif 'x' | seen %}{% endif %}",
    "in a loop": "{% for x in ['x' | seen] %}{% endfor %}",
    "set": "{% set x = 'x' | seen %}",
    "an argument": "{{ 'y' | default('x' | seen) }}",
    "the name of an include": "{% include 'x' | seen %}",
    "a tag that is refused": "{% autoescape 'x' | seen %}{% endautoescape %}",
    "two names at once": "{% with a = 'x' | seen %}{{ a }}{% endwith %}",
}


@pytest.mark.parametrize("source", EVALUATED.values(), ids=EVALUATED.keys())
def test_compiling_evaluates_nothing(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setitem(escape.FILTERS, "seen", seen.append)
    compiled("t.sh.j2", f"{source}\n")
    assert seen == []


TOO_MUCH = {
    # a good line before it: the fault names the second
    "loops in each other": ("{% for a in [1] %}" * 30 + "{% endfor %}" * 30, "16 blocks"),
    "conditions in each other": ("{% if 1 %}" * 150 + "{% endif %}" * 150, "16 blocks"),
    "parentheses": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested deeper"),
    "lists in each other": ("{{ " + "[" * 3000 + "]" * 3000 + " }}", "nested deeper"),
    "a long sum": ("{{ " + "+".join(["1"] * 2000) + " }}", "nested deeper"),
    "a short sum that is deep": ("{{ " + "+".join(["1"] * 100) + " }}", "nested deeper"),
    "many times not": ("{{ " + "not " * 300 + "1 }}", "nested deeper"),
    "one filter after the other": ("{{ 'a'" + " | upper" * 300 + " }}", "nested deeper"),
    "names of names": ("{{ machine" + ".a" * 400 + " }}", "nested deeper"),
    "a number of 5,000 digits": ("{{ " + "9" * 5000 + " }}", f"a number of more than {MAX_BITS} bits"),
    "a number of 100 digits": ("{{ " + "9" * 100 + " }}", f"a number of more than {MAX_BITS} bits"),
    "a long number to another base": ("{{ 0x" + "f" * 5000 + " }}", f"a number of more than {MAX_BITS} bits"),
    "a number without bounds": ("{{ 1e999 }}", f"a number of more than {MAX_BITS} bits"),
    "many values": ("{{ machine.name }}" * (MAX_NODES // 2), f"more than {MAX_NODES} names"),
    "many branches": ("{% if 1 %}" + "{% elif 1 %}" * (MAX_NODES // 2) + "{% endif %}", f"more than {MAX_NODES} names"),
    "an argument given twice": ("{{ 'a' | default(value=1, value=2) }}", "keyword argument repeated"),
}


@pytest.mark.parametrize(("source", "says"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_too_much_is_a_fault_with_its_line(source: str, says: str) -> None:
    faults = Renderer({"t.sh.j2": f"{{{{ machine.name }}}}\n{source}"}).check()
    assert len(faults) == 1
    assert faults[0].startswith("templates/t.sh.j2:2: ")
    assert says in faults[0]


def test_includes_are_bounded_by_what_becomes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hands over all names that were set: the code grows as the square of the template."""
    monkeypatch.setattr(compiling, "MAX_CODE_CHARS", 20_000)
    sets = "".join(f"{{% set a{number} = 1 %}}" for number in range(40))
    (fault,) = compiled("t.sh.j2", sets + "{% include 'u.sh.j2' %}" * 40).faults
    assert "too many includes" in fault


DEEP = {
    "not": ("not ", "a", ""),
    "parentheses and sums": ("(1 + ", "1", ")"),
    "joined": ("(1 ~ ", "1", ")"),
    "compared": ("(1 == ", "1", ")"),
    "multiplied": ("(1 * ", "1", ")"),
    "asked": ("(1 if ", "1", ")"),
    "lists": ("[", "", "]"),
    "mappings": ("{'a': ", "1", "}"),
    "filters": ("", "a", " | upper"),
    "attributes": ("", "a", ".b"),
    "keys": ("", "a", "[0]"),
    "calls": ("f(", "", ")"),
}


@pytest.mark.parametrize(("before", "inside", "after"), DEEP.values(), ids=DEEP.keys())
def test_as_deep_as_is_allowed_can_be_compiled(before: str, inside: str, after: str) -> None:
    def faults(depth: int) -> tuple[str, ...]:
        return compiled("t.sh.j2", "{{ " + before * depth + inside + after * depth + " }}").faults

    deepest = MAX_NESTING + 1
    while found := faults(deepest):
        assert "nested deeper" in found[0]
        deepest -= 1
    assert deepest > MAX_NESTING // 3


def test_as_many_blocks_as_are_allowed_can_be_compiled() -> None:
    depth = compiling.MAX_BLOCKS
    start = "{% for a in [1] if a %}{{ loop.index }}"
    assert not compiled("t.sh.j2", start * depth + "{% else %}x{% endfor %}" * depth).faults
    assert not compiled("t.sh.j2", "{% if 1 %}x" * depth + "{% else %}y{% endif %}" * depth).faults


def test_all_templates_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = {"t.sh.j2": "{{ machine.name }}", "u.sh.j2": "{{ machine.name }}"}
    assert not Renderer(templates).check()
    monkeypatch.setattr(render, "MAX_ALL_NODES", 7)
    monkeypatch.setattr(render, "MAX_ALL_BYTES", 35)
    monkeypatch.setattr(render, "MAX_ALL_CODE_BYTES", 99)
    assert Renderer(templates).check() == [
        "templates: 8 names, values and operations in all, at most 7",
        "templates: 36 octets in all, at most 35",
        f"templates: {sum(map(len, Renderer(templates).codes.values()))} octets in all when compiled, at most 99",
    ]

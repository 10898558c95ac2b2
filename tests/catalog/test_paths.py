"""What a template reads, followed through the names that it gives things."""

from __future__ import annotations

import jinja2
import pytest
from jinja2 import nodes

from provisioner.catalog.paths import paths

NAMES = frozenset({"params", "system"})
READS: dict[str, tuple[str, set[str]]] = {
    "as it is given": ("{{ system.disk.layout }}", {"system.disk", "system.disk.layout"}),
    "of what is not given": ("{{ other.disk }}", set()),
    "in a branch": ("{% if 0 %}{{ system.a }}{% endif %}", {"system.a"}),
    "a key in brackets": ('{{ system["disk"]["a"] }}', {"system.disk", "system.disk.a"}),
    "a key that may be there": ('{{ system.get("a", {}).b }}', {"system.get", "system.a", "system.a.b"}),
    "a computed key": ("{{ system[system.a].b }}", {"system.a"}),
    "an item by number": ("{{ system.disks[0].path }}", {"system.disks", "system.disks.[]", "system.disks.[].path"}),
    "by a name": ("{% set d = system.disk %}{{ d.a }}", {"system.disk", "system.disk.a"}),
    "by a name of a name": (
        "{% set e = d.a %}{% set d = system.disk %}{{ e.b }}",
        {"system.disk", "system.disk.a", "system.disk.a.b"},
    ),
    "by a name set twice to the same": (
        "{% set d = system.a %}{{ d.b }}{% set d = system.a %}",
        {"system.a", "system.a.b"},
    ),
    "by a name that stands for two things": (
        "{% set d = system.a %}{% set d = system.b %}{{ d.c }}",
        {"system.a", "system.b"},
    ),
    "by a name that is also computed": ("{% set d = system.a %}{% set d = 1 + 1 %}{{ d.c }}", {"system.a"}),
    "by a name of a block": ("{% set d %}x{% endset %}{% set d = system.a %}{{ d.c }}", {"system.a"}),
    "by a name that stands for itself": ("{% set d = d.a %}{{ d.b }}", set()),
    "by a name that hides what is given": ("{% set system = params.a %}{{ system.b }}", {"params.a", "params.a.b"}),
    "by the items of a list": (
        "{% for part in system.parts %}{{ part.size }}{% endfor %}",
        {"system.parts", "system.parts.[].size"},
    ),
    "by some of them": (
        '{% for part in system.parts | selectattr("x") | sort if part.a %}{{ part.b }}{% endfor %}',
        {"system.parts", "system.parts.[].a", "system.parts.[].b"},
    ),
    "by the first of them": (
        "{{ (system.parts | first).a }}",
        {"system.parts", "system.parts.[].a"},
    ),
    "by pairs": ("{% for k, v in system.parts.items() %}{{ v.a }}{% endfor %}", {"system.parts", "system.parts.items"}),
    "by a list that is made": ("{% for v in [system.a, system.b] %}{{ v.c }}{% endfor %}", {"system.a", "system.b"}),
    "by what a filter makes of it": ('{% set d = system.a | join("") %}{{ d.c }}', {"system.a"}),
    "by one name in two loops over one list": (
        "{% for p in system.a %}{{ p.b }}{% endfor %}{% for p in system.a %}{{ p.c }}{% endfor %}",
        {"system.a", "system.a.[].b", "system.a.[].c"},
    ),
    "by one name in loops over two lists": (
        "{% for p in system.a %}{{ p.b }}{% endfor %}{% for p in system.c %}{{ p.d }}{% endfor %}",
        {"system.a", "system.c"},
    ),
}


@pytest.mark.parametrize(("template", "read"), READS.values(), ids=READS.keys())
def test_reads(template: str, read: set[str]) -> None:
    tree = jinja2.Environment(autoescape=True).parse(template)
    found = [tree, *tree.find_all(nodes.Node)]
    assert {".".join(path) for _, path in paths(found, NAMES)} == read


def test_a_path_has_its_line() -> None:
    tree = jinja2.Environment(autoescape=True).parse("\n\n{{ system.a }}")
    assert list(paths([tree, *tree.find_all(nodes.Node)], NAMES)) == [(3, ("system", "a"))]

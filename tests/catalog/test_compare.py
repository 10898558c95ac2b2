"""What one catalogue has that another has not."""

from __future__ import annotations

from dataclasses import replace

from provisioner.catalog.compare import compare
from provisioner.catalog.params import Layer
from tests.shipped import catalogue


def test_what_is_added_removed_and_changed() -> None:
    before = catalogue().content
    bootenvs = {name: each for name, each in before.bootenvs.items() if name != "memtest"}
    bootenvs["rescue"] = replace(bootenvs["rescue"], title="another")
    bootenvs["discovery"] = replace(bootenvs["discovery"], source="elsewhere/discovery.yaml")
    after = replace(
        before, bootenvs=bootenvs, templates={**before.templates, "site/x.sh.j2": ""},
        values={("role", "web"): Layer("role", "x", {})},
    )  # fmt: skip
    assert list(compare(before, after)) == [
        "bootenv memtest: removed", "bootenv rescue: changed", "template site/x.sh.j2: added",
        "values of role web: added",
    ]  # fmt: skip
    assert list(compare(before, before)) == []

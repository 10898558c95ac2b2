"""Names of several machines."""

from __future__ import annotations

import pytest

from provisioner.errors import ConfigError
from provisioner.lifecycle.plans import Verb
from provisioner.model.names import expand, run_name

CASES = {
    "one": ("node17", ["node17"]),
    "several": ("node17,node18", ["node17", "node18"]),
    "each once, in order": ("b,a,b", ["b", "a"]),
    "a range keeps its digits": ("node[08-11]", ["node08", "node09", "node10", "node11"]),
    "ranges and numbers": ("node[1-2,7]", ["node1", "node2", "node7"]),
    "two ranges": ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    "as many as may be": ("node[0-9999]", [f"node{at}" for at in range(10_000)]),
    "three ranges": ("a[1-2]b[3]c[4-5]d", ["a1b3c4d", "a1b3c5d", "a2b3c4d", "a2b3c5d"]),
    "what follows the range": ("r[1-2]-a,x", ["r1-a", "r2-a", "x"]),
}


@pytest.mark.parametrize(("text", "names"), CASES.values(), ids=CASES.keys())
def test_expand(text: str, names: list[str]) -> None:
    assert expand(text) == names


FAULTS = {
    "nothing": (",", "no machine is named"),
    "half a bracket": ("node[1-2", "a bracket without its other half"),
    "the other half": ("node1]", "a bracket without its other half"),
    "letters": ("node[a-b]", "'a-b' is not a number or a range"),
    "downwards": ("node[9-1]", "not a range"),
    "without end": ("node[0-999999999]", "not a range of at most"),
    "a product without end": ("r[1-999]n[1-999]", "more than 10000 names"),
    "parts without end": ("node[0-9999]," * 15_000, "more than 10000 names"),
    "numbers without end": (f"node[{'0-9999,' * 15_000}1]", "more than 10000 names"),
    "one name too many": ("node[0000-9999],x", "more than 10000 names"),
    "brackets without end": ("n" + "[1]" * 50_000, "more than 8 brackets in one name"),
    "a bracket behind one": ("node[1]]", "a bracket without its other half"),
}


@pytest.mark.parametrize(("text", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        expand(text)


@pytest.mark.parametrize(("verb", "called"), {
    Verb.INSPECT: "inspect discovery", Verb.DEPLOY: "deploy debian-12", Verb.INSTALL: "install ubuntu-24.04",
    Verb.LIVE: "live alpine", Verb.LOCAL: "boot from disk", Verb.RELEASE: "release",
    Verb.POWER_OFF_RELEASE: "release without erase", Verb.RESCUE: "rescue", Verb.UNRESCUE: "unrescue",
}.items())  # fmt: skip
def test_a_run_is_called_by_what_is_done_and_what_is_booted(verb: Verb, called: str) -> None:
    boots = {Verb.INSPECT: "discovery", Verb.DEPLOY: "debian-12", Verb.INSTALL: "ubuntu-24.04", Verb.LIVE: "alpine",
             Verb.LOCAL: "local", Verb.RELEASE: "discovery", Verb.RESCUE: "discovery"}  # fmt: skip
    assert run_name(verb, boots.get(verb, "")) == called

"""Which machines a selector means, as a table."""

from __future__ import annotations

import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.cli.text import error_lines
from provisioner.errors import ConfigError
from provisioner.lifecycle.selectors import parse
from provisioner.model.bmc import Power
from provisioner.model.facts import Facts
from provisioner.model.machine import Failure, Machine, State

MACHINES = (
    Machine("m1", "node01", State.ACTIVE, profile="gpu", bootenv="debian-12", tags=("rack=r1", "fast"), power=Power.ON),
    Machine("m2", "node02", State.READY, profile="gpu", tags=("rack=r1",), facts=Facts(vendor="Dell Inc.")),
    Machine("m3", "node03", State.READY, profile="storage", tags=("rack=r2", "old")),
    Machine("m4", "edge-a", State.READY, failure=Failure("no", "install", 0.0, State.READY)),
)

SELECTED = {
    "a name": ("node01", "node01"),
    "names add up": ("node01,edge-a", "node01 edge-a"),
    "a range of names": ("node[01-02]", "node01 node02"),
    "ranges with gaps": ("node[01,03],edge-a", "node01 node03 edge-a"),
    "a pattern": ("node*", "node01 node02 node03"),
    "all machines": ("name=*", "node01 node02 node03 edge-a"),
    "a tag with a key": ("rack=r1", "node01 node02"),
    "a bare tag": ("tag=fast", "node01"),
    "a tag as a whole": ("tag=rack=r2", "node03"),
    "terms narrow": ("rack=r1,state=ready", "node02"),
    "and names, too": ("node[01-03],state=ready", "node02 node03"),
    "turned round": ("profile=gpu,!state=active", "node02"),
    "not that name": ("state=ready,!node02", "node03 edge-a"),
    "not that range": ("name=*,!node[02-03]", "node01 edge-a"),
    "one of several": ("rack=r1|r2,profile=storage", "node03"),
    "names and a pattern": ("node01,edge*", "node01 edge-a"),
    "a set of letters in a value": ("profile=g[ptu]*", "node01 node02"),
    "letters are told apart": ("NODE01,profile=GPU", ""),
    "a pattern of a tag": ("rack=r*", "node01 node02 node03"),
    "no such tag": ("!rack=*", "edge-a"),
    "whose last run failed": ("failed=yes", "edge-a"),
    "by power": ("power=on", "node01"),
    "by vendor": ("vendor=Dell*", "node02"),
    "names as a field": ("name=node[02-03]|edge-a", "node02 node03 edge-a"),
    "blanks and empty terms do no harm": (" rack=r1 , ,state=active,", "node01"),
    "what nothing is": ("rack=r9", ""),
}


@pytest.mark.parametrize(("text", "names"), SELECTED.values(), ids=SELECTED.keys())
def test_selected(text: str, names: str) -> None:
    assert " ".join(m.name for m in MACHINES if parse(text).selects(m)) == names


REFUSED = {
    "nothing": ("", "it selects nothing"),
    "only commas": (", ,", "it selects nothing"),
    "half a bracket": ("node[01", "bracket"),
    "a range downwards": ("node[9-1]", "upwards"),
    "a key that cannot be one": ("ra ck=r1", "neither a field nor the key of a tag"),
    "no key": ("=r1", "neither a field"),
    "no name, turned round": ("!!", "'!' is no name of a machine"),
    "no name as a field": ("name=a b", "'a b' is no name of a machine"),
    "a state that is none": ("!state=foo", "'foo' is none of active, deploying"),
    "one of two that is none": ("state=ready|actve", "'actve' is none of"),
    "a power that is none": ("power=onn", "'onn' is none of off, on"),
    "neither failed nor not": ("failed=true", "'true' is none of no, yes"),
    "more patterns than anybody writes": ("node[000-100]*", "more than 100 patterns"),
    "or of a field": ("name=" + "|".join(f"{at}*" for at in range(101)), "more than 100 patterns"),
    "more names than there are machines": ("node[0-9999]," * 15_000, "more than 10000 names"),
    "or in turned terms": (",".join(["!node[0-9999]"] * 20), "more than 10000 names"),
    "or as a field": ("name=" + "|".join(["n[0-9999]"] * 20_000), "more than 10000 names"),
    "more values than there are machines": ("rack=" + "|".join(map(str, range(10_001))), "more than 10000 names and"),
    "more terms than anybody writes": (",".join(["a=b"] * 101), "more than 100"),
}


@pytest.mark.parametrize(("text", "fault"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse(text)


FLEET = tuple(Machine(f"m{at}", f"node{at:04}", State.READY) for at in range(1_000))

LOOKED_UP = {
    "names": ("node[0000-0999]", 1_000),
    "names as a field": ("name=node[0000-0999]", 1_000),
    "not those names": ("name=*,!node[0000-0998]", 1),
    "values of a tag": ("name=*,!rack=" + "|".join(f"r{at}" for at in range(1_000)), 1_000),
    "patterns": (",".join(f"node{at:03}?" for at in range(100)), 1_000),
}


@pytest.mark.parametrize(("text", "count"), LOOKED_UP.values(), ids=LOOKED_UP.keys())
def test_a_machine_is_looked_up_once_however_many_names_there_are(text: str, count: int) -> None:
    selector, calls = parse(text), [0]

    def note(_frame: FrameType, what: str, _arg: object) -> None:
        calls[0] += what == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    chosen = [machine for machine in FLEET if selector.selects(machine)]
    sys.setprofile(before)
    assert len(chosen) == count
    assert calls[0] < 20 * len(FLEET)


LONG = {"commas": ",", "terms": "a=b,", "brackets": "[", "ranges": "n[0-9999],", "faults": "!!,", "bars": "name=|"}


@pytest.mark.parametrize("piece", LONG.values(), ids=LONG.keys())
def test_a_text_as_long_as_a_request_is_read_in_steps_as_many_as_it_has_characters(piece: str) -> None:
    """Hours, where every comma looked at all that follows it."""
    with pytest.raises(ConfigError):
        parse(piece * (100_000 // len(piece)))


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse("node[,=x,rack=r1")
    assert len(refused.value.faults) == 2


def test_what_is_wrong_is_named_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse("rack=r1,state=foo")
    (line,) = error_lines(refused.value)
    assert line.startswith("not a selector: 'state=foo': 'foo' is none of active, ")
    assert line.count("state=foo") == 1


def test_names_that_no_machine_has_are_told() -> None:
    assert parse("node[01-05],edge*").unknown(MACHINES) == ["node04", "node05"]


@given(st.text(alphabet="no=!,[]|*-01 r", max_size=30))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    try:
        selector = parse(text)
    except ConfigError:
        return
    for machine in MACHINES:
        assert selector.selects(machine) in (True, False)

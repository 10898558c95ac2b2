"""The files of a boot stay what they were when the first was fetched, for as long as its run goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from provisioner.lifecycle.handouts import Handout, Handouts
from provisioner.lifecycle.inputs import Begin, Cancel
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.steps import advance
from provisioner.model.machine import Machine, State

KIND = "text/plain"
OLD = Handout("t1", {"preseed": (b"old", KIND), "late.sh": (b"old", KIND)}, frozenset({"10.0.0.7"}))
NEW = Handout("t1", {"preseed": (b"new", KIND), "late.sh": (b"new", KIND)}, frozenset({"10.0.0.8"}))


def test_what_was_made_first_stays() -> None:
    kept = Handouts()
    assert (kept.of("m1", "t1"), kept.addresses("m1")) == (None, None)
    assert kept.keep("m1", OLD) is OLD
    assert kept.keep("m1", NEW).files == OLD.files
    assert (kept.of("m1", "t1"), kept.addresses("m1"), kept.of("m2", "t1")) == (OLD, frozenset({"10.0.0.7"}), None)
    assert OLD.sums == dict.fromkeys(("preseed", "late.sh"), hashlib.sha256(b"old").hexdigest())


def test_what_could_not_be_made_then_is_added() -> None:
    kept = Handouts()
    kept.keep("m1", Handout("t1", {"preseed": (b"old", KIND)}))
    assert kept.keep("m1", NEW).files == {"preseed": (b"old", KIND), "late.sh": (b"new", KIND)}


def test_another_boot_has_files_of_its_own() -> None:
    kept = Handouts()
    kept.keep("m1", OLD)
    assert kept.keep("m1", replace(NEW, ticket="t2")).files == NEW.files
    assert kept.of("m1", "t1") is None


def test_they_go_with_the_run() -> None:
    kept, ready = Handouts(), Machine("m1", "node17", State.READY)
    busy, _ = advance(ready, Begin("r1", Verb.INSTALL, "debian-12"), 0.0)
    over, _ = advance(busy, Cancel(), 1.0)
    kept.keep("m1", OLD)
    kept.follow(ready, busy)
    kept.follow(None, ready)
    assert kept.of("m1", "t1") is OLD
    kept.follow(busy, over)
    assert kept.of("m1", "t1") is None
    kept.keep("m1", OLD)
    kept.follow(busy, None)
    assert kept.of("m1", "t1") is None


def test_memory_has_a_bound_and_the_oldest_go_first() -> None:
    kept = Handouts(max_octets=2 * OLD.octets)
    for machine in ("m1", "m2", "m3"):
        kept.keep(machine, OLD)
    assert [kept.of(machine, "t1") for machine in ("m1", "m2", "m3")] == [None, OLD, OLD]

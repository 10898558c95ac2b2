"""Every bootenv for every kind of machine: golden files, and the systems' own validators."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from provisioner.catalog.fleet import FLEET
from provisioner.catalog.lint import Linter, Verdict
from provisioner.catalog.proving import prove
from provisioner.catalog.render import Renderer
from provisioner.discovery.build.ramdisk import RAMDISK
from provisioner.errors import RenderError
from provisioner.model.catalog import Kind
from tests.catalog.golden import FOLDER, catalogue, expected, files, on_disk, text_of

NAMES = catalogue().names()
MADE = [name for name in NAMES if catalogue().bootenv(name).kind in (Kind.IMAGE, Kind.BOOTSTRAP, Kind.INSTALLER)]


@pytest.mark.slow
def test_what_is_rendered_is_what_the_golden_files_say() -> None:
    wanted = dict(expected())
    differ = [
        str(path.relative_to(FOLDER)) for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    stale = sorted(str(path.relative_to(FOLDER)) for path in set(on_disk()) - set(wanted))
    assert not differ, "run `python -m tests.catalog.golden`, and look at what it changes"
    assert not stale


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_every_bootenv_takes_six_kinds_of_machines_at_least(name: str) -> None:
    taken = [kind for kind in FLEET if not text_of(name, kind).startswith("=== refused")]
    assert len(taken) >= 6, taken


def rendered() -> Iterator[tuple[str, str, str]]:
    """Every file that is rendered, each text once: (name, validator, text)."""
    seen = set()
    for name in NAMES:
        for kind in FLEET:
            try:
                made = list(files(name, kind))
            except RenderError:
                continue
            for file, validator, text in made:
                key = (validator, hashlib.sha256(text.encode()).digest())
                if validator and key not in seen:
                    seen.add(key)
                    yield f"{name}/{kind}/{file}", validator, text


@pytest.mark.unmeasured
@pytest.mark.timeout(600)
def test_our_own_shapes_accept_everything() -> None:
    linter, verdict = Linter(), Verdict()
    for name, validator, text in rendered():
        linter.check_shape(validator, name, text, verdict)
    assert verdict.faults == []


OTHERS = {
    "cloud-init's schema",
    "shellcheck",
    "ksvalidator",
    "debconf-set-selections",
    "ignition-validate",
    "xmllint",
}


def check_verdict(verdict: Verdict) -> None:
    assert verdict.faults == []
    assert verdict.missing == set(), "scripts/apt-packages has them all"
    assert verdict.asked == OTHERS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_systems_own_validators_accept_a_third_of_it() -> None:
    """Whichever their digest picks: what a template gives to one kind of machine it mostly gives to others."""
    linter, verdict, texts = Linter(), Verdict(), defaultdict[str, dict[str, str]](dict)
    for name, validator, text in rendered():
        if hashlib.sha256(text.encode()).digest()[0] % 3 == 0:
            texts[validator][name] = text
    for validator, named in texts.items():
        linter.check(validator, named, verdict)
    check_verdict(verdict)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_systems_own_validators_accept_everything() -> None:
    check_verdict(prove(catalogue(), Linter()).verdict)


def test_no_disk_is_found_by_a_label_which_another_one_may_have() -> None:
    texts = catalogue().content.templates.items()
    assert [name for name, text in texts if re.search(r"by-(part)?label|\bLABEL=", text)] == []


def test_no_partition_is_called_as_other_systems_call_theirs() -> None:
    """Fedora CoreOS, which may lie on another disk of the machine, takes what is called `root` for its own."""
    texts = [*(text_of("debian-12-packages", kind) for kind in FLEET), (RAMDISK / "image.sh").read_text()]
    names = [name for text in texts for name in re.findall(r"(?m)\btype=[0-9A-F-]{36}, name=(.*)$", text)]
    assert {"provisioner-root", "provisioner-esp", "provisioner-bios", "provisioner-system"} <= set(names)
    assert [name for name in names if not re.fullmatch(r"provisioner-[a-z0-9_]{1,16}", name)] == []


@pytest.mark.slow
def test_a_typo_in_any_template_is_found_whether_a_machine_goes_there_or_not() -> None:
    typo = "{% if params.no_such_group.nothing %}{% endif %}"
    for name, text in catalogue().content.templates.items():
        found = [path for _, _, path in Renderer({name: text + typo}).paths()]
        assert ("params", "no_such_group", "nothing") in found, name

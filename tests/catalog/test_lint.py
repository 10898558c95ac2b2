"""The linter with the systems' own validators: what is wrong is found by them too."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from provisioner.catalog import lint
from provisioner.catalog.lint import Linter, Verdict

LINTER = Linter()

WRONG = {
    "a shell script": ("shellcheck", "#!/bin/sh\nif true; then\n", "shellcheck"),
    "a kickstart": ("kickstart:RHEL9", "text\nno-such-command\n", "ksvalidator"),
    "a kickstart of another release": ("kickstart:F43", "rhsm --organization=1\n", "ksvalidator"),
    "a preseed": ("preseed", "d-i x\n", "debconf-set-selections"),
    "an Ignition file": (
        "ignition",
        '{"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "x"}]}}',
        "ignition-validate",
    ),
    "an AutoYaST profile": ("autoyast", "<profile><general></profile>", "xmllint"),
    "what cloud-init reads": ("cloud-config", "#cloud-config\nhostname: [node17]\n", "cloud-init"),
    "what cloud-init reads of an autoinstall file": (
        "autoinstall",
        "#cloud-config\nautoinstall: {version: 1, user-data: {hostname: [node17]}}\n",
        "cloud-init",
    ),
}


@pytest.mark.parametrize(("validator", "text", "program"), WRONG.values(), ids=WRONG.keys())
def test_a_program_finds_what_is_wrong(validator: str, text: str, program: str) -> None:
    verdict = Verdict()
    LINTER.check(validator, {"node17/file": text}, verdict)
    assert any(fault.startswith(f"node17/file: {program}: ") for fault in verdict.faults), verdict.faults
    assert any(who.startswith(program) for who in verdict.asked)


def test_a_good_file_has_no_faults() -> None:
    verdict = Verdict()
    LINTER.check("shellcheck", {"x": "#!/bin/sh\necho hello\n"}, verdict)
    assert (verdict.faults, verdict.asked) == ([], {"shellcheck"})


MIRROR = "".join(f"part biosboot --fstype=biosboot --size=1 --ondisk={disk}\n" for disk in ("sda", "sdb"))
ROOT = "part / --fstype=xfs --size=1024 --ondisk=sda\n"


def test_each_disk_of_a_mirror_has_its_own_place_for_the_loader() -> None:
    LINTER.check("kickstart:RHEL9", {"x": MIRROR + ROOT}, good := Verdict())
    LINTER.check("kickstart:RHEL9", {"x": MIRROR + ROOT + ROOT}, bad := Verdict())
    LINTER.check("kickstart:RHEL9", {"x": MIRROR + MIRROR + ROOT}, twice := Verdict())
    assert good.faults == []
    assert "mountpoint / has already been defined" in bad.faults[0]
    assert "mountpoint biosboot has already been defined" in twice.faults[0], "twice on one disk"


TOGETHER = {
    # a good file, a bad one and a worse one
    "kickstart:RHEL9": ("text\n", "text\nno-such-command\n", "no-such-command\n"),
    "preseed": ("# nothing is asked\n", "# nothing is asked\nd-i x\n", "d-i x"),
    "shellcheck": ("#!/bin/sh\necho hello\n", "#!/bin/sh\nif true; then\n", "#!/bin/sh\necho $(\n"),
}


@pytest.mark.parametrize("validator", TOGETHER)
def test_of_several_files_each_fault_is_told_with_its_own_file(validator: str) -> None:
    good, bad, worse = TOGETHER[validator]
    LINTER.check(validator, {"good": good, "bad": bad, "worse": worse, "fine": good}, verdict := Verdict())
    (who,) = verdict.asked
    assert [fault.split(": ")[0] for fault in verdict.faults if f": {who}: " in fault] == ["bad", "worse"]
    LINTER.check(validator, dict.fromkeys(("one", "two"), good), nothing := Verdict())
    assert (nothing.faults, nothing.asked) == ([], verdict.asked)


def test_who_cannot_be_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    verdict = Verdict()
    LINTER.check("ignition", {"x": '{"ignition": {"version": "3.3.0"}}'}, verdict)
    assert verdict.faults == []
    assert verdict.missing == {"ignition-validate (package ignition)"}


def test_what_a_program_leaves_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    verdict = Verdict()
    LINTER.check("kickstart:RHEL9", {"x": "text\n"}, verdict)  # ksvalidator works on a copy, and leaves it
    assert (verdict.faults, verdict.asked) == ([], {"ksvalidator"})
    assert not list(tmp_path.iterdir())


def test_a_program_that_does_not_end_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "ignition-validate"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(lint, "TIMEOUT_S", 0.1)
    LINTER.check("ignition", {"x": '{"ignition": {"version": "3.3.0"}}'}, verdict := Verdict())
    assert verdict.faults == ["x: ignition-validate: did not end within 0 s"]


def test_our_own_shapes_are_asked_first() -> None:
    verdict = Verdict()
    LINTER.check_shape("cloud-config", "x", "#cloud-config\nhostnme: a\n", verdict)
    assert verdict.faults == ["x: document: Additional properties are not allowed ('hostnme' was unexpected)"]

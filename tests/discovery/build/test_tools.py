"""Programs that are missing or fail say so in one error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.discovery.build.tools import require, run, with_own_mounts
from provisioner.errors import ArtifactError
from provisioner.lab import process


def test_missing_programs_are_named_all_at_once_with_their_packages() -> None:
    with pytest.raises(ArtifactError) as caught:
        require({"sh": "dash", "no-such-a": "package-a", "no-such-b": "package-b"})
    assert caught.value.message == "missing programs: no-such-a, no-such-b"
    assert caught.value.hint == "apt-get install package-a package-b"


def test_programs_in_sbin_are_found_by_people_without_it_on_their_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    require({"mke2fs": "e2fsprogs"})


def test_a_failure_repeats_the_end_of_what_the_program_said() -> None:
    with pytest.raises(ArtifactError, match="sh failed with status 3") as caught:
        run(["sh", "-c", "seq 100 >&2; exit 3"])
    first, *_, last = caught.value.message.splitlines()
    assert first == "sh failed with status 3: 98; 99; 100"
    assert last == "100"
    assert len(caught.value.message.splitlines()) < 20


def test_a_failure_without_a_word_names_the_command() -> None:
    with pytest.raises(ArtifactError) as caught:
        run(["sh", "-c", "exit 3"])
    assert caught.value.message == "sh failed with status 3: sh -c exit 3"


def test_input_and_output() -> None:
    assert run(["cat"], stdin=b"\x00\xff") == b"\x00\xff"


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(ArtifactError, match="no-such-program: no such program"):
        run(["no-such-program"])


@pytest.mark.netns
def test_what_a_builder_mounts_is_nobody_elses(tmp_path: Path) -> None:
    seen = run(with_own_mounts(["sh", "-c", f"mount -t tmpfs ours {tmp_path} && cat /proc/self/mounts"])).decode()
    assert str(tmp_path) in seen
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


STARTS = (
    "import sys; from provisioner.discovery.build.tools import run, with_own_mounts; run(with_own_mounts(sys.argv[1:]))"
)


def test_a_builder_whose_caller_is_killed_is_told_to_end(tmp_path: Path) -> None:
    ready, told = tmp_path / "ready", tmp_path / "told"
    waits = f"trap 'touch {told}; exit' TERM; touch {ready}; while :; do sleep 0.05; done"
    with subprocess.Popen([sys.executable, "-c", STARTS, "sh", "-c", waits]) as caller:
        assert process.wait_until(ready.exists, 20)
        caller.kill()
    assert process.wait_until(told.exists, 20)

"""Programs that are missing or fail say so in one error."""

from __future__ import annotations

import pytest

from provisioner.discovery.build.tools import require, run
from provisioner.errors import ArtifactError


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
    assert caught.value.message.splitlines()[-1] == "100"
    assert len(caught.value.message.splitlines()) < 20


def test_input_and_output() -> None:
    assert run(["cat"], stdin=b"\x00\xff") == b"\x00\xff"


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(ArtifactError, match="no-such-program: no such program"):
        run(["no-such-program"])

"""Builds that are kept: found again, replaced whole, told apart by their inputs."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from provisioner.discovery.build import cache
from provisioner.errors import ArtifactError


def publish(folder: Path, key: str, text: str) -> cache.Manifest:
    with cache.workspace(folder) as scratch:
        (scratch / "vmlinuz").write_text(text)
        items = (cache.measure(scratch / "vmlinuz"),)
        return cache.publish(folder, cache.Manifest("discovery", "amd64", key, items, {"kernel": "6.1"}))


def test_a_build_is_found_by_its_inputs(tmp_path: Path) -> None:
    made = publish(tmp_path, "k1", "one")
    assert cache.current(tmp_path, "k1") == made
    assert cache.current(tmp_path, "k2") is None
    assert made.artifacts[0].path.read_text() == "one"
    assert made.artifacts[0].size_bytes == 3


def test_a_new_build_replaces_the_old_one_and_leaves_nothing(tmp_path: Path) -> None:
    publish(tmp_path, "k1", "one")
    made = publish(tmp_path, "k2", "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k2", "manifest.json"]
    assert made.artifacts[0].path.read_text() == "two"


def test_building_the_same_again_is_possible(tmp_path: Path) -> None:
    publish(tmp_path, "k1", "one")
    assert publish(tmp_path, "k1", "uno").artifacts[0].path.read_text() == "uno"


def fail_half_way(folder: Path) -> None:
    with cache.workspace(folder) as scratch:
        (scratch / "half").write_text("half")
        raise ArtifactError("no space")


def test_a_build_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    publish(tmp_path, "k1", "one")
    with pytest.raises(ArtifactError):
        fail_half_way(tmp_path)
    assert cache.current(tmp_path, "k1") is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k1", "manifest.json"]


def test_what_a_build_that_was_killed_has_left_is_gone_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".building-left").mkdir()
    (tmp_path / ".building-left" / "half").write_text("half")
    publish(tmp_path, "k1", "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k1", "manifest.json"]


def test_what_another_build_is_at_work_on_stays(tmp_path: Path) -> None:
    with cache.workspace(tmp_path) as scratch:
        (scratch / "half").write_text("half")
        publish(tmp_path, "k1", "one")
        assert (scratch / "half").exists()


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_files_that_are_gone_or_short_are_built_again(tmp_path: Path, damage: str) -> None:
    file = publish(tmp_path, "k1", "one").artifacts[0].path
    file.unlink() if damage == "gone" else file.write_text("o")
    assert cache.current(tmp_path, "k1") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"artifacts": [1]}', "\xff"])
def test_a_broken_manifest_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactError, match="no readable manifest"):
        cache.read_manifest(tmp_path)


def test_the_manifest_is_plain_json_with_relative_paths(tmp_path: Path) -> None:
    publish(tmp_path, "k1", "one")
    data = json.loads((tmp_path / "manifest.json").read_text())
    assert data["artifacts"][0]["path"] == "k1/vmlinuz"
    assert data["bootenv"] == "discovery"


def test_keys_follow_the_inputs_not_their_order() -> None:
    assert cache.inputs_key({"a": 1, "b": [2]}) == cache.inputs_key({"b": [2], "a": 1})
    assert cache.inputs_key({"a": 1}) != cache.inputs_key({"a": 2})


def test_a_changed_or_renamed_source_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("1")
    first = cache.sources_hash(tmp_path)
    (tmp_path / "a.sh").write_text("2")
    second = cache.sources_hash(tmp_path)
    (tmp_path / "a.sh").rename(tmp_path / "b.sh")
    assert len({first, second, cache.sources_hash(tmp_path)}) == 3


def test_two_builds_wait_for_each_other_and_say_so(tmp_path: Path) -> None:
    told, order = threading.Event(), list[str]()

    def second() -> None:
        with cache.alone(tmp_path, lambda line: told.set()):
            order.append("second")

    waits = threading.Thread(target=second)
    with cache.alone(tmp_path, order.append):
        waits.start()
        assert told.wait(10)
        order.append("first")
    waits.join()
    assert order == ["first", "second"]

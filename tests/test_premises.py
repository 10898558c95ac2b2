"""What a configuration names outside of itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner import premises
from provisioner.config import read
from provisioner.errors import ConfigError
from tests.test_shelves import apply

HOOK = {"url": "https://a.example/"}
BAD: dict[str, tuple[Mapping[str, Any], str]] = {
    "a group that is not there": (
        {"api": {"group": "nosuchgroup"}},
        "api.group: there is no group 'nosuchgroup' (`groupadd nosuchgroup`)",
    ),
    "a file where the socket goes": (
        {"api": {"socket": "DIR/file"}},
        "api.socket: DIR/file: is a file and no socket; it is left as it is (give another path)",
    ),
    "a directory of bootenvs": ({"catalogue": {"paths": ["DIR/none"]}}, "catalogue.paths: 'DIR/none' is no directory"),
    "a file for a directory": ({"catalogue": {"loaders": ["DIR/file"]}}, "catalogue.loaders: 'DIR/file' is no direct"),
    "keyrings": ({"catalogue": {"keyrings": ["DIR/none"]}}, "catalogue.keyrings: 'DIR/none' is no directory"),
    "secrets": ({"catalogue": {"secrets_dir": "DIR/none"}}, "catalogue.secrets_dir: 'DIR/none' is no directory"),
    "the secret of a webhook": (
        {"webhooks": {"x": {**HOOK, "secret_file": "DIR/none"}}},
        "webhooks.x.secret_file: 'DIR/none': No such file or directory",
    ),
    "a secret that is a directory": (
        {"webhooks": {"x": {**HOOK, "secret_file": "DIR"}}},
        "webhooks.x.secret_file: 'DIR': Is a directory",
    ),
    "a secret that is short": (
        {"webhooks": {"x": {**HOOK, "secret_file": "DIR/file"}}},
        "webhooks.x.secret_file: 'DIR/file': a secret has at least 16 octets (`openssl rand -hex 32 > FILE`)",
    ),
    "the key of DNS updates": (
        {"dns": {"server": "10.0.0.1", "forward": ["a.example"], "key_file": "DIR/none"}},
        "dns.key_file: 'DIR/none': No such file or directory",
    ),
    "a key in no directory": (
        {"store": {"key_file": "DIR/none/key"}},
        "store.key_file: 'DIR/none/key' is in no direct",
    ),
    "a key that is none": ({"store": {"key_file": "DIR/file"}}, "store.key_file: DIR/file: has 5 octets, not 32"),
}


@pytest.mark.parametrize(("settings", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_not_there_is_said_with_its_line(tmp_path: Path, settings: Mapping[str, Any], said: str) -> None:
    (tmp_path / "file").write_text("short")
    path = tmp_path / "provisioner.yaml"
    path.write_text(json.dumps(settings, indent=1).replace("DIR", str(tmp_path)))
    key = said.partition(":")[0].rpartition(".")[2]
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if f'"{key}"' in text)
    with pytest.raises(ConfigError) as caught:
        premises.check(read(path), catalogue=False)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path}:{line}: {said.replace('DIR', str(tmp_path))}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "provisioner.yaml"]


UPSTREAMS = {"debian": "http://deb.debian.org/debian"}
DOUBTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "more than the disk has": (
        {"upstreams": UPSTREAMS, "max_gib": 11},
        [":2: mirror.max_gib: 11 GiB, and the disk of DIR/not/there has 10.0 GiB: files go when that is full, "
         "and leases are on it, too"],
    ),
    "all that the disk has": ({"upstreams": UPSTREAMS, "max_gib": 10}, []),
    "no mirror": ({"max_gib": 11}, []),
}  # fmt: skip


@pytest.mark.parametrize(("mirror", "told"), DOUBTS.values(), ids=DOUBTS.keys())
def test_a_cache_of_mirrors_that_is_promised_more_than_its_disk_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: dict[str, Any], told: list[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(total=10 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    path = tmp_path / "provisioner.yaml"
    site = {"store": {"state_dir": str(tmp_path / "not" / "there")}, "mirror": mirror}
    path.write_text(json.dumps(site).replace('"max_gib"', '\n"max_gib"'))
    written = read(path)
    premises.check(written, catalogue=False)
    assert premises.doubts(written) == [f"{path}{each.replace('DIR', str(tmp_path))}" for each in told]


def test_all_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "own" / "bootenvs").mkdir(parents=True)
    (tmp_path / "own" / "bootenvs" / "mine.yaml").write_text("title: 7\n")
    path = tmp_path / "provisioner.yaml"
    folders = [str(tmp_path / "own"), str(tmp_path / "none")]
    path.write_text(json.dumps({"api": {"group": "nosuchgroup"}, "catalogue": {"paths": folders}}))
    with pytest.raises(ConfigError) as caught:
        premises.check(read(path), catalogue=True)
    text = str(caught.value)
    assert all(word in text for word in ("api.group", "none' is no directory", "mine.yaml:1: title"))


@pytest.mark.slow
def test_what_was_applied_is_looked_at_too(tmp_path: Path) -> None:
    path, state = tmp_path / "provisioner.yaml", tmp_path / "state"
    path.write_text(json.dumps({"store": {"state_dir": str(state)}}))
    written = read(path)
    premises.check(written, catalogue=True)
    apply(written.config, {"bootenvs/values/site.yaml": "disk: {swop: 8GiB}\n"})
    with pytest.raises(ConfigError) as caught:
        premises.check(written, catalogue=True)
    assert caught.value.faults[0].startswith("applied: bootenvs/values/site.yaml: disk.swop: no such parameter")
    (state / "state.db").write_text("no database")
    with pytest.raises(ConfigError, match="what was applied cannot be read"):
        premises.check(written, catalogue=True)

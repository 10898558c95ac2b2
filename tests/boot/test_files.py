"""Names from the network are keys of a table and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.files import MAX_NAME, FileTable, Refused, ServedFile, normalise, printable

SAME: dict[str, tuple[str, str]] = {
    "as it stands": ("snponly.efi", "snponly.efi"),
    "a leading slash": ("/snponly.efi", "snponly.efi"),
    "the double slash of shim's HTTP boot": ("//grubx64.efi", "grubx64.efi"),
    "double slashes inside": ("grub//x86_64-efi///command.lst", "grub/x86_64-efi/command.lst"),
    "a trailing slash": ("grub/", "grub"),
    "dots inside a part": ("a..b/.c", "a..b/.c"),
    "a space": ("a b", "a b"),
}


@pytest.mark.parametrize(("name", "key"), SAME.values(), ids=SAME.keys())
def test_normalise(name: str, key: str) -> None:
    assert normalise(name) == key


REFUSED = {
    "empty": "",
    "slashes alone": "///",
    "the parent": "../x",
    "the parent inside": "a/../x",
    "here": "./x",
    "a backslash": "a\\b",
    "NUL": "a\0b",
    "a line feed": "a\nb",
    "an escape code": "\x1b[2J",
    "not ASCII": "\xe4",
    "10,000 characters": "a" * 10_000,
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED.keys())
def test_refused(name: str) -> None:
    refused = normalise(name)
    assert isinstance(refused, Refused)
    assert refused.name.isprintable()
    assert len(refused.name) < 100


@given(st.text(max_size=300))
def test_any_name(name: str) -> None:
    key = normalise(name)
    if isinstance(key, Refused):
        assert key.name == printable(key.name)
        return
    assert normalise(key) == key
    assert not key.startswith("/")
    assert len(key) <= MAX_NAME
    assert ".." not in key.split("/")


def file(name: str) -> ServedFile:
    return ServedFile(name, Path("/x") / name, 1, "00")


def test_artifacts_stand_beside_the_files() -> None:
    kernel = file("vmlinuz")
    table = FileTable([file("snponly.efi")], artifacts={"debian-12/amd64/vmlinuz": kernel}.get)
    assert table.find("/artifacts/debian-12//amd64/vmlinuz") is kernel
    assert isinstance(table.find("artifacts/debian-12/amd64/absent"), Refused)
    assert isinstance(table.find("debian-12/amd64/vmlinuz"), Refused)
    assert isinstance(table.find("artifacts/../snponly.efi"), Refused)


def test_replacing_takes_names_away() -> None:
    table = FileTable([file("a"), file("b")])
    table.replace([file("b"), file("c")])
    assert [served.name for served in table] == ["b", "c"]
    assert isinstance(table.find("a"), Refused)

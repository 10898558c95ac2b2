"""What of a package mirror never changes, and which paths an index speaks of."""

from __future__ import annotations

import pytest

from provisioner.model.mirror import hash_in, is_index, never_changes, place_of, root_of, roots

HEX = "ab" * 32
PATHS = {
    # path: (never changes, is an index)
    "pool/main/h/hello/hello_2.10-3_amd64.deb": (True, False),
    "pool/main/h/hello/hello_2.10.orig.tar.gz": (True, False),
    "dists/bookworm/InRelease": (False, False),
    "dists/bookworm/main/binary-amd64/Packages.xz": (False, True),
    f"dists/bookworm/main/binary-amd64/by-hash/SHA256/{HEX}": (True, True),
    f"dists/bookworm/main/i18n/by-hash/SHA256/{HEX}": (True, False),
    "dists/bookworm/main/installer-amd64/current/images/netboot/netboot.tar.gz": (False, False),
    "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm": (True, False),
    "BaseOS/x86_64/os/repodata/repomd.xml": (False, False),
    f"BaseOS/x86_64/os/repodata/{HEX}-primary.xml.gz": (True, True),
    "BaseOS/x86_64/os/images/pxeboot/vmlinuz": (False, False),
}


@pytest.mark.parametrize(("path", "kind"), PATHS.items())
def test_kinds_of_paths(path: str, kind: tuple[bool, bool]) -> None:
    assert (never_changes(path), is_index(path)) == kind


def test_a_hash_in_a_path() -> None:
    assert hash_in(f"dists/sid/main/binary-amd64/by-hash/SHA256/{HEX}") == HEX
    assert hash_in(f"os/repodata/{HEX}-filelists.xml.gz") == HEX
    assert hash_in("pool/main/h/hello.deb") == ""


def test_where_the_paths_of_an_index_begin() -> None:
    assert root_of("dists/bookworm/main/binary-amd64/Packages") == ""
    assert root_of("debian/dists/bookworm/main/binary-amd64/Packages") == "debian/"
    assert root_of("BaseOS/x86_64/os/repodata/repomd.xml") == "BaseOS/x86_64/os/"
    assert root_of("flat/Packages.gz") == "flat/"


PLACES = {
    "dists/bookworm/main/binary-amd64/Packages.xz": "dists/bookworm/main/binary-amd64",
    f"dists/bookworm/main/binary-amd64/by-hash/SHA256/{HEX}": "dists/bookworm/main/binary-amd64",
    f"BaseOS/x86_64/os/repodata/{HEX}-primary.xml.gz": "BaseOS/x86_64/os/repodata",
    "Packages": "",
}


@pytest.mark.parametrize(("index", "place"), PLACES.items())
def test_where_an_index_stands(index: str, place: str) -> None:
    assert place_of(index) == place


def test_where_the_paths_of_an_index_that_names_a_package_may_begin() -> None:
    assert list(roots("os/Packages/b/bash.rpm")) == ["os/Packages/b/", "os/Packages/", "os/", ""]

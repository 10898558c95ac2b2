"""A package mirror's files as values: what of it never changes, and what is known of one that is kept. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PACKAGE = re.compile(r"\.(?:deb|udeb|ddeb|rpm|drpm|apk|dsc|tar\.(?:gz|xz|bz2|zst)|zst\.pkg)$")
_BY_HASH = re.compile(r"/by-hash/SHA256/([0-9a-f]{64})$")
_REPODATA = re.compile(r"/repodata/([0-9a-f]{64})-[^/]+$")


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of a mirror as it is kept. Times are seconds since the epoch; `checked`: when it was last confirmed."""

    mirror: str
    path: str
    sha256: str
    size_bytes: int
    etag: str
    modified: str
    checked: float
    used: float


@dataclass(frozen=True, slots=True)
class CacheStanding:
    """How much is kept, of how much at most, and why files are passed on without being kept; empty: none is."""

    kept_bytes: int
    max_bytes: int
    unkept: str


def never_changes(path: str) -> bool:
    """Say whether what stands under this path is the same for ever: packages, and what has its hash in its name.

    Everything else (indexes, installers) is asked for again: Debian policy and createrepo_c both name new content anew.
    """
    return hash_in(path) != "" or ("dists/" not in f"/{path}" and _PACKAGE.search(path) is not None)


def hash_in(path: str) -> str:
    """The SHA-256 that a path itself says its content has; empty where it says none."""
    found = _BY_HASH.search(f"/{path}") or _REPODATA.search(f"/{path}")
    return found[1] if found else ""


def is_index(path: str) -> bool:
    """Say whether the content may name packages with their hashes."""
    name = path.rpartition("/")[2]
    if _BY_HASH.search(f"/{path}"):
        return "/binary-" in path or "/source/" in path
    return name.partition(".")[0] == "Packages" or ("repodata/" in path and "primary.xml" in name)


def place_of(index: str) -> str:
    """Where an index stands, by whatever name: what comes there later takes the place of what was there."""
    return _BY_HASH.sub("/", index).rpartition("/")[0]


def root_of(path: str) -> str:
    """Where the paths that an index names begin: at the archive's root for Debian, at the repository's for RPM."""
    for mark in ("dists/", "repodata/"):
        at = f"/{path}".find(f"/{mark}")
        if at >= 0:
            return path[:at]
    return path[: path.rfind("/") + 1]


def roots(path: str) -> Iterator[str]:
    """Where the paths of an index may begin that names this one, the nearest first."""
    at = len(path)
    while (at := path.rfind("/", 0, at)) >= 0:
        yield path[: at + 1]
    yield ""

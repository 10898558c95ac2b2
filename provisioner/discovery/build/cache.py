"""Keep what was built: one folder a build, named by the hash of its inputs, and a manifest that names the current one.

OUTPUT/NAME/manifest.json        replaced last and in one step
OUTPUT/NAME/KEY/FILE             what the manifest lists
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.errors import ArtifactError

_SCRATCH = ".building-"
_CHUNK = 1 << 20
_KEY_LENGTH = 16
"""Hex digits of the inputs' hash in a folder's name: 64 bit, for people to compare."""


@dataclass(frozen=True, slots=True)
class Built:
    """One file of a finished build."""

    name: str
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished build: what it was made from and what came out."""

    bootenv: str
    arch: str
    inputs: str
    artifacts: tuple[Built, ...]
    details: Mapping[str, Any]


def inputs_key(inputs: Mapping[str, Any]) -> str:
    """Hash what a build is made from; equal inputs, equal key."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def sources_hash(*folders: Path) -> str:
    """Hash the files of our own that a build is made with, so that a changed builder builds anew."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def current(folder: Path, key: str) -> Manifest | None:
    """The finished build in `folder` if it was made from the inputs `key` and its files are whole."""
    try:
        manifest = read_manifest(folder)
    except ArtifactError:
        return None
    whole = all(item.path.is_file() and item.path.stat().st_size == item.size_bytes for item in manifest.artifacts)
    return manifest if manifest.inputs == key and whole else None


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the build in `folder`; raise `ArtifactError` where there is none."""
    file = folder / "manifest.json"
    try:
        data = json.loads(file.read_bytes())
        items = tuple(Built(i["name"], folder / i["path"], i["sha256"], i["size"]) for i in data["artifacts"])
        return Manifest(data["bootenv"], data["arch"], data["inputs"], items, data["details"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file}: no readable manifest: {error}", hint="build it again") from error


@contextlib.contextmanager
def alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Be the only one that builds with what is kept in `folder`; another build is waited for."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".building").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way: waiting for its end")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A scratch folder beside the build, removed at the end whatever happens; by the next one, where we are killed."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError), _held(left):  # not where its builder is at work
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder))
    try:
        with _held(scratch):
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; raise OSError where somebody else has it. Whoever dies lets go."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)


def publish(folder: Path, manifest: Manifest) -> Manifest:
    """Move the files of `manifest` to their place, then replace the manifest; remove what an older build left."""
    place = folder / manifest.inputs
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for item in manifest.artifacts:
        item.path.chmod(0o644)
        item.path.replace(place / item.name)
    items = [
        {"name": i.name, "path": f"{manifest.inputs}/{i.name}", "sha256": i.sha256, "size": i.size_bytes}
        for i in manifest.artifacts
    ]
    data = {"bootenv": manifest.bootenv, "arch": manifest.arch, "inputs": manifest.inputs, "artifacts": items}
    _replace(folder / "manifest.json", json.dumps({**data, "details": dict(manifest.details)}, indent=1) + "\n")
    for other in folder.iterdir():
        if other.is_dir() and other != place and not other.name.startswith(_SCRATCH):
            shutil.rmtree(other, ignore_errors=True)
    return read_manifest(folder)


def measure(path: Path) -> Built:
    """Hash a finished file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return Built(path.name, path, digest.hexdigest(), path.stat().st_size)


def _replace(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    with temporary.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)

"""Artefacts as values: what the content-addressed store holds. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored artefact: whole, and hashed while it was copied in.

    `origin` says in the operator's words where it came from; `stored_at` is in seconds since the epoch.
    """

    bootenv: str
    arch: str
    name: str
    sha256: str
    size_bytes: int
    origin: str
    stored_at: float

    @property
    def key(self) -> str:
        """Its name in the table of served files, behind `artifacts/`."""
        return f"{self.bootenv}/{self.arch}/{self.name}"


@dataclass(frozen=True, slots=True)
class Inspected:
    """One file that a boot needs, as it is there now. `kind` is loader, artefact or rendered.

    `sha256` and `size_bytes` are those of the content; unknown where there is none, or where it is made anew each time.
    `fault` says what is wrong with it, and `damaged` that its content is not what its hash says.
    """

    name: str
    kind: str
    size_bytes: int | None = None
    sha256: str = ""
    origin: str = ""
    fault: str = ""
    damaged: bool = False

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

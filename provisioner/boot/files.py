"""What is served under which name, by TFTP and by HTTP alike. No I/O.

A name from the network is a key of this table and nothing else: it never becomes a path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_NAME = 255
"""Characters of a name; RFC 1350 has no limit, and no firmware we know asks for more than 128."""
SHOWN = 80
"""Characters of a refused name that a log line shows."""


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file of our own store. It is replaced by another path, never changed in place: servers map it."""

    name: str
    path: Path
    size_bytes: int
    sha256: str
    origin: str = ""
    """Where it came from, in the operator's words: a package and its version, a URL."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is served under this name, and why."""

    name: str
    reason: str


Make = Callable[[], Awaitable[bytes]]
Render = Callable[[str, str], Make | None]
"""`render(name, client_address)`: how the file of this name is made for this client, or None where it is not one of
those. Making it may raise a `ProvisionerError`; the client is told "not found"."""
FindArtifact = Callable[[str], ServedFile | None]
"""Look up what follows `artifacts/` in a name: BOOTENV/NAME or BOOTENV/ARCH/NAME."""

ARTIFACTS = "artifacts/"
DISCS: Mapping[str, str] = {"amd64": "cdx64.iso", "arm64": "cdaa64.iso"}
"""CDs that are made of loaders for the machine that asks (`lifecycle.discs`), by architecture."""
MADE_OF: Mapping[str, tuple[str, ...]] = {
    DISCS["amd64"]: ("shimx64.efi", "gcdx64.efi"),
    DISCS["arm64"]: ("shimaa64.efi", "gcdaa64.efi"),
}
"""Which of our files those are made of, beside what the machine boots."""


class FileTable:
    """Names and what stands behind them. It changes while it serves: a lookup sees all of a change or nothing."""

    def __init__(self, files: Iterable[ServedFile] = (), *, artifacts: FindArtifact | None = None) -> None:
        self._files: dict[str, ServedFile] = {}
        self._artifacts = artifacts
        self.replace(files)

    def replace(self, files: Iterable[ServedFile]) -> None:
        """Serve these files from now on, and no others."""
        self._files = {file.name: file for file in files}

    def __iter__(self) -> Iterator[ServedFile]:
        return iter(self._files.values())

    def served(self, name: str) -> ServedFile | None:
        """Find a file by its name; None where there is none."""
        found = self.find(name)
        return found if isinstance(found, ServedFile) else None

    def serves(self, name: str) -> bool:
        """Say whether there is a file of this name, or all that it is made of."""
        return all(self.served(each) is not None for each in MADE_OF.get(name, (name,)))

    def find(self, name: str) -> ServedFile | Refused:
        """Look up a name as a peer sent it."""
        key = normalise(name)
        if isinstance(key, Refused):
            return key
        if (file := self._files.get(key)) is not None:
            return file
        if self._artifacts is not None and key.startswith(ARTIFACTS):
            artifact = self._artifacts(key.removeprefix(ARTIFACTS))
            if artifact is not None:
                return artifact
        return Refused(key, "nothing is served under this name")


def url_path(name: str) -> str:
    """Say where HTTP serves the file of this name: loaders below /files/, a machine's own CD below /boot/, artefacts
    under their own name."""
    if name in MADE_OF:
        return f"boot/{name}"
    return name if name.startswith(ARTIFACTS) else f"files/{name}"


def normalise(name: str) -> str | Refused:
    """Spell a name as the table does: no leading slash, single slashes.

    GRUB and shim put one or two slashes in front of names relative to the server's root. Anything that could mean
    another directory is refused rather than resolved.
    """
    if len(name) > MAX_NAME:
        return Refused(printable(name), f"a name of {len(name)} characters; at most {MAX_NAME} are looked up")
    if not (name.isascii() and name.isprintable()):
        return Refused(printable(name), "a name with characters that are not printable ASCII")
    if "\\" in name:
        return Refused(printable(name), "a name with a backslash")
    parts = [part for part in name.split("/") if part]
    if any(part in (".", "..") for part in parts):
        return Refused(printable(name), "a name with . or .. as a part")
    return "/".join(parts) or Refused(name, "an empty name")


def printable(text: str) -> str:
    """Make a peer's text fit for a log line: other characters than printable ASCII become `?`, what is long is cut."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in text[:SHOWN])
    return shown if len(text) <= SHOWN else shown + "..."

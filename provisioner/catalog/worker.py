"""The fetch worker: downloads, checks and unpacks artefacts in a process of its own, which can be killed at any point.

    python -m provisioner.catalog.worker < JOB    (JSON; events come as lines of JSON on stdout)

The daemon's loop never hashes, decompresses or waits for a vendor's server.
"""

from __future__ import annotations

import ctypes
import hashlib
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from provisioner.catalog import signature, sums
from provisioner.catalog.blobs import BlobStore
from provisioner.catalog.convert import to_zstd
from provisioner.catalog.download import Source, check_url, download, fetch_text
from provisioner.catalog.unpack import extract
from provisioner.errors import ArtifactError
from provisioner.model.catalog import Artifact

_PR_SET_PDEATHSIG = 1
MAX_SIGNATURE_BYTES = 64 * 1024
MAX_MEMORY = 1024**3
"""Of address space. The largest tables of a qcow2 image take a third of it; what an archive may ask for has no end."""


class Job(msgspec.Struct, frozen=True):
    """What is to be fetched. Artefacts of one URL are taken from one download."""

    root: str
    folder: str
    """For what is on its way. Whoever asks for this removes it: a worker that is killed does not."""
    artifacts: tuple[Artifact, ...]
    source: Source
    keyrings: tuple[str, ...] = ()
    unverified: bool = False
    """Take what nothing says the hash of; the operator wanted it so."""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a download is."""

    url: str
    done: int
    total: int | None


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    """An artefact is a blob now."""

    name: str
    sha256: str
    size_bytes: int
    origin: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Nothing more comes."""

    message: str
    hint: str = ""


Event = Progress | Fetched | Failed
Emit = Callable[[Event], None]


def run(job: Job, emit: Emit) -> None:
    """Fetch everything; raise `ArtifactError` at the first that cannot be had."""
    blobs = BlobStore(Path(job.root))
    groups: dict[str, list[Artifact]] = {}
    for artifact in job.artifacts:
        groups.setdefault(artifact.url, []).append(artifact)
    for url, artifacts in groups.items():
        try:
            _fetch_one(job, blobs, url, artifacts, emit)
        except MemoryError as error:
            text = f"{url}: more than {MAX_MEMORY >> 20} MiB of memory would be needed to unpack it"
            raise ArtifactError(text, hint="it is damaged, or made to harm") from error


def _fetch_one(job: Job, blobs: BlobStore, url: str, artifacts: list[Artifact], emit: Emit) -> None:
    check_url(url)
    partial = blobs.partial(hashlib.sha256(url.encode()).hexdigest())
    with TemporaryDirectory(dir=job.folder) as folder:
        trust = _Trust(job, url, artifacts, Path(folder))
        download(url, partial, source=job.source, report=lambda done, total: emit(Progress(url, done, total)))
        trust.check_file(partial)
        members = [artifact for artifact in artifacts if artifact.member]
        for artifact in members:
            piece = Path(folder) / "piece"
            extract(partial, artifact.member, piece)
            sha256, size = blobs.adopt(piece, expected=artifact.sha256)
            emit(Fetched(artifact.name, sha256, size, f"{artifact.member} of {trust.origin}"))
        for artifact in (artifact for artifact in artifacts if artifact.convert and not artifact.member):
            piece = Path(folder) / "piece"
            to_zstd(partial, piece)
            sha256, size = blobs.adopt(piece)
            emit(Fetched(artifact.name, sha256, size, f"{artifact.convert} of {trust.origin}"))
        whole = [artifact for artifact in artifacts if not artifact.member and not artifact.convert]
        if not whole:
            partial.unlink()
            return
        sha256, size = blobs.adopt(partial, expected=trust.sha256)
        for artifact in whole:
            emit(Fetched(artifact.name, sha256, size, trust.origin))


class _Trust:
    """Why the content of one URL may be believed: a pinned hash, a vendor's checksums, a vendor's signature."""

    def __init__(self, job: Job, url: str, artifacts: list[Artifact], folder: Path) -> None:
        self._job, self._url, self._folder = job, url, folder
        self._by = max(artifacts, key=lambda a: (bool(a.sums_url), bool(a.sums_signature_url)))
        pins = {artifact.sha256 for artifact in artifacts if artifact.sha256 and not artifact.member}
        if len(pins) > 1:
            raise ArtifactError(f"{url}: the bootenv names two different SHA-256 for it: {', '.join(sorted(pins))}")
        self.sha256 = next(iter(pins), "")
        self._members_pinned = all(artifact.sha256 for artifact in artifacts)
        self.origin = f"{url} (SHA-256 pinned)"
        if self._by.sums_url:
            self._ask_sums()
        elif not self.sha256 and not self._members_pinned and not self._by.sums_signature_url:
            reason = self._by.unverified or "its bootenv has no sha256, sums or signature for it"
            self._accept_unverified(f"{url}: nothing says what it should be: {reason}")

    def check_file(self, file: Path) -> None:
        """Check the downloaded file; what is wrong is deleted, so that the next attempt starts afresh."""
        try:
            if self.sha256 and (found := _hash(file)) != self.sha256:
                raise ArtifactError(f"{self._url}: its SHA-256 is {found}, it should be {self.sha256}")
            if self._by.sums_signature_url and not self._by.sums_url:
                key = signature.check(file, self._signature(), self._keyring())
                self.origin = f"{self._url} (signed by {key[-16:]})"
        except ArtifactError:
            file.unlink()
            raise

    def _ask_sums(self) -> None:
        """Learn the hash from the vendor's checksum file, which is checked first."""
        url = self._by.sums_url
        file = self._folder / "sums"
        text = fetch_text(url, file, source=self._job.source, limit=sums.MAX_BYTES)
        if self._by.keyring or self._by.sums_signature_url:
            text, key = self._signed(file, text)
            self.origin = f"{self._url} (checksums signed by {key[-16:]})"
        elif url.startswith("https:"):
            self.origin = f"{self._url} (checksums by https, not signed)"
        else:
            self._accept_unverified(f"{url}: checksums that are neither signed nor fetched by https")
        if (nearer := sums.intermediate(text, url, self._url)) is not None:
            url, expected = nearer
            text = fetch_text(url, file, source=self._job.source, limit=sums.MAX_BYTES)
            if _hash(file) != expected:
                raise ArtifactError(f"{url}: not the file that {self._by.sums_url} names")
        stated = sums.expected(text, url, self._url)
        if self.sha256 not in ("", stated):
            raise ArtifactError(f"{self._url}: {url} states {stated}, the bootenv pins {self.sha256}")
        self.sha256 = stated

    def _signed(self, file: Path, text: str) -> tuple[str, str]:
        """Check the signature of the checksum file; return the text that it covers, and the key."""
        if self._by.sums_signature_url:
            return text, signature.check(file, self._signature(), self._keyring())
        covered = self._folder / "signed"
        key = signature.check_clear_signed(file, self._keyring(), covered)
        return covered.read_text("utf-8", "replace"), key

    def _signature(self) -> Path:
        file = self._folder / "signature"
        download(self._by.sums_signature_url, file, source=self._job.source, limit=MAX_SIGNATURE_BYTES)
        return file

    def _keyring(self) -> Path:
        if not self._by.keyring:
            raise ArtifactError(f"{self._by.name}: there is a signature, but the bootenv names no keyring for it")
        return signature.find_keyring(self._by.keyring, [Path(folder) for folder in self._job.keyrings])

    def _accept_unverified(self, text: str) -> None:
        if not self._job.unverified:
            hint = "pin its sha256 in the bootenv, or take it as it is with --unverified"
            raise ArtifactError(text, hint=hint)
        self.origin = f"{self._url} (unverified)"


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> int:
    """Read a job, do it, say how it went. Dies with the process that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def emit(event: Event) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()

    with ExitStack() as stack:
        stack.callback(sys.stdout.flush)
        try:
            run(msgspec.json.decode(sys.stdin.buffer.read(), type=Job), emit)
        except ArtifactError as error:
            emit(Failed(error.message, error.hint))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

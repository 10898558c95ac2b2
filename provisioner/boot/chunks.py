"""Chunks of an image: what machines fetch from each other, and the list of hashes that proves each of them. No I/O.

The list is text that a shell reads: a head line `chunks VERSION CHUNK_BYTES SIZE_BYTES SHA256`, then a SHA-256 on each
line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from provisioner.errors import WireError

CHUNK_BYTES = 4 * 1024 * 1024
"""A machine on a gigabit link takes one in 35 ms: two programs started for it cost little; 16 GiB are 4096 lines."""
MIN_BYTES = 4 * CHUNK_BYTES
"""Smaller content is sent whole: there is nothing to gain."""
MAX_CHUNKS = 65536
_VERSION = "1"
_HEX = re.compile(r"[0-9a-f]{64}")
_WHOLE = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class ChunkList:
    """The hashes of one content's chunks; all are `chunk_bytes` long but the last."""

    chunk_bytes: int
    size_bytes: int
    sha256: str
    digests: tuple[str, ...]

    def extent(self, index: int) -> tuple[int, int]:
        """Say where a chunk begins and how long it is."""
        start = index * self.chunk_bytes
        return start, min(self.chunk_bytes, self.size_bytes - start)

    def encode(self) -> str:
        """Write the list as text."""
        head = f"chunks {_VERSION} {self.chunk_bytes} {self.size_bytes} {self.sha256}"
        return "\n".join((head, *self.digests)) + "\n"


def decode(text: str) -> ChunkList:
    """Read a list; raise `WireError` for whatever is none."""
    head, *digests = text.splitlines()[: MAX_CHUNKS + 2] or [""]
    words = head.split(" ")
    if len(words) != 5 or words[:2] != ["chunks", _VERSION]:
        raise WireError(f"a list of chunks begins with {head[:80]!r}")
    if not (_WHOLE.fullmatch(words[2]) and _WHOLE.fullmatch(words[3]) and _HEX.fullmatch(words[4])):
        raise WireError(f"a list of chunks with the head {head[:120]!r}")
    chunk_bytes, size_bytes = int(words[2]), int(words[3])
    if not chunk_bytes or len(digests) != -(-size_bytes // chunk_bytes) or len(digests) > MAX_CHUNKS:
        raise WireError(f"a list of {len(digests)} chunks of {chunk_bytes} bytes for {size_bytes} bytes")
    if bad := next((line for line in digests if not _HEX.fullmatch(line)), None):
        raise WireError(f"a list of chunks with the hash {bad[:80]!r}")
    return ChunkList(chunk_bytes, size_bytes, words[4], tuple(digests))


class Chunker:
    """Hashes content as it comes in, whole and chunk by chunk."""

    def __init__(self, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._chunk_bytes = chunk_bytes
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._room = chunk_bytes
        self._digests: list[str] = []
        self.size_bytes = 0

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        self._whole.update(data)
        self.size_bytes += len(data)
        view = memoryview(data)
        while view:
            part = view[: self._room]
            self._chunk.update(part)
            self._room -= len(part)
            view = view[len(part) :]
            if not self._room:
                self._next()

    def _next(self) -> None:
        self._digests.append(self._chunk.hexdigest())
        self._chunk, self._room = hashlib.sha256(), self._chunk_bytes

    @property
    def sha256(self) -> str:
        """The hash of everything so far."""
        return self._whole.hexdigest()

    def finish(self) -> ChunkList:
        """Say what came; nothing may follow."""
        if self._room < self._chunk_bytes:
            self._next()
        return ChunkList(self._chunk_bytes, self.size_bytes, self.sha256, tuple(self._digests))

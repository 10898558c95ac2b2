"""Lists of chunks: hashes that stand for exactly the content, and text that is one or is refused."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.chunks import Chunker, ChunkList, decode
from provisioner.errors import WireError

SHA = "0" * 64


def chunked(pieces: list[bytes], chunk_bytes: int) -> ChunkList:
    chunker = Chunker(chunk_bytes)
    for piece in pieces:
        chunker.update(piece)
    return chunker.finish()


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 16))
def test_however_content_comes_in_its_chunks_are_the_same(pieces: list[bytes], chunk_bytes: int) -> None:
    content = b"".join(pieces)
    listed = chunked(pieces, chunk_bytes)
    parts = [content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes)]
    assert listed.digests == tuple(hashlib.sha256(part).hexdigest() for part in parts)
    assert [listed.extent(index) for index in range(len(parts))] == [
        (index * chunk_bytes, len(part)) for index, part in enumerate(parts)
    ]
    assert (listed.sha256, listed.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert decode(listed.encode()) == listed


@given(st.text())
def test_any_text_is_a_list_or_a_wire_error(text: str) -> None:
    try:
        decode(text)
    except WireError:
        return


BAD = {
    "nothing": "",
    "another version": f"chunks 2 4 4 {SHA}\n{SHA}\n",
    "a hash too few": f"chunks 1 4 5 {SHA}\n{SHA}\n",
    "a hash too many": f"chunks 1 4 4 {SHA}\n{SHA}\n{SHA}\n",
    "no chunk size": f"chunks 1 0 4 {SHA}\n{SHA}\n",
    "a hash that is none": f"chunks 1 4 4 {SHA}\n{SHA[:-1]}G\n",
    "a size that is none": f"chunks 1 4 -4 {SHA}\n{SHA}\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        decode(text)

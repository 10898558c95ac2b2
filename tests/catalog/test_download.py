"""Downloads: where they may be led, and how much they may write. Losses and checks are with the tests of fetching."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from provisioner.catalog import room
from provisioner.catalog.blobs import CHUNK_BYTES
from provisioner.catalog.download import Source, check_redirect, download
from provisioner.errors import ArtifactError
from tests.catalog.vendor import vendor

LEADS = {
    "from an open one to an open one": ("http://a.example/x", "http://b.example/x", ""),
    "from an open one to a protected one": ("http://a.example/x", "https://b.example/x", ""),
    "among protected ones": ("https://a.example/x", "https://b.example/x", ""),
    "from a protected one to an open one": ("https://a.example/x", "http://a.example/x", "from https to http://a"),
    "to no web server": ("http://a.example/x", "file:///etc/passwd", "not an http"),
    "to none by name": ("https://a.example/x", "https:///x", "not an http"),
}


@pytest.mark.parametrize(("url", "target", "said"), LEADS.values(), ids=LEADS.keys())
def test_where_a_redirect_may_lead(url: str, target: str, said: str) -> None:
    refused = pytest.raises(ArtifactError, match=said) if said else contextlib.nullcontext()
    with refused:
        check_redirect(url, target)


async def test_a_disk_that_fills_up_meanwhile_ends_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_EVERY_BYTES", 1)

    def fill(_done: int, _total: int | None) -> None:
        monkeypatch.setattr(room, "KEEP_FREE_BYTES", 1 << 62)

    target = tmp_path / "image"
    with vendor() as site:
        site.put("/image", bytes(3 * CHUNK_BYTES))
        with pytest.raises(ArtifactError, match="MB free"):
            await asyncio.to_thread(download, site.url("/image"), target, source=Source(), report=fill)
    assert target.stat().st_size == CHUNK_BYTES

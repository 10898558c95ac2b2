"""Of the indexes that a mirror has had the one that was given last says what a package is."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.catalog.indexsums import GENERATIONS
from provisioner.catalog.mirror import FRESH_S, MirrorCache
from provisioner.errors import ArtifactError
from provisioner.store.db import Database
from tests.catalog.mirrors import Now, Upstream, caching

DEB = "pool/h/hello_1_amd64.deb"
RPM = "el9/Packages/h/hello-1.x86_64.rpm"
PLAIN = "dists/x/main/binary-amd64/Packages.gz"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def debian(package: bytes) -> bytes:
    return gzip.compress(f"Filename: {DEB}\nSHA256: {sha(package)}\n".encode(), mtime=0)


def rpm(package: bytes) -> bytes:
    checksum, location = (
        f'<checksum type="sha256">{sha(package)}</checksum>',
        '<location href="Packages/h/hello-1.x86_64.rpm"/>',
    )
    return gzip.compress(f'<metadata><package type="rpm">{checksum}{location}</package></metadata>'.encode(), mtime=0)


@dataclass(frozen=True)
class Kind:
    """A kind of repository: the path of its package, its index of one, and what that is called."""

    package: str
    index: Callable[[bytes], bytes]
    called: Callable[[bytes], str]


KINDS = {
    "RPM": Kind(RPM, rpm, lambda index: f"el9/repodata/{sha(index)}-primary.xml.gz"),
    "Debian, by hash": Kind(DEB, debian, lambda index: f"dists/x/main/binary-amd64/by-hash/SHA256/{sha(index)}"),
    "Debian, by name": Kind(DEB, debian, lambda _: PLAIN),
}


@dataclass
class Site:
    """A cache before a mirror; the files of both can be restarted."""

    db: Database
    root: Path
    upstream: Upstream
    now: Now

    async def publish(self, cache: MirrorCache, kind: Kind, package: bytes) -> None:
        """Have the repository of this package, and its index asked for, as a machine does that installs."""
        index = kind.index(package)
        self.upstream.files |= {kind.called(index): index, kind.package: package}
        self.now.now += FRESH_S
        await cache.get("debian", kind.called(index))

    async def content(self, cache: MirrorCache, path: str) -> bytes:
        return await asyncio.to_thread((await cache.get("debian", path)).path.read_bytes)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(Database(tmp_path / "state.db"), tmp_path / "mirror", Upstream(), Now())
    await site.db.open()
    async with site.upstream.serving():
        yield site
    await site.db.close()


@pytest.mark.parametrize("kept", [True, False], ids=["its package is kept", "nobody asked for its package"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
async def test_a_repository_whose_packages_are_signed_anew_under_their_names(
    site: Site, kind: Kind, kept: bool
) -> None:
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        await site.publish(cache, kind, b"signed")
        if kept:
            assert await site.content(cache, kind.package) == b"signed"
        await site.publish(cache, kind, b"signed anew")
        assert await site.content(cache, kind.package) == b"signed anew"
    site.now.now += FRESH_S
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        assert await site.content(cache, kind.package) == b"signed anew", "after a restart"
    assert site.upstream.times(kind.package) == 1 + kept


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
async def test_a_repository_that_takes_a_version_back(site: Site, kind: Kind) -> None:
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        for package in (b"good", b"bad", b"good"):
            await site.publish(cache, kind, package)
            assert await site.content(cache, kind.package) == package


async def test_a_mirror_that_has_the_index_before_the_package_gives_what_the_index_before_it_names(site: Site) -> None:
    """A client that has that index still is served; one that has the new one is as if it had asked the mirror."""
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        await site.publish(cache, KINDS["RPM"], b"signed")
        await site.publish(cache, KINDS["RPM"], b"signed anew")
        site.upstream.files[RPM] = b"signed"
        assert await site.content(cache, RPM) == b"signed"
        site.upstream.files[RPM], site.now.now = b"signed anew", site.now.now + FRESH_S
        assert await site.content(cache, RPM) == b"signed anew"
        site.upstream.files[RPM] = b"evil"
        await cache._forget([kept for kept in cache._kept.values() if kept.path == RPM])
        with pytest.raises(ArtifactError, match=f"it should be {sha(b'signed anew')}"):
            await cache.get("debian", RPM)


async def test_of_one_place_the_last_few_indexes_are_heeded(site: Site) -> None:
    versions = [f"version {number}".encode() for number in range(GENERATIONS + 2)]
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        for version in versions:
            await site.publish(cache, KINDS["RPM"], version)
        named = await cache._sums.named("debian", RPM)
    assert named == tuple(sha(version) for version in reversed(versions[-GENERATIONS:]))


async def test_an_index_that_was_not_read_to_its_end_is_read_after_a_restart(site: Site) -> None:
    """The daemon was killed amid it. One that an older version read is read anew, too."""
    kind = KINDS["Debian, by name"]
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        await site.publish(cache, kind, b"hello")
    said = site.root / "sums" / f"{sha(kind.index(b'hello'))}.sorted"
    await asyncio.to_thread(said.rename, said.with_name(f"{said.name}.6361"))
    await asyncio.to_thread(said.with_suffix("").touch)
    site.upstream.files[DEB] = b"evil!"
    async with caching(site.db, site.root, site.upstream, site.now) as cache:
        assert not any((site.root / "sums").iterdir())
        with pytest.raises(ArtifactError, match="SHA-256"):
            await cache.get("debian", DEB)
    assert [path.name for path in (site.root / "sums").iterdir()] == [said.name]

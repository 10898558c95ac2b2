"""The cache of package mirrors: it gives what a mirror has, whole, asked for once, and also when it is away."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.catalog.mirror import FRESH_S, MirrorCache
from provisioner.catalog.room import KEEP_FREE_BYTES
from provisioner.errors import ArtifactError, FullError, NotFoundError
from provisioner.store.authority import Authority
from provisioner.store.db import Database
from tests.catalog.mirrors import Now, Upstream, caching

DEB = "pool/main/h/hello_1_amd64.deb"
RELEASE = "dists/bookworm/InRelease"
PACKAGES = "dists/bookworm/main/binary-amd64/Packages.gz"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def index_of(**packages: bytes) -> bytes:
    stanzas = [
        f"Filename: pool/main/h/{name}_1_amd64.deb\nSHA256: {sha(content)}\n" for name, content in packages.items()
    ]
    return gzip.compress("\n".join(stanzas).encode())


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    it = Upstream()
    it.files = {DEB: b"hello", RELEASE: b"release 1"}
    async with it.serving():
        yield it


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def cache(db: Database, tmp_path: Path, upstream: Upstream, now: Now) -> AsyncIterator[MirrorCache]:
    async with caching(db, tmp_path / "mirror", upstream, now) as it:
        yield it


async def content(cache: MirrorCache, path: str) -> bytes:
    file = await cache.get("debian", path)
    return await asyncio.to_thread(file.path.read_bytes)


async def test_a_package_is_fetched_once(cache: MirrorCache, upstream: Upstream, now: Now) -> None:
    assert await content(cache, DEB) == b"hello"
    now.now += 1e6
    assert await content(cache, DEB) == b"hello"
    assert upstream.times(DEB) == 1


async def test_many_that_ask_at_once_are_one_download(cache: MirrorCache, upstream: Upstream) -> None:
    assert await asyncio.gather(*(content(cache, DEB) for _ in range(50))) == [b"hello"] * 50
    assert upstream.times(DEB) == 1


async def test_an_index_is_asked_for_again(cache: MirrorCache, upstream: Upstream, now: Now) -> None:
    assert await content(cache, RELEASE) == b"release 1"
    await content(cache, RELEASE)
    assert upstream.asked == [(RELEASE, False)], "confirmed a moment ago"
    now.now += FRESH_S
    await content(cache, RELEASE)
    assert upstream.asked[1:] == [(RELEASE, True)]
    upstream.files[RELEASE] = b"release 2"
    now.now += FRESH_S
    assert await content(cache, RELEASE) == b"release 2"


async def test_a_mirror_that_is_away_is_stood_in_for(cache: MirrorCache, upstream: Upstream, now: Now) -> None:
    await content(cache, RELEASE)
    upstream.away, now.now = True, now.now + FRESH_S
    assert await content(cache, RELEASE) == b"release 1"
    with pytest.raises(ArtifactError, match="mirror debian"):
        await cache.get("debian", DEB)
    upstream.away = False
    assert await content(cache, DEB) == b"hello"


async def test_what_is_not_there_is_not_found(cache: MirrorCache, upstream: Upstream, now: Now) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        await cache.get("debian", "dists/none/Release")
    with pytest.raises(NotFoundError, match="no mirror"):
        await cache.get("ubuntu", DEB)
    await content(cache, RELEASE)
    del upstream.files[RELEASE]
    now.now += FRESH_S
    with pytest.raises(NotFoundError):
        await cache.get("debian", RELEASE)


async def test_half_a_file_is_never_given(cache: MirrorCache, upstream: Upstream) -> None:
    upstream.files[DEB] = b"x" * 3_000_000
    upstream.cut = {DEB}
    with pytest.raises(ArtifactError):
        await cache.get("debian", DEB)
    assert cache.size_bytes == 0
    upstream.cut = set()
    assert await content(cache, DEB) == upstream.files[DEB]


async def test_a_package_has_the_hash_of_its_index_or_is_refused(cache: MirrorCache, upstream: Upstream) -> None:
    upstream.files[PACKAGES] = index_of(hello=b"hello")
    await content(cache, PACKAGES)
    upstream.files[DEB] = b"evil!"
    with pytest.raises(ArtifactError, match="SHA-256"):
        await cache.get("debian", DEB)
    assert await asyncio.to_thread(lambda: list((cache._blobs.root / "incoming").iterdir())) == []
    upstream.files[DEB] = b"hello"
    assert await content(cache, DEB) == b"hello"


async def test_a_package_that_its_index_calls_otherwise_is_fetched_anew(
    cache: MirrorCache, upstream: Upstream, now: Now
) -> None:
    assert await content(cache, DEB) == b"hello"
    upstream.files |= {DEB: b"rebuilt", PACKAGES: index_of(hello=b"rebuilt")}
    await content(cache, PACKAGES)
    now.now += FRESH_S
    assert await content(cache, DEB) == b"rebuilt"


async def test_what_has_its_hash_in_its_name_is_checked(cache: MirrorCache, upstream: Upstream) -> None:
    path = f"dists/bookworm/main/binary-amd64/by-hash/SHA256/{sha(b'index')}"
    upstream.files[path] = b"other"
    with pytest.raises(ArtifactError, match="SHA-256"):
        await cache.get("debian", path)
    upstream.files[path] = b"index"
    assert await content(cache, path) == b"index"


async def test_what_was_kept_survives_a_restart_and_serves_a_site_without_a_way_out(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    root = tmp_path / "mirror"
    async with caching(db, root, upstream, now) as cache:
        await content(cache, DEB)
        await content(cache, RELEASE)
    await asyncio.to_thread((root / "blobs/sha256" / ("0" * 64)).write_bytes, b"left by a crash")
    upstream.asked.clear()
    now.now += 1e6
    async with caching(db, root, upstream, now, offline=True) as cache:
        assert await content(cache, DEB) == b"hello"
        assert await content(cache, RELEASE) == b"release 1"
        with pytest.raises(NotFoundError, match="offline"):
            await cache.get("debian", "pool/other.deb")
    assert upstream.asked == []
    assert not (root / "blobs/sha256" / ("0" * 64)).exists()


async def test_what_is_gone_from_the_disk_is_fetched_again(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    root = tmp_path / "mirror"
    async with caching(db, root, upstream, now) as cache:
        file = await cache.get("debian", DEB)
    await asyncio.to_thread(file.path.unlink)
    async with caching(db, root, upstream, now) as cache:
        assert await content(cache, DEB) == b"hello"


async def test_the_least_recently_used_go_first(db: Database, tmp_path: Path, upstream: Upstream, now: Now) -> None:
    names = [f"pool/{letter}.deb" for letter in "abcd"]
    upstream.files = {name: name[5:6].encode() * 1000 for name in names}
    async with caching(db, tmp_path / "mirror", upstream, now, limit=3500) as cache:
        for name in names[:3]:
            await content(cache, name)
            now.now += 1000
        await content(cache, names[0])
        await content(cache, names[3])
        assert cache.size_bytes <= 3500
        await content(cache, names[0])
        assert upstream.times(names[0]) == 1, "used a moment ago"
        upstream.files["pool/large.deb"] = bytes(4000)
        with pytest.raises(ArtifactError, match="more than"):
            await cache.get("debian", "pool/large.deb")


async def test_a_file_larger_than_all_that_is_kept_drives_nothing_out(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    """Also where the mirror does not say how long it is."""
    upstream.files["pool/large.deb"] = bytes(4_000_000)
    upstream.unsized = {"pool/large.deb", RELEASE}
    async with caching(db, tmp_path / "mirror", upstream, now, limit=3_000_000) as cache:
        await content(cache, DEB)
        assert await content(cache, RELEASE) == b"release 1"
        with pytest.raises(ArtifactError, match=r"more than mirror\.max_gib keeps"):
            await cache.get("debian", "pool/large.deb")
        assert await content(cache, DEB) == b"hello"
    assert upstream.times(DEB) == 1
    assert await asyncio.to_thread(lambda: list((tmp_path / "mirror" / "incoming").iterdir())) == []


async def test_a_redirect_among_mirrors_is_followed(cache: MirrorCache, upstream: Upstream) -> None:
    upstream.redirect["pool/latest.deb"] = f"{upstream.url}/{DEB}"
    assert await content(cache, "pool/latest.deb") == b"hello"


@pytest.mark.slow
async def test_a_mirror_by_https_leads_to_nothing_that_is_open(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path / "tls", time.time())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(await asyncio.to_thread(authority.server_certificate, ["127.0.0.1"]))
    trusting = ssl.create_default_context(cafile=str(authority.certificate_file))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)  # read when aiohttp is imported
    protected = Upstream()
    protected.files[DEB] = b"hello"
    async with protected.serving(tls), caching(db, tmp_path / "mirror", protected, now) as cache:
        protected.redirect = {"pool/near.deb": f"{protected.url}/{DEB}", "pool/open.deb": f"{upstream.url}/{DEB}"}
        assert await content(cache, "pool/near.deb") == b"hello"
        with pytest.raises(ArtifactError, match="redirects from https to http"):
            await cache.get("debian", "pool/open.deb")
    assert upstream.asked == []


async def test_who_asked_first_may_go(cache: MirrorCache, upstream: Upstream) -> None:
    upstream.held[DEB] = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(cache.get("debian", DEB))
        second = group.create_task(cache.get("debian", DEB))
        while not upstream.asked:
            await asyncio.sleep(0)
        first.cancel()
        upstream.held[DEB].set()
    assert second.result().sha256 == sha(b"hello")
    assert upstream.times(DEB) == 1


class SmallDisk:
    """A disk of its own for what lies below `root`."""

    def __init__(self, root: Path, size_bytes: int) -> None:
        self.root, self.size_bytes = root, size_bytes

    def __call__(self, _folder: object) -> os.statvfs_result:
        taken = sum(path.stat().st_size for path in (self.root / "blobs").rglob("*") if path.is_file())
        return os.statvfs_result((1, 1, 0, 0, max(self.size_bytes - taken, 0), 0, 0, 0, 0, 255))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    """A disk on which 10,000 octets more than what stays free can be kept."""
    disk = SmallDisk(tmp_path / "mirror", KEEP_FREE_BYTES + 10_000)
    monkeypatch.setattr(os, "statvfs", disk)
    return disk


@pytest.mark.parametrize("sized", [True, False], ids=["a length that is known", "one that nobody knows"])
@pytest.mark.usefixtures("disk")
async def test_a_disk_that_is_full_before_the_cache_is_lets_the_least_recently_used_go(
    cache: MirrorCache, upstream: Upstream, now: Now, sized: bool
) -> None:
    names = [f"pool/{letter}.deb" for letter in "abcdef"]
    upstream.files |= {name: name[5:6].encode() * 4000 for name in names}
    upstream.unsized = set() if sized else set(names)
    for name in names:
        assert await content(cache, name) == upstream.files[name]
        now.now += 1000
    assert await content(cache, RELEASE) == b"release 1"
    assert 4000 <= cache.size_bytes <= 10_000
    assert await content(cache, names[-1]) == upstream.files[names[-1]]
    assert upstream.times(names[-1]) == 1, "used a moment ago"


async def test_a_disk_that_others_have_filled_costs_nothing_that_is_kept(
    cache: MirrorCache, upstream: Upstream, now: Now, disk: SmallDisk
) -> None:
    assert await content(cache, RELEASE) == b"release 1"
    assert await content(cache, DEB) == b"hello"
    disk.size_bytes, now.now = KEEP_FREE_BYTES // 2, now.now + FRESH_S
    upstream.files |= {RELEASE: b"release 2", "pool/other.deb": b"other"}
    assert await content(cache, RELEASE) == b"release 1", "as if the mirror were away"
    with pytest.raises(FullError, match="MB free"):
        await cache.get("debian", "pool/other.deb")
    assert await content(cache, DEB) == b"hello"
    assert upstream.times(DEB) == 1
    assert "MB free" in cache.standing.unkept
    disk.size_bytes = KEEP_FREE_BYTES + 10_000
    assert await content(cache, RELEASE) == b"release 2"
    assert cache.standing.unkept == ""


async def test_with_a_disk_that_is_full_no_package_is_given_that_its_index_does_not_name_any_more(
    cache: MirrorCache, upstream: Upstream, now: Now, disk: SmallDisk
) -> None:
    for package in (b"hello", b"rebuilt"):
        upstream.files |= {DEB: package, PACKAGES: index_of(hello=package)}
        now.now += FRESH_S
        await content(cache, PACKAGES)
        if package == b"hello":
            assert await content(cache, DEB) == package
    disk.size_bytes = KEEP_FREE_BYTES // 2
    with pytest.raises(FullError):
        await cache.get("debian", DEB)


async def test_a_store_that_is_full_fails_that_file_and_not_the_cache(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    async with caching(db, tmp_path / "mirror", upstream, now) as cache:
        held = upstream.held[RELEASE] = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            other = group.create_task(content(cache, RELEASE))
            await db.submit(lambda c: c.execute("ALTER TABLE mirror RENAME TO elsewhere") and None)
            with pytest.raises(ArtifactError, match="mirror debian: "):
                await cache.get("debian", DEB)
            await db.submit(lambda c: c.execute("ALTER TABLE elsewhere RENAME TO mirror") and None)
            held.set()
        assert other.result() == b"release 1"


async def test_a_file_that_comes_again_is_not_driven_out_by_itself(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    """Another node of the mirror's calls the same content otherwise; of what is kept it was used last."""
    names = [f"pool/{letter}.deb" for letter in "abc"]
    upstream.files |= {name: name[5:6].encode() * 1000 for name in names} | {RELEASE: b"r" * 1000}
    async with caching(db, tmp_path / "mirror", upstream, now, limit=4000) as cache:
        for name in (RELEASE, *names):
            await content(cache, name)
            now.now += 1000
        upstream.node = "other"
        assert await content(cache, RELEASE) == b"r" * 1000
        now.now += FRESH_S
        assert await content(cache, RELEASE) == b"r" * 1000, "confirmed"


async def test_what_goes_while_it_is_confirmed_is_fetched(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    upstream.files |= {"pool/large.deb": b"l" * 3500}
    async with caching(db, tmp_path / "mirror", upstream, now, limit=3600) as cache:
        await content(cache, RELEASE)
        now.now += 1000
        upstream.before[RELEASE] = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(content(cache, RELEASE))
            await upstream.was_asked.wait()
            await content(cache, "pool/large.deb")
            upstream.before[RELEASE].set()
        assert asking.result() == b"release 1"
        assert await content(cache, RELEASE) == b"release 1"


async def test_a_clock_that_was_ahead_keeps_no_index_fresh(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now
) -> None:
    root = tmp_path / "mirror"
    now.now += 1e9
    async with caching(db, root, upstream, now) as cache:
        await content(cache, RELEASE)
    now.now -= 1e9
    upstream.files[RELEASE] = b"release 2"
    async with caching(db, root, upstream, now) as cache:
        assert await content(cache, RELEASE) == b"release 2"


async def test_what_is_told_of_a_mirror_has_no_password_in_it(
    db: Database, tmp_path: Path, upstream: Upstream, now: Now, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = f"dists/x/main/binary-amd64/by-hash/SHA256/{sha(b'another')}"
    upstream.files |= {wrong: b"one", "pool/large.deb": bytes(5000)}
    upstream.url = upstream.url.replace("://", "://user:S3CRET@")
    async with caching(db, tmp_path / "mirror", upstream, now, limit=4000) as cache:
        for path in (wrong, "pool/large.deb"):
            with pytest.raises(ArtifactError) as caught:
                await cache.get("debian", path)
            assert str(caught.value).startswith(f"debian/{path}: ")
    assert f"mirror.damaged debian/{wrong}: its SHA-256 is" in caplog.text
    assert "S3CRET" not in caplog.text

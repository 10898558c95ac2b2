"""Fetching: whole, checked against what the vendor signed, going on after a loss, and never half there."""

from __future__ import annotations

import asyncio
import hashlib
import io
import lzma
import os
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.blobs import PARTIAL_LIFE_S
from provisioner.catalog.download import Source
from provisioner.catalog.fetch import Fetcher, not_fetched
from provisioner.catalog.worker import Progress
from provisioner.errors import ArtifactError, ConflictError, NotFoundError
from provisioner.model.artifact import Blob
from provisioner.model.catalog import Artifact, Bootenv, Files, Kind
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from tests.catalog.vendor import Signer, Vendor, vendor

pytestmark = pytest.mark.peer

KERNEL = bytes(range(256)) * 2000
SHA = hashlib.sha256(KERNEL).hexdigest()
QUICK = Source(timeout_s=5.0, pauses_s=(0.0,))


@pytest.fixture
def site() -> Iterator[Vendor]:
    with vendor() as served:
        served.put("/linux", KERNEL)
        yield served


@pytest.fixture(scope="module")
def keyrings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keyrings")


@pytest.fixture(scope="module")
def signer(keyrings: Path) -> Iterator[Signer]:
    key = Signer(keyrings, "distribution")
    yield key
    key.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    key = Signer(tmp_path_factory.mktemp("strangers"), "stranger")
    yield key
    key.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    db = Database(tmp_path / "state.db")
    await db.open()
    opened = ArtifactStore(tmp_path / "artifacts", ArtifactIndex(db))
    await opened.open()
    yield opened
    await db.close()


@pytest.fixture
def fetcher(store: ArtifactStore, keyrings: Path) -> Fetcher:
    return Fetcher(store, source=QUICK, keyrings=[keyrings])


def bootenv(*artifacts: Artifact) -> Bootenv:
    return Bootenv("debian-12", "Debian 12", Kind.INSTALLER, "debian", {"amd64": Files(artifacts=artifacts)})


def kernel(site: Vendor, **changes: str) -> Artifact:
    return replace(Artifact("linux", url=site.url("/linux")), **changes)


async def fetch(fetcher: Fetcher, *artifacts: Artifact, unverified: bool = False) -> list[Blob]:
    return await fetcher.fetch(bootenv(*artifacts), "amd64", lambda _: None, unverified=unverified)


def signed(site: Vendor, signer: Signer, sums: str | None = None) -> dict[str, str]:
    """Serve checksums and their signature; say where they are."""
    text = (sums if sums is not None else f"{SHA}  linux\n").encode()
    site.put("/SHA256SUMS", text)
    site.put("/SHA256SUMS.gpg", signer.detached(text))
    return {
        "sums_url": site.url("/SHA256SUMS"),
        "sums_signature_url": site.url("/SHA256SUMS.gpg"),
        "keyring": "distribution",
    }


async def test_what_the_vendor_signed_is_stored(
    fetcher: Fetcher, store: ArtifactStore, site: Vendor, signer: Signer
) -> None:
    (blob,) = await fetch(fetcher, kernel(site, **signed(site, signer)))
    assert blob.sha256 == SHA
    assert "checksums signed by" in blob.origin
    served = store.find("debian-12/amd64/linux")
    assert served is not None
    assert served.path.read_bytes() == KERNEL
    assert await fetch(fetcher, kernel(site)) == []  # nothing is missing any more


async def test_a_qcow2_image_is_stored_as_the_disk_inside(
    fetcher: Fetcher, store: ArtifactStore, site: Vendor, tmp_path: Path
) -> None:
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"

    def make() -> bytes:
        raw.write_bytes(KERNEL)
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)]
        subprocess.run(command, check=True)
        return image.read_bytes()

    site.put("/disk.qcow2", await asyncio.to_thread(make))
    pin = await asyncio.to_thread(lambda: hashlib.sha256(image.read_bytes()).hexdigest())
    wanted = Artifact("disk.raw.zst", url=site.url("/disk.qcow2"), sha256=pin, convert="qcow2")
    (blob,) = await fetch(fetcher, wanted)
    assert blob.origin.startswith("qcow2 of http")
    packed = await asyncio.to_thread(store.blobs.path(blob.sha256).read_bytes)
    done = await asyncio.to_thread(subprocess.run, ["zstd", "-dcq"], input=packed, capture_output=True, check=True)
    assert done.stdout == KERNEL
    assert await fetch(fetcher, wanted) == [], "the pin is of what was fetched"


async def test_a_pinned_hash_is_enough(fetcher: Fetcher, site: Vendor) -> None:
    (blob,) = await fetch(fetcher, kernel(site, sha256=SHA))
    assert blob.origin == f"{site.url('/linux')} (SHA-256 pinned)"


async def test_members_come_out_of_one_download(fetcher: Fetcher, site: Vendor, store: ArtifactStore) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in (("boot/vmlinuz", KERNEL), ("boot/initrd", b"initrd")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    sha256 = site.put("/medium.tar.gz", archive.getvalue())
    url = site.url("/medium.tar.gz")
    artifacts = (
        Artifact("medium", url=url, sha256=sha256),
        Artifact("vmlinuz", url=url, member="boot/vmlinuz"),
        Artifact("initrd", url=url, member="boot/initrd"),
    )
    stored = await fetch(fetcher, *artifacts)
    assert {blob.name: blob.sha256 for blob in stored}["vmlinuz"] == SHA
    assert len(site.asked) == 1
    assert not list((store.blobs.root / "incoming").iterdir())


async def test_an_archive_that_asks_for_gigabytes_of_memory_is_refused(fetcher: Fetcher, site: Vendor) -> None:
    """The head of an .lzma says how large its dictionary is: here four gigabytes, for a few hundred bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("linux"))
    packed = bytearray(lzma.compress(archive.getvalue(), lzma.FORMAT_ALONE))
    packed[1:5] = b"\xff" * 4
    sha256 = site.put("/small.tar.lzma", bytes(packed))
    with pytest.raises(ArtifactError, match=r"small\.tar\.lzma: more than 1024 MiB of memory"):
        await fetch(
            fetcher,
            Artifact("small", url=site.url("/small.tar.lzma"), sha256=sha256),
            Artifact("linux", url=site.url("/small.tar.lzma"), member="linux"),
        )


async def test_a_clear_signed_release_leads_to_the_checksums(fetcher: Fetcher, site: Vendor, signer: Signer) -> None:
    images = "main/installer-amd64/current/images"
    sums = f"{SHA}  ./netboot/linux\n".encode()
    listed = site.put(f"/dists/bookworm/{images}/SHA256SUMS", sums)
    site.put(f"/dists/bookworm/{images}/netboot/linux", KERNEL)
    release = f"Suite: stable\nSHA256:\n {listed} {len(sums)} {images}/SHA256SUMS\n".encode()
    site.put("/dists/bookworm/InRelease", signer.clear(release))
    artifact = Artifact(
        "linux",
        url=site.url(f"/dists/bookworm/{images}/netboot/linux"),
        sums_url=site.url("/dists/bookworm/InRelease"),
        keyring="distribution",
    )
    (blob,) = await fetch(fetcher, artifact)
    assert blob.sha256 == SHA


async def test_a_signature_of_the_file_itself(fetcher: Fetcher, site: Vendor, signer: Signer) -> None:
    site.put("/linux.sig", signer.detached(KERNEL))
    (blob,) = await fetch(fetcher, kernel(site, sums_signature_url=site.url("/linux.sig"), keyring="distribution"))
    assert "signed by" in blob.origin


# what must not be believed


async def test_content_that_is_not_what_was_signed(
    fetcher: Fetcher, store: ArtifactStore, site: Vendor, signer: Signer
) -> None:
    where = signed(site, signer)
    site.put("/linux", KERNEL[:-1] + b"!")
    with pytest.raises(ArtifactError, match="it should be"):
        await fetch(fetcher, kernel(site, **where))
    assert store.lookup("debian-12", "amd64", "linux") is None
    assert not list((store.blobs.root / "incoming").iterdir())


async def test_checksums_that_were_changed_after_they_were_signed(
    fetcher: Fetcher, site: Vendor, signer: Signer
) -> None:
    where = signed(site, signer)
    evil = KERNEL[:-1] + b"!"
    site.put("/SHA256SUMS", f"{site.put('/linux', evil)}  linux\n".encode())
    with pytest.raises(ArtifactError, match="BADSIG"):
        await fetch(fetcher, kernel(site, **where))


async def test_a_strangers_signature(fetcher: Fetcher, site: Vendor, signer: Signer, stranger: Signer) -> None:
    where = signed(site, signer)
    site.put("/SHA256SUMS.gpg", stranger.detached(site.files["/SHA256SUMS"]))
    with pytest.raises(ArtifactError, match="NO_PUBKEY"):
        await fetch(fetcher, kernel(site, **where))


async def test_a_signature_without_a_keyring_is_not_passed_over(fetcher: Fetcher, site: Vendor, signer: Signer) -> None:
    where = signed(site, signer)
    with pytest.raises(ArtifactError, match="there is a signature, but the bootenv names no keyring"):
        await fetch(fetcher, kernel(site, **{**where, "keyring": ""}), unverified=True)


async def test_text_around_a_clear_signed_part_counts_for_nothing(
    fetcher: Fetcher, site: Vendor, signer: Signer
) -> None:
    evil = site.put("/linux", KERNEL[:-1] + b"!")
    inside = signer.clear(f"{SHA}  linux\n".encode())
    site.put("/SUMS", f"{evil}  linux\n".encode() + inside + f"{evil}  linux\n".encode())
    artifact = kernel(site, sums_url=site.url("/SUMS"), keyring="distribution")
    with pytest.raises(ArtifactError):
        await fetch(fetcher, artifact)


async def test_a_keyring_that_is_not_there_is_named(fetcher: Fetcher, site: Vendor, signer: Signer) -> None:
    with pytest.raises(ArtifactError, match="no keyring 'absent-vendor'") as caught:
        await fetch(fetcher, kernel(site, **{**signed(site, signer), "keyring": "absent-vendor"}))
    assert "ubuntu-keyring" in caught.value.hint


async def test_nothing_is_taken_on_trust_unless_the_operator_says_so(fetcher: Fetcher, site: Vendor) -> None:
    """C-B7, and no silent trust on first use."""
    with pytest.raises(ArtifactError, match="nothing says what it should be: its bootenv has no sha256"):
        await fetch(fetcher, kernel(site))
    with pytest.raises(ArtifactError, match="nothing says what it should be: its vendor keeps it to himself") as caught:
        await fetch(fetcher, kernel(site, unverified="its vendor keeps it to himself"))
    assert "--unverified" in caught.value.hint
    site.put("/SHA256SUMS", f"{SHA}  linux\n".encode())
    with pytest.raises(ArtifactError, match="neither signed nor fetched by https"):
        await fetch(fetcher, kernel(site, sums_url=site.url("/SHA256SUMS")))
    (blob,) = await fetch(fetcher, kernel(site), unverified=True)
    assert blob.origin.endswith("(unverified)")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x.example/y", "/etc/passwd", "http:///x", "gopher://x"])
async def test_only_web_servers_are_asked(fetcher: Fetcher, url: str) -> None:
    """C-B3."""
    with pytest.raises(ArtifactError, match="not an http"):
        await fetch(fetcher, Artifact("linux", url=url), unverified=True)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
async def test_redirects_lead_to_web_servers_only(fetcher: Fetcher, site: Vendor, target: str) -> None:
    site.redirect["/linux"] = target
    with pytest.raises(ArtifactError):
        await fetch(fetcher, kernel(site, sha256=SHA))


async def test_a_redirect_to_a_mirror_is_followed(fetcher: Fetcher, site: Vendor) -> None:
    site.redirect["/latest"] = site.url("/linux")
    (blob,) = await fetch(fetcher, Artifact("linux", url=site.url("/latest"), sha256=SHA))
    assert blob.sha256 == SHA


async def test_redirects_end(fetcher: Fetcher, site: Vendor) -> None:
    site.redirect["/linux"] = site.url("/linux")
    with pytest.raises(ArtifactError):
        await fetch(fetcher, kernel(site, sha256=SHA))
    assert len(site.asked) < 10


# a bad line


async def test_a_lost_connection_is_taken_up_where_it_broke(fetcher: Fetcher, site: Vendor) -> None:
    site.cut_after = 100_000
    (blob,) = await fetch(fetcher, kernel(site, sha256=SHA))
    assert blob.sha256 == SHA
    assert [wanted for _, wanted in site.asked][:3] == ["", "bytes=100000-", "bytes=200000-"]
    assert site.sent == len(KERNEL)


async def test_a_server_without_ranges_is_asked_for_all_of_it(fetcher: Fetcher, site: Vendor) -> None:
    site.ranges, site.failures = False, 2
    (blob,) = await fetch(fetcher, kernel(site, sha256=SHA))
    assert blob.sha256 == SHA


async def test_content_that_changes_between_two_attempts_is_fetched_anew(
    fetcher: Fetcher, store: ArtifactStore, site: Vendor
) -> None:
    partial = store.blobs.partial(hashlib.sha256(site.url("/linux").encode()).hexdigest())
    await asyncio.to_thread(partial.write_bytes, b"of yesterday's version")
    note = f'{{"url": "{site.url("/linux")}", "validator": "\\"old\\""}}'
    await asyncio.to_thread(partial.with_name(partial.name + ".json").write_text, note)
    (blob,) = await fetch(fetcher, kernel(site, sha256=SHA))
    assert blob.sha256 == SHA


async def test_giving_up_keeps_what_came_and_the_next_command_goes_on(
    fetcher: Fetcher, store: ArtifactStore, site: Vendor
) -> None:
    seen: list[object] = []
    site.cut_after, site.ranges = 300_000, False
    with pytest.raises(ArtifactError, match="ended after 300000") as caught:
        await fetcher.fetch(bootenv(kernel(site, sha256=SHA)), "amd64", seen.append)
    assert "goes on from there" in caught.value.hint
    assert store.lookup("debian-12", "amd64", "linux") is None
    assert any(isinstance(event, Progress) for event in seen)
    site.cut_after, site.ranges = 0, True
    before = site.sent
    await fetch(fetcher, kernel(site, sha256=SHA))
    assert site.sent - before == len(KERNEL) - 300_000


async def test_a_cancelled_fetch_ends_its_worker_and_leaves_nothing_of_it(store: ArtifactStore, site: Vendor) -> None:
    site.failures = 10**6
    slow = Fetcher(store, source=Source(pauses_s=(60.0,)))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fetch(slow, kernel(site, sha256=SHA)))
        async with asyncio.timeout(20):
            while not site.asked:
                await asyncio.sleep(0)
        task.cancel()
    assert await asyncio.to_thread(lambda: list(store.blobs.partial("x").parent.iterdir())) == []


async def test_a_download_that_nobody_goes_on_with_goes(fetcher: Fetcher, store: ArtifactStore, site: Vendor) -> None:
    ages = {"old.part": PARTIAL_LIFE_S + 60, "old.part.json": PARTIAL_LIFE_S + 60, "new.part": PARTIAL_LIFE_S - 60}

    def leave() -> None:
        for name, age in ages.items():
            left = store.blobs.partial("x").with_name(name)
            left.touch()
            os.utime(left, (time.time() - age,) * 2)

    await asyncio.to_thread(leave)
    await fetch(fetcher, kernel(site, sha256=SHA))
    assert await asyncio.to_thread(os.listdir, store.blobs.partial("x").parent) == ["new.part"]


async def test_what_machines_boot_is_not_fetched_anew_under_them(
    fetcher: Fetcher, store: ArtifactStore, site: Vendor
) -> None:
    wanted = bootenv(replace(kernel(site), sha256=SHA))
    (blob,) = await fetcher.fetch(wanted, "amd64", lambda _: None)
    store.users = lambda _bootenv: ["node17"]
    await fetcher.fetch(wanted, "amd64", lambda _: None, again=True)  # the same content: nobody is harmed
    site.put("/linux", b"newer")
    with pytest.raises(ConflictError, match="in use by node17"):
        await fetcher.fetch(bootenv(kernel(site)), "amd64", lambda _: None, again=True, unverified=True)
    assert await asyncio.to_thread(store.blobs.all) == {blob.sha256: blob.size_bytes}


async def test_a_missing_file_is_said_at_once(fetcher: Fetcher, site: Vendor) -> None:
    with pytest.raises(ArtifactError, match="HTTP 404"):
        await fetch(fetcher, Artifact("linux", url=site.url("/absent"), sha256=SHA))
    assert len(site.asked) == 1


async def test_a_proxy_is_asked_instead(store: ArtifactStore, site: Vendor) -> None:
    fetcher = Fetcher(store, source=replace(QUICK, proxy=site.url("")))
    (blob,) = await fetch(fetcher, Artifact("linux", url="http://vendor.invalid/linux", sha256=SHA))
    assert blob.sha256 == SHA


async def test_an_architecture_that_is_not_there(fetcher: Fetcher) -> None:
    with pytest.raises(NotFoundError, match="riscv64"):
        await fetcher.fetch(bootenv(), "riscv64", lambda _: None)


def test_what_no_url_is_known_for_is_said() -> None:
    built = Artifact("vmlinuz", build="provisionctl images build discovery")
    assert not_fetched([built, Artifact("x", url="http://x")]) == [
        "vmlinuz: make it with `provisionctl images build discovery`"
    ]

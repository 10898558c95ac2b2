"""`provisionctl artifacts` and `loaders`, against the API and against a state directory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.cli.client import Client
from provisioner.cli.local import served_here
from provisioner.cli.root import run
from provisioner.config import Catalogue, Config, Store
from provisioner.errors import StoreError
from provisioner.store.lock import alone
from tests.catalog.vendor import Vendor, vendor
from tests.cli.conftest import Ctl, Ran

KERNEL = b"kernel" * 500_000
SHA = hashlib.sha256(KERNEL).hexdigest()

BOOTENV = """
name: testos
title: An operating system
kind: live
family: test
arch:
  amd64:
    kernel: vmlinuz
    initrds: [initrd.img]
    artifacts:
      vmlinuz:
        url: {url}/linux
        sha256: {sha256}
      initrd.img: {{build: provisionctl images build discovery}}
"""


@pytest.fixture
def site() -> Iterator[Vendor]:
    with vendor() as served:
        served.put("/linux", KERNEL)
        yield served


@pytest.fixture
def local(tmp_path: Path, site: Vendor) -> Iterator[Client]:
    """The API over a state directory, as a command without a daemon opens it."""
    folder = tmp_path / "catalogue" / "bootenvs"
    folder.mkdir(parents=True)
    (folder / "testos.yaml").write_text(BOOTENV.format(url=site.url(""), sha256=SHA))
    (tmp_path / "loaders").mkdir()
    (tmp_path / "loaders" / "my.efi").write_bytes(b"loader")
    store = Store(state_dir=str(tmp_path / "state"))
    catalogue = Catalogue(paths=(str(tmp_path / "catalogue"),), loaders=(str(tmp_path / "loaders"),))
    with served_here(Config(store=store, catalogue=catalogue)) as client:
        yield client


@pytest.fixture
def ctl(local: Client, capsys: pytest.CaptureFixture[str]) -> Ctl:
    def call(*args: str) -> Ran:
        capsys.readouterr()
        status = run([*args, "--socket", local.server])
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return call


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(KERNEL)
    return path


def test_an_imported_file_is_listed(ctl: Ctl, kernel: Path) -> None:
    assert ctl("artifacts", "list").err == "nothing in store yet: `provisionctl artifacts fetch BOOTENV`\n"
    assert ctl("artifacts", "import", "discovery/vmlinuz", str(kernel)).status == 0
    (row,) = json.loads(ctl("artifacts", "list", "-o", "json").out)
    assert (row["name"], row["sha256"], row["origin"]) == ("discovery/amd64/vmlinuz", SHA, "file vmlinuz")


NOBODY_S = {
    "no such bootenv": ("discvery/vmlinuz", "no bootenv 'discvery', did you mean 'discovery'?"),
    "no such artefact": ("discovery/vmlinux", "discovery has no artefact 'vmlinux' for amd64, did you mean 'vmlinuz'?"),
    "nothing like one": ("discovery/bogus", "discovery has no artefact 'bogus' for amd64; known: initrd.img, vmlinuz"),
    "no such architecture": ("rescue/arm64/vmlinuz", "rescue has nothing for arm64 (its architectures: amd64)"),
}


@pytest.mark.parametrize(("artifact", "says"), NOBODY_S.values(), ids=NOBODY_S.keys())
def test_a_file_that_no_bootenv_has_is_refused(ctl: Ctl, kernel: Path, artifact: str, says: str) -> None:
    ran = ctl("artifacts", "import", artifact, str(kernel))
    assert ran.status == 3
    assert says in ran.err
    assert ctl("artifacts", "list").out == ""


def test_a_file_with_another_hash_is_refused(ctl: Ctl, kernel: Path) -> None:
    ran = ctl("artifacts", "import", "discovery/vmlinuz", str(kernel), "--sha256", "0" * 64)
    assert ran.status == 1
    assert "should be 0000" in ran.err
    assert ctl("artifacts", "list").out == ""


def test_an_empty_file_replaces_nothing(ctl: Ctl, kernel: Path) -> None:
    """It is what a download leaves that broke; a machine would be switched off for it."""
    assert ctl("artifacts", "import", "discovery/vmlinuz", str(kernel)).status == 0
    kernel.write_bytes(b"")
    ran = ctl("artifacts", "import", "discovery/vmlinuz", str(kernel))
    nothing = hashlib.sha256().hexdigest()
    assert ran.err == (
        "provisionctl: discovery/amd64/vmlinuz: what came is empty"
        f" (look where it comes from; an empty file is taken with its SHA-256, {nothing})\n"
    )
    assert ran.status == 1
    assert [row["sha256"] for row in json.loads(ctl("artifacts", "list", "-o", "json").out)] == [SHA]
    assert ctl("artifacts", "import", "discovery/vmlinuz", str(kernel), "--sha256", nothing).status == 0
    assert [row["sha256"] for row in json.loads(ctl("artifacts", "list", "-o", "json").out)] == [nothing]


OF_NO_LENGTH = {
    "an artefact": ("artifacts", "import", "discovery/vmlinuz"),
    "a bundle": ("artifacts", "bundle", "import"),
    "firmware": ("bmc", "push", "node17"),
}


@pytest.mark.parametrize("command", OF_NO_LENGTH.values(), ids=OF_NO_LENGTH.keys())
def test_what_has_no_length_is_refused_before_it_is_opened(ctl: Ctl, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Nobody writes into the pipe: to open it would take for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ran = ctl(*command, str(pipe))
    assert ran.status == 1
    assert ran.err == (
        f"provisionctl: {pipe}: a pipe or a device, and its length has to be known before it is sent"
        " (write the content to a file first, and name that)\n"
    )
    assert ctl("artifacts", "list").out == ""


def test_a_qcow2_image_becomes_the_disk_inside(ctl: Ctl, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    ran = ctl("artifacts", "import", "debian-12/disk.raw.zst", str(image), "--sha256", "0" * 64)
    assert ran.status == 1
    assert sha256 in ran.err
    assert "NAME.raw.zst" in ctl("artifacts", "import", "testos/disk.img", str(image)).err
    assert ctl("artifacts", "import", "debian-12/disk.raw.zst", str(image), "--sha256", sha256).status == 0
    (row,) = json.loads(ctl("artifacts", "list", "-o", "json").out)
    (stored,) = (tmp_path / "state" / "artifacts" / "blobs" / "sha256").iterdir()
    assert stored.name == row["sha256"] != sha256
    done = subprocess.run(["zstd", "-dcq"], input=stored.read_bytes(), capture_output=True, check=True)
    assert done.stdout == bytes(1 << 20)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".convert")] == []


WRONG = {
    "no name": ("artifacts", "import", "discovery", "vmlinuz"),
    "too many parts": ("artifacts", "import", "a/b/c/d", "vmlinuz"),
}


@pytest.mark.parametrize("args", WRONG.values(), ids=WRONG.keys())
def test_wrong_names_say_how_they_are_written(ctl: Ctl, args: tuple[str, ...]) -> None:
    ran = ctl(*args)
    assert ran.status == 2
    assert "BOOTENV/ARCH/NAME" in ran.err


@pytest.mark.parametrize("words", [("import", "discovery/vmlinuz"), ("bundle", "import")], ids=["import", "bundle"])
def test_a_file_that_is_not_there_is_named(ctl: Ctl, words: tuple[str, ...]) -> None:
    ran = ctl("artifacts", *words, "none")
    assert (ran.status, ran.err) == (1, "provisionctl: none: No such file or directory\n")


def test_a_name_that_could_be_a_path_is_refused(ctl: Ctl, kernel: Path) -> None:
    assert ctl("artifacts", "import", "discovery/..", str(kernel)).status != 0
    assert ctl("artifacts", "list").out == ""


def test_fetch_gets_what_has_a_url_and_names_the_rest(ctl: Ctl) -> None:
    ran = ctl("artifacts", "fetch", "testos")
    assert ran.status == 0
    assert "testos/amd64/vmlinuz  2.9 MiB  http" in ran.err
    assert "testos/amd64/initrd.img: make it with `provisionctl images build discovery`" in ran.err
    assert "nothing was missing" in ctl("artifacts", "fetch", "testos").err


def test_a_fetch_that_fails_says_why(ctl: Ctl, site: Vendor) -> None:
    site.put("/linux", b"something else")
    ran = ctl("artifacts", "fetch", "testos")
    assert ran.status == 1
    assert "it should be" in ran.err
    assert ctl("artifacts", "fetch", "absentos").status == 3
    assert ctl("artifacts", "fetch", "testos", "--arch", "riscv64").status == 3


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Client]:
    """Another site's state directory."""
    with served_here(Config(store=Store(state_dir=str(tmp_path / "elsewhere")))) as client:
        yield client


def test_a_state_directory_that_a_daemon_works_on_is_left_alone(tmp_path: Path) -> None:
    config = Config(store=Store(state_dir=str(tmp_path / "state")))
    with (
        alone(tmp_path / "state", "provisionerd", ""),
        pytest.raises(StoreError, match=rf"provisionerd .pid {os.getpid()}. works on .*.reach the daemon"),
        served_here(config),
    ):
        pass
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]
    with served_here(config) as client:
        assert client.get("/v1/loaders")


def complete(ctl: Ctl, kernel: Path) -> None:
    """Everything that the bootenv needs is in store."""
    ctl("artifacts", "fetch", "testos")
    kernel.write_bytes(b"initrd")
    assert ctl("artifacts", "import", "testos/initrd.img", str(kernel)).status == 0


def test_a_bundle_carries_a_bootenv_to_another_site(
    ctl: Ctl, local: Client, kernel: Path, tmp_path: Path, elsewhere: Client
) -> None:
    complete(ctl, kernel)
    bundle = tmp_path / "site.tar"
    assert ctl("artifacts", "bundle", "create", str(bundle), "testos").status == 0
    with tarfile.open(bundle) as archive:
        assert archive.getnames()[0] == "manifest.json"
        assert len(archive.getnames()) == 3
    assert run(["artifacts", "bundle", "import", str(bundle), "--socket", elsewhere.server]) == 0
    ours, theirs = (client.get("/v1/artifacts")["artifacts"] for client in (local, elsewhere))
    assert [(row["name"], row["sha256"], row["origin"]) for row in theirs] == [
        (row["name"], row["sha256"], row["origin"]) for row in ours
    ]
    assert elsewhere.post("/v1/artifacts/verify")["damaged"] == []


CATALOGUES = {
    "one with all of it": (BOOTENV, []),
    "one without the bootenv": (
        "", ["testos/amd64/initrd.img: in store, but nothing boots it: no bootenv 'testos'"]),
    "one that has it under another name": (
        BOOTENV.replace("initrd.img", "initrd.gz"),
        ["testos/amd64/initrd.img: in store, but nothing boots it: testos has no artefact 'initrd.img' for am"]),
    "one that has it for another architecture": (
        BOOTENV.replace("amd64", "arm64"), ["testos/amd64/initrd.img: in store, but nothing boots it: testos has "]),
}  # fmt: skip


@pytest.mark.parametrize(("catalogue", "says"), CATALOGUES.values(), ids=CATALOGUES.keys())
def test_what_a_bundle_has_that_no_bootenv_has_is_taken_and_said(
    ctl: Ctl, kernel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], catalogue: str, says: list[str]
) -> None:
    complete(ctl, kernel)
    ctl("artifacts", "bundle", "create", str(tmp_path / "site.tar"), "testos")
    folder = tmp_path / "there" / "bootenvs"
    folder.mkdir(parents=True)
    if catalogue:
        (folder / "testos.yaml").write_text(catalogue.format(url="http://192.0.2.1", sha256=SHA))
    store, paths = Store(state_dir=str(tmp_path / "elsewhere")), (str(folder.parent),)
    with served_here(Config(store=store, catalogue=Catalogue(paths=paths))) as client:
        capsys.readouterr()
        assert run(["artifacts", "bundle", "import", str(tmp_path / "site.tar"), "--socket", client.server]) == 0
        said = capsys.readouterr()
        assert len(client.get("/v1/artifacts")["artifacts"]) == 2
    assert "testos/amd64/vmlinuz" in said.out
    told = said.err.splitlines()
    assert [line[: len(wanted)] for line, wanted in zip(told, says, strict=True)] == says


def test_a_bundle_that_cannot_be_written_is_told_by_its_path(ctl: Ctl, kernel: Path) -> None:
    complete(ctl, kernel)
    ran = ctl("artifacts", "bundle", "create", "/nonexistent/site.tar", "testos")
    assert (ran.status, ran.err) == (
        1,
        "provisionctl: /nonexistent/site.tar: cannot be written: No such file or directory\n",
    )


def test_a_bundle_of_what_is_not_there_is_refused(ctl: Ctl, tmp_path: Path) -> None:
    ran = ctl("artifacts", "bundle", "create", str(tmp_path / "site.tar"), "testos")
    assert ran.status == 1
    assert "not in store: testos/amd64/vmlinuz, testos/amd64/initrd.img" in ran.err
    assert not (tmp_path / "site.tar").exists()


def test_a_damaged_bundle_changes_nothing(ctl: Ctl, kernel: Path, tmp_path: Path, elsewhere: Client) -> None:
    complete(ctl, kernel)
    bundle = tmp_path / "site.tar"
    ctl("artifacts", "bundle", "create", str(bundle), "testos")
    bundle.write_bytes(bundle.read_bytes().replace(b"initrd\0", b"evil..\0"))
    assert run(["artifacts", "bundle", "import", str(bundle), "--socket", elsewhere.server]) == 1
    assert elsewhere.get("/v1/artifacts")["artifacts"] == []


def test_remove(ctl: Ctl, kernel: Path) -> None:
    ctl("artifacts", "import", "discovery/vmlinuz", str(kernel))
    ctl("artifacts", "import", "discovery/arm64/vmlinuz", str(kernel))
    assert "discovery/arm64/vmlinuz" in ctl("artifacts", "remove", "discovery/arm64").out
    assert "discovery/amd64/vmlinuz" in ctl("artifacts", "remove", "discovery").out
    assert ctl("artifacts", "remove", "discovery").status == 3


def test_verify_names_what_is_damaged(ctl: Ctl, kernel: Path, tmp_path: Path) -> None:
    ctl("artifacts", "import", "discovery/vmlinuz", str(kernel))
    assert ctl("artifacts", "verify").err == "all artefacts are whole\n"
    assert ctl("artifacts", "verify", "-o", "json").out == "[]\n"
    blob = tmp_path / "state" / "artifacts" / "blobs" / "sha256" / SHA
    blob.chmod(0o640)
    blob.write_bytes(KERNEL[:-1] + b"L")
    ran = ctl("artifacts", "verify")
    assert ran.status == 1
    assert "discovery/amd64/vmlinuz" in ran.out


def test_loaders_are_listed_and_found_anew(ctl: Ctl, tmp_path: Path) -> None:
    assert "my.efi" in ctl("loaders", "list", "-o", "name").out
    (tmp_path / "loaders" / "another.efi").write_bytes(b"another")
    assert "another.efi" not in ctl("loaders", "list", "-o", "name").out
    assert "another.efi" in ctl("loaders", "install", "-o", "name").out

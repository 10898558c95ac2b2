"""What was built comes into the store of the daemon, for all that boot it; where none answers, it is said how."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.boot.files import FileTable
from provisioner.cli.built import bring
from provisioner.cli.client import Client
from provisioner.cli.local_api import store_of
from provisioner.cli.root import run
from provisioner.cli.session import Session
from provisioner.config import Config, Store
from provisioner.discovery.build import cache
from provisioner.web.api import Api
from provisioner.web.app import operator_app
from provisioner.web.server import Server
from provisioner.wiring import SiteArtifacts, artifact_api
from tests.shipped import catalogue
from tests.web.fakes import FakeConductor, site


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Our catalogue and a store behind the API, on a loop in another thread."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=30)

    catalog = catalogue()

    async def start() -> None:
        config = Config(store=Store(state_dir=str(tmp_path / "state")))
        store = await store_of(stack, config)
        api = artifact_api(config, store, FileTable(), catalog.bootenv, lambda: ())
        shown = replace(site(FakeConductor()), bootenvs=lambda: SiteArtifacts(store).statuses(catalog))
        server = Server(operator_app([*Api(shown).routes(), *api.routes()]), drain_s=0.05)
        stack.push_async_callback(server.close)
        await server.listen_unix(tmp_path / "api.sock")

    do(start())
    yield Client(str(tmp_path / "api.sock"))
    do(stack.aclose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def build(folder: Path, name: str, arch: str, *files: str) -> cache.Manifest:
    """Make what a build leaves."""
    with cache.workspace(folder / name) as scratch:
        for file in files:
            (scratch / file).write_text(f"{file} of {name} for {arch}")
        items = tuple(cache.measure(scratch / file) for file in files)
        return cache.publish(folder / name, cache.Manifest(name, arch, "0123456789abcdef", items, {}))


TAKEN = {
    "the discovery system is the rescue system, too": (
        ("discovery", "amd64", "initrd.img", "vmlinuz"),
        "discovery/amd64/initrd.img, discovery/amd64/vmlinuz, rescue/amd64/initrd.img, rescue/amd64/vmlinuz"),
    "that of another architecture is not": (
        ("discovery", "arm64", "initrd.img", "vmlinuz"), "discovery/arm64/initrd.img, discovery/arm64/vmlinuz"),
    "an image": (("debian-12", "amd64", "disk.raw.zst"), "debian-12/amd64/disk.raw.zst"),
    "the toolbox, of all that are installed from packages": (
        ("toolbox", "amd64", "toolbox.tar.zst"),
        ", ".join(f"{name}-packages/amd64/toolbox.tar.zst"
                  for name in ("debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"))),
}  # fmt: skip


@pytest.mark.parametrize(("made", "artefacts"), TAKEN.values(), ids=TAKEN.keys())
def test_what_was_built_is_in_the_store_of_the_daemon(
    client: Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    made: tuple[str, ...],
    artefacts: str,
) -> None:
    manifest = build(tmp_path, *made)
    bring(Session(socket=client.server), manifest)
    assert capsys.readouterr().err == f"in the store of {client.server}: {artefacts}\n"
    rows = client.get("/v1/artifacts")["artifacts"]
    assert [row["name"] for row in rows] == artefacts.split(", ")
    assert {row["sha256"] for row in rows} == {item.sha256 for item in manifest.artifacts}
    assert {row["origin"] for row in rows} == {f"images build {made[0]} 0123456789abcdef"}
    for path in (item.path for item in manifest.artifacts):
        path.unlink()
    bring(Session(socket=client.server), manifest)  # what is there is not sent again
    assert client.get("/v1/artifacts")["artifacts"] == rows


def test_what_a_refusal_names_as_the_remedy_is_one(client: Client, tmp_path: Path) -> None:
    def lacking() -> list[str]:
        (row,) = (row for row in client.get("/v1/bootenvs")["bootenvs"] if row["name"] == "discovery")
        found: list[str] = row["missing"]
        return found

    assert all("`provisionctl images build discovery`" in line for line in lacking())
    bring(Session(socket=client.server), build(tmp_path, "discovery", "amd64", "vmlinuz", "initrd.img"))
    assert lacking() == []


def test_what_no_bootenv_boots_is_not_imported(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring(Session(socket=client.server), build(tmp_path, "debian-13", "amd64", "disk.raw.zst"))
    assert capsys.readouterr().err == f"no bootenv of {client.server} boots it: nothing was imported\n"
    assert client.get("/v1/artifacts")["artifacts"] == []


def test_without_a_daemon_it_is_said_how_it_comes_into_the_store(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = build(tmp_path / "a folder", "discovery", "arm64", "vmlinuz", "initrd.img")
    bring(Session(socket=str(tmp_path / "nobody.sock")), manifest)
    said, *lines = capsys.readouterr().err.splitlines()
    assert said.startswith(f"not in store yet (no daemon at {tmp_path}/nobody.sock: ")
    place = tmp_path / "a folder/discovery/0123456789abcdef"
    assert lines == [
        f"  provisionctl artifacts import discovery/arm64/{name} '{place}/{name}'" for name in ("initrd.img", "vmlinuz")
    ]
    for line in lines:
        *words, _ = line.split(maxsplit=4)
        assert run([*words[1:], str(place / words[3].rpartition("/")[2]), "--socket", client.server]) == 0
    assert len(client.get("/v1/artifacts")["artifacts"]) == 2

"""Real apt behind the cache of package mirrors: machines of their own roots update and install from a small archive."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.boot.files import FileTable
from provisioner.catalog.mirror import FRESH_S
from provisioner.store.db import Database
from provisioner.web.app import machine_app
from provisioner.web.files import Files
from provisioner.web.mirror import Mirror
from provisioner.web.server import Server
from tests.catalog.mirrors import Now, Upstream, caching

pytestmark = [pytest.mark.peer, pytest.mark.slow]

INDEX = "dists/x/main/binary-amd64/Packages.gz"
HELLO, LIBRARY = "pool/hello_1_all.deb", "pool/libhello_1_all.deb"
CONFIG = """
Dir "{root}/"; Dir::State::status "{root}/var/lib/dpkg/status"; Dir::Bin::methods "/usr/lib/apt/methods";
Dir::Bin::dpkg "/usr/bin/dpkg"; APT::Architecture "amd64"; APT::Architectures {{ "amd64"; }}; APT::Sandbox::User "root";
DPkg::Options {{ "--root={root}"; "--log={root}/dpkg.log"; }}; Acquire::Retries "0"; Acquire::Languages "none";
"""


@dataclass
class Machine:
    """A root of its own, in which apt knows our mirror and nothing else."""

    root: Path
    said: str = ""

    def prepare(self, mirror: str) -> None:
        for folder in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/lib/dpkg/updates",
                       "var/lib/dpkg/info", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
                       "var/log/apt"):  # fmt: skip
            (self.root / folder).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "etc/apt/sources.list").write_text(f"deb [signed-by={self.root.parent}/key.asc] {mirror} x main\n")
        (self.root / "apt.conf").write_text(CONFIG.format(root=self.root))

    async def apt(self, *arguments: str) -> int:
        """Run apt-get; what it said is kept."""
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {"APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        process = await asyncio.create_subprocess_exec(
            "apt-get", "-y", *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        out, _ = await process.communicate()
        self.said += out.decode()
        return process.returncode or 0

    async def installs(self) -> bool:
        """Update, install, and look at what the package brought."""
        done = await self.apt("update") == 0 and await self.apt("install", "hello") == 0
        return done and (self.root / "usr/share/hello/text").read_text() == "hello\n"


@dataclass
class Site:
    upstream: Upstream
    mirror: str
    folder: Path
    now: Now

    def machine(self, name: str) -> Machine:
        machine = Machine(self.folder / name)
        machine.prepare(self.mirror)
        return machine


def package(folder: Path, name: str, depends: str = "") -> bytes:
    """Build a package with one file."""
    (folder / name / "DEBIAN").mkdir(parents=True)
    (folder / name / "usr/share" / name).mkdir(parents=True)
    (folder / name / "usr/share" / name / "text").write_text("hello\n")
    fields = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n{depends}"
    (folder / name / "DEBIAN/control").write_text(f"{fields}Description: for a test\n")
    target = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder / name, target], check=True, capture_output=True)
    return target.read_bytes()


def archive(folder: Path) -> dict[str, bytes]:
    """Make an archive of two packages, one of which needs the other."""
    files = {LIBRARY: package(folder, "libhello"), HELLO: package(folder, "hello", "Depends: libhello\n")}
    stanzas = []
    for path, content in files.items():
        control = (folder / Path(path).name.partition("_")[0] / "DEBIAN/control").read_text()
        place = f"Filename: {path}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        stanzas.append(control + place)
    plain = "\n".join(stanzas).encode()
    files[INDEX] = gzip.compress(plain)
    listed = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/{name}\n"
        for name, content in (("Packages", plain), ("Packages.gz", files[INDEX]))
    )
    head = "Suite: x\nCodename: x\nComponents: main\nArchitectures: amd64\nDate: Thu, 01 Oct 2026 00:00:00 UTC\n"
    files["dists/x/InRelease"] = signed(folder, f"{head}SHA256:\n{listed}".encode())
    return files


def signed(folder: Path, text: bytes) -> bytes:
    """Sign as archives do; the key is left in `folder`/key.asc."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback")
    subprocess.run([*gpg, "--quick-gen-key", "archive@example.org", "ed25519"], check=True, capture_output=True)
    key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
    (folder / "key.asc").write_bytes(key)
    done = subprocess.run([*gpg, "--clearsign"], input=text, check=True, capture_output=True).stdout
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)
    return done


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    db, upstream, now = Database(tmp_path / "state.db"), Upstream(), Now()
    upstream.files = await asyncio.to_thread(archive, tmp_path)
    await db.open()
    files = Files(FileTable(), observe=lambda line: None)
    async with upstream.serving(), caching(db, tmp_path / "mirror", upstream, now) as cache:
        server = Server(machine_app(Mirror(cache, files).routes()), drain_s=0)
        port = await server.listen_tcp("127.0.0.1", 0)
        yield Site(upstream, f"http://127.0.0.1:{port}/mirror/debian", tmp_path, now)
        await server.close()
    await asyncio.to_thread(files.close)
    await db.close()


async def test_packages_are_fetched_once_and_outlive_their_mirror(site: Site) -> None:
    first, second, third = (site.machine(name) for name in ("first", "second", "third"))
    assert await first.installs(), first.said
    assert await second.installs(), second.said
    assert (site.upstream.times(HELLO), site.upstream.times(LIBRARY)) == (1, 1)
    site.upstream.away = True
    site.now.now += 10 * FRESH_S
    assert await third.installs(), third.said


async def test_a_package_that_is_not_what_the_index_says_is_not_installed(site: Site) -> None:
    site.upstream.files[HELLO] = site.upstream.files[LIBRARY]
    machine = site.machine("first")
    assert not await machine.installs()
    assert "502" in machine.said, machine.said

"""Installers through the real chain, from power-on to the answer file. Debian's own boots, takes its preseed and goes
to the mirror that is named in it. Of others the content is not here: a stand-in says what its kernel was told, and
fetches the answer file as the family's installer does.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.cli.client import Client
from provisioner.discovery.build import apt, cpio
from provisioner.lab import process
from provisioner.lab.images import mirror
from provisioner.lab.spec import GATEWAY, state_of
from tests.lab.driven import CALL_S, KEPT, Driven, driven
from tests.lab.racks import Screen, web
from tests.share import in_gate

NAME = "provlab-handoff"
NODE = "node17"
LIMIT_S = 2000.0
pytestmark = [pytest.mark.lab, pytest.mark.timeout(2 * LIMIT_S + 10 * CALL_S, func_only=True)]
DRIVERS = (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover", "net_failover",
    "virtio_net",
)  # fmt: skip
"""What the port of a lab machine needs, in the order in which it is loaded; some kernels have some of it built in."""
STANDIN = Path(__file__).with_name("standin.sh")
DEBIAN = "debian-12-installer"
DEBIAN_PACKAGE = "debian-installer-12-netboot-amd64"
DEBIAN_FILES = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
TALOS_SECRETS = ("machine_token", "machine_ca", "cluster_id", "cluster_secret", "cluster_token", "cluster_ca")


@dataclass(frozen=True, slots=True)
class Family:
    """One family of installers: its files, what its kernel is told, which files it fetches, and what is in them."""

    kernel: str
    initrd: str
    argument: str
    fetches: tuple[str, ...]
    lines: tuple[str, ...]
    besides: str = ""
    """One more artefact, of which the contents do not matter."""


FAMILIES = {
    "rocky-9": Family(
        "vmlinuz", "initrd.img", r"inst\.ks=http://10\.77\.0\.1:8080/answers/\S+", ("kickstart", "kickstart"),
        (r"network .*--hostname=node17", r"late\.sh"),
    ),
    "ubuntu-22.04": Family(
        "vmlinuz", "initrd", r"autoinstall cloud-config-url=/dev/null ds=nocloud-net;s=http://10\.77\.0\.1:8080/\S+/ ",
        ("meta-data", "user-data", "vendor-data"), (r"instance-id: ", r"#cloud-config", r"autoinstall:"),
        "live-server.iso",
    ),
    "fedora-coreos": Family(
        "kernel", "initramfs.img", r"coreos\.inst\.ignition_url=http://10\.77\.0\.1:8080/answers/\S+", ("config.ign",),
        (r'"ignition"',), "rootfs.img",
    ),
    "opensuse-leap-15.6": Family(
        "linux", "initrd", r"autoyast=http://10\.77\.0\.1:8080/answers/\S+", ("autoyast.xml",), (r"<hostname>node17<",)
    ),
    "opensuse-leap-16.0": Family(
        "linux", "initrd", r"inst\.auto=http://10\.77\.0\.1:8080/answers/\S+", ("agama.json",), (r'"hostname"',),
        "installer.iso",
    ),
    "flatcar": Family(
        "flatcar_production_pxe.vmlinuz", "flatcar_production_pxe_image.cpio.gz",
        r"ignition\.config\.url=http://10\.77\.0\.1:8080/answers/\S+", ("live.ign",), (r'"ignition"',),
    ),
    "talos": Family(
        "vmlinuz", "initramfs.xz", r"talos\.config=http://10\.77\.0\.1:8080/answers/\S+", ("config.yaml",),
        (r"hostname: .*node17",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def racked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """A rack with one machine that is known, and its daemon."""
    for name in TALOS_SECRETS:
        os.environ[f"PROVISIONER_SECRET_TALOS_{name.upper()}"] = "c2VjcmV0"
    shape = ("--kinds", "bios", "--machines", "1", "--memory", "4GiB", "--disk-size", "12GiB")
    with driven(NAME, *shape) as lab:
        lab.discovery()
        lab.control("discover", NODE, "--wait", limit_s=LIMIT_S)
        yield lab


@pytest.fixture(scope="module")
def made(racked: Driven, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What stands in for the files of installers: kernel, initrd, and one of which the contents do not matter."""
    folder = tmp_path_factory.mktemp("standin")
    built = racked.discovery()
    tree = standin(built["initrd.img"], folder / "discovery")
    (folder / "initrd.img").write_bytes(b"".join(cpio.archive(tree, ("etc", "proc", "run", "sys"))))
    (folder / "filler").write_bytes(b"not looked at")
    return {"kernel": built["vmlinuz"], "initrd": folder / "initrd.img", "besides": folder / "filler"}


def standin(discovery: Path, folder: Path) -> cpio.Tree:
    """What a stand-in runs, of the discovery system's parts: shell, drivers and DHCP. It starts in half the time."""
    folder.mkdir()
    unpack = 'zstd --quiet --decompress --stdout "$0" | cpio --extract --make-directories --quiet'
    subprocess.run(["sh", "-c", unpack, discovery], cwd=folder, check=True)
    programs, agent = folder / "usr/bin", folder / "usr/lib/provisioner"
    applets = [path for path in programs.iterdir() if path.is_symlink() and path.readlink().name == "busybox"]
    drivers = {path.stem: path for path in folder.rglob("*.ko")}
    loaded = [drivers[name] for name in DRIVERS if name in drivers]
    files = [programs / "busybox", *(agent / name for name in ("lib.sh", "network.sh", "udhcpc"))]
    return {
        "bin": cpio.Link("usr/bin"),
        "init": cpio.File(STANDIN.read_bytes(), 0o755),
        "dev/console": cpio.Device(5, 1),
        **{str(path.relative_to(folder)): cpio.File(path.read_bytes(), 0o755) for path in files},
        **{str(path.relative_to(folder)): cpio.Link("busybox") for path in applets},
        **{f"modules/{number}-{path.name}": cpio.File(path.read_bytes()) for number, path in enumerate(loaded)},
    }


def give(lab: Driven, bootenv: str, files: dict[str, Path]) -> None:
    for name, path in files.items():
        lab.control("artifacts", "import", f"{bootenv}/{name}", str(path))


def debian_installer() -> dict[str, Path]:
    """Kernel and ramdisk of Debian's installer, from the package that has them; kept for the next time."""
    root = KEPT / "provisioner" / DEBIAN_PACKAGE
    if not root.exists():
        archive = mirror.debian(KEPT / "provisioner" / "apt-debian")
        apt.unpack(archive.fetch([DEBIAN_PACKAGE], root / "package"), root)
    return {name: root / DEBIAN_FILES / name for name in ("linux", "initrd.gz")}


@contextlib.contextmanager
def installing(lab: Driven, bootenv: str, params: dict[str, object]) -> Iterator[Screen]:
    """The machine installs something while the context lasts; what it prints from then on."""
    screen = Screen(lab.spec, NODE)
    screen.skip()
    given = {"bootenv": bootenv, "params": params}
    Client(str(state_of(NAME) / "api.sock")).post(f"/v1/machines/{NODE}/boot", given, slow=True)
    try:
        yield screen
    finally:
        lab.control("cancel", NODE)


GATE = ("rocky-9", "ubuntu-22.04")
"""The families for which a boot in the gate stands: answers that fetch more of their own, and a seed of several."""


@pytest.mark.parametrize("bootenv", in_gate(FAMILIES, *GATE))
def test_an_installer_is_told_where_its_answers_are_and_gets_them(
    racked: Driven, made: dict[str, Path], bootenv: str
) -> None:
    family = FAMILIES[bootenv]
    files = {family.kernel: made["kernel"], family.initrd: made["initrd"], family.besides: made["besides"]}
    give(racked, bootenv, {name: path for name, path in files.items() if name})
    params: dict[str, object] = {}
    if bootenv == "talos":
        params = {f"talos.{name}": f"env:TALOS_{name.upper()}" for name in TALOS_SECRETS}
        params["talos.endpoint"] = "https://cluster.example.org:6443"
    with installing(racked, bootenv, params) as screen:
        screen.expect(r"stand-in: arguments: ", LIMIT_S)
        said = screen.expect(r"(?s).*stand-in: ends", LIMIT_S)
    assert re.search(family.argument, said.splitlines()[0] + " "), said
    assert re.findall(r"fetched (\S+): 200", said) == list(family.fetches), said
    for line in family.lines:
        assert re.search(rf"\| .*{line}", said), said
    assert any(line["event"] == "http.answer" for line in racked.trace(NODE)), racked.trace(NODE)[-40:]


@pytest.mark.long
def test_debians_installer_obeys_its_preseed_and_goes_to_the_mirror_in_it(racked: Driven, tmp_path: Path) -> None:
    give(racked, DEBIAN, debian_installer())
    asked = r'"GET /debian/dists/bookworm/Release'
    params: dict[str, object] = {"mirror.debian": f"http://{GATEWAY}:8000/debian"}
    with web(racked.spec, tmp_path, tmp_path / "web.log") as log, installing(racked, DEBIAN, params) as screen:
        met = process.wait_until(lambda: re.search(asked, log.read_text()) is not None, LIMIT_S, tick_s=1.0)
        assert met, log.read_text() + screen.text()[-3000:]
        run = racked.machine(NODE)["run"]
        assert run["phase"] == "install", "it has its answers, and is at work"

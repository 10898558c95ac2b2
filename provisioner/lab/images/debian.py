"""Build a disk image of Debian from its packages with mmdebstrap, for machines that boot by BIOS or UEFI.

Mirrors, proxies and keys are those of the host's own apt. Where the host is not Debian, mmdebstrap uses Debian's own.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from provisioner.discovery.build import cache
from provisioner.discovery.build.tools import Say, require, run
from provisioner.errors import ArtifactError
from provisioner.lab.images import gpt
from provisioner.lab.images.bootstrap import Into, bootstrap, debian_sources, index_targets

OVERLAY = Path(__file__).resolve().parent / "overlay"
"""Files of ours that go into every image: network, host keys."""

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
ARTIFACT = "disk.raw.zst"
PACKAGES = (
    "ca-certificates", "curl", "dbus", "e2fsprogs", "grub-efi-amd64-bin", "grub-pc-bin", "grub2-common",
    "initramfs-tools", "iproute2", "iputils-ping", "kmod", "netbase", "openssh-server", "procps", "sudo",
    "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "udev", "usr-is-merged", "zstd",
)  # fmt: skip
KERNELS = {"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"}
UNITS = ("provisioner-ssh-keys", "systemd-networkd", "systemd-resolved")
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_STORAGE = ["virtio_blk", "virtio_scsi", "virtio_pci", "sd_mod", "xen_blkfront", "hv_storvsc", "vmw_pvscsi", "mptspi"]
"""What a virtual machine's disk can hang on; NVMe and ext4 are built into the kernel."""
_TOOLS = {
    "mmdebstrap": "mmdebstrap", "sfdisk": "fdisk", "mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
    "grub-mkimage": "grub-common", "zstd": "zstd", "apt-get": "apt",
}  # fmt: skip
_NEEDED = {
    "/usr/lib/grub/i386-pc/boot.img": "grub-pc-bin",
    "/usr/lib/grub/x86_64-efi/moddep.lst": "grub-efi-amd64-bin",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator can choose."""

    name: str = "debian-12"
    kernel: str = "cloud"
    packages: tuple[str, ...] = ()


def build(options: Options, output: Path, debs: Path, say: Say, *, fresh: bool = False) -> cache.Manifest:
    """Build the image into `output`, or say that what is there is current. `debs` keeps packages."""
    require(_TOOLS)
    missing = sorted(package for file, package in _NEEDED.items() if not Path(file).exists())
    if missing:
        raise ArtifactError(f"missing files of GRUB: {' '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")
    sources = debian_sources(SUITES[options.name], index_targets())
    key = cache.inputs_key(_inputs(options, sources))
    if not fresh and (manifest := cache.current(output, key)) is not None:
        say(f"image {options.name} {key} is current, built on {manifest.details['built']}")
        return manifest
    if os.geteuid() != 0:
        raise ArtifactError("building an image needs root: files of many owners are written", hint="use sudo")
    with cache.workspace(output) as scratch:
        root = scratch / "root"
        _bootstrap(options, sources, root, debs, say)
        _customise(root, options.name, ids := gpt.Ids.of(key))
        image = scratch / "disk.raw"
        gpt.make_image(root, image, ids, say)
        return cache.publish(output, _pack(options, key, root, image, say))


def _inputs(options: Options, sources: tuple[str, ...]) -> dict[str, object]:
    ours = cache.sources_hash(Path(__file__).resolve().parent)
    return {"sources": ours, "archives": sources, "kernel": options.kernel, "packages": options.packages}


def _bootstrap(options: Options, sources: tuple[str, ...], root: Path, debs: Path, say: Say) -> None:
    packages = (*PACKAGES, KERNELS[options.kernel], *options.packages)
    hooks = (f"--setup-hook={MERGE}", f"--setup-hook={_INITRAMFS.replace('MODULES', _modules(options))}")
    bootstrap(SUITES[options.name], packages, sources, Into("directory", root, _EXCLUDED, hooks), debs, say)


_UNWANTED = "etc/apt/preferences.d/no-usrmerge"
MERGE = (
    'for name in bin sbin lib lib64; do mkdir -p "$1/usr/$name" && ln -s "usr/$name" "$1/$name"; done && '
    'mkdir -p "$1/etc/apt/preferences.d" && '
    f'printf "Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n" > "$1/{_UNWANTED}"'
)
"""A new system is merged from its beginning: usrmerge, which does it afterwards, brings Perl, a tenth of the image."""
_INITRAMFS = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d" && '
    'printf "MODULES\\nCOMPRESS=zstd\\n" > "$1/etc/initramfs-tools/conf.d/provisioner" && '
    f'printf "%s\\n" {" ".join(_STORAGE)} > "$1/usr/share/initramfs-tools/modules.d/provisioner"'
)
"""Laid down before any package, so that the initramfs is made once and small."""


def _modules(options: Options) -> str:
    return "MODULES=list" if options.kernel == "cloud" else "MODULES=most"


def _customise(root: Path, name: str, ids: gpt.Ids) -> None:
    """Lay our files over the system and take out what must differ from machine to machine."""
    shutil.copytree(OVERLAY, root, dirs_exist_ok=True)
    run(["chroot", root, "systemctl", "enable", "--quiet", *(f"{unit}.service" for unit in UNITS)])
    for made in (*root.glob("etc/ssh/ssh_host_*"), *root.glob("var/lib/apt/lists/*_*"), *root.glob("var/log/*.log")):
        made.unlink()
    (root / _UNWANTED).unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text(f"{name}\n")
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (root / "etc/fstab").write_text(f"PARTUUID={ids.root_partition} / ext4 errors=remount-ro 0 1\n")
    config = root / "boot/grub/grub.cfg"
    config.parent.mkdir(exist_ok=True)
    config.write_text(grub_config(_kernel(root), ids))


def grub_config(version: str, ids: gpt.Ids) -> str:
    """The first boot's configuration; update-grub writes it anew with every later kernel."""
    return f"""serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
menuentry "Debian" {{
    linux /boot/vmlinuz-{version} root=PARTUUID={ids.root_partition} ro console=tty0 console=ttyS0,115200n8
    initrd /boot/initrd.img-{version}
}}
"""


def _kernel(root: Path) -> str:
    versions = [file.name.removeprefix("vmlinuz-") for file in (root / "boot").glob("vmlinuz-*")]
    if len(versions) != 1:
        raise ArtifactError(f"expected one kernel in the image, found {versions or 'none'}")
    return versions[0]


def _pack(options: Options, key: str, root: Path, image: Path, say: Say) -> cache.Manifest:
    packed = image.with_name(ARTIFACT)
    raw_bytes = image.stat().st_size
    say(f"compressing {raw_bytes / 1e6:.0f} MB")
    run(["zstd", "--quiet", "-9", "-T2", image, "-o", packed])
    item = cache.measure(packed)
    say(f"{item.name}: {item.size_bytes / 1e6:.0f} MB")
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat=${Package}=${Version}\\n"]
    installed = dict(line.split("=", 1) for line in run(query).decode().splitlines())
    built = run(["date", "--utc", "+%Y-%m-%d"]).decode().strip()
    details = {"built": built, "kernel": _kernel(root), "raw_size": raw_bytes, "packages": installed}
    return cache.Manifest(options.name, "amd64", key, (item,), details)

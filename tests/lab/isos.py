"""What UEFI HTTP boot starts by itself: an ISO with GRUB, a kernel and a ramdisk, and an image that is GRUB alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

MODULES = Path("/usr/lib/grub/x86_64-efi")
HELLO = "started by the firmware alone"


def iso(target: Path, kernel: Path, initrd: Path, args: str) -> Path:
    """Make an ISO that starts this kernel on UEFI."""
    tree = target.with_suffix(".tree")
    (tree / "boot" / "grub").mkdir(parents=True)
    shutil.copyfile(kernel, tree / "vmlinuz")
    shutil.copyfile(initrd, tree / "initrd.img")
    menu = f"echo '{HELLO}: ISO'\nlinux /vmlinuz {args}\ninitrd /initrd.img\nboot\n"
    (tree / "boot" / "grub" / "grub.cfg").write_text(menu)
    _run("grub-mkrescue", "-d", str(MODULES), "-o", str(target), str(tree))
    return target


def image(target: Path) -> Path:
    """Make an EFI program that says that it runs, and waits."""
    menu = target.with_suffix(".cfg")
    menu.write_text(f"echo '{HELLO}: EFI'\nsleep 600\n")
    modules = ("--install-modules=normal echo sleep", "--locales=", "--fonts=", "--themes=")
    _run("grub-mkstandalone", "-O", "x86_64-efi", "-o", str(target), *modules, f"boot/grub/grub.cfg={menu}")
    return target


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr

"""A FAT image that others read, and what does not fit on one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provisioner.boot.fat import image

FILES = {"EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 9000, "EFI/BOOT/GRUBX64.EFI": b"grub", "EFI/EMPTY.TXT": b""}


@pytest.mark.peer
def test_mtools_and_fsck_read_it(tmp_path: Path) -> None:
    path = tmp_path / "efi.img"
    path.write_bytes(image(FILES))
    subprocess.run(["fsck.fat", "-n", "-v", str(path)], check=True, capture_output=True)
    for name, content in FILES.items():
        done = subprocess.run(["mtype", "-i", str(path), f"::{name}"], check=True, capture_output=True)
        assert done.stdout == content, name


REFUSED = {
    "a long name": ({"EFI/BOOT/BOOTX64.EFI.SIGNED": b""}, "8 and 3 characters"),
    "more than fits": ({"A": bytes(33 << 20)}, "more than the"),
    "a full directory": ({f"EFI/A{number}": b"" for number in range(15)}, "more entries"),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        image(files)

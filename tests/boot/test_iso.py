"""An image that others read, with the boot entries that they see in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provisioner.boot.iso import Loaders, lay_out
from provisioner.catalog import iso9660

SMALL = {"ISOLINUX/ISOLINUX.BIN": bytes(range(256)) * 10 + b"odd", "BOOT/EFI.IMG": bytes(5000), ".DISK/INFO": b"x\n"}
LARGE = {"BOOT/VMLINUZ": b"kernel" * 5000, "BOOT/INITRD0.IMG": b"initrd" * 999}
BOTH = Loaders("ISOLINUX/ISOLINUX.BIN", "BOOT/EFI.IMG")


def write(loaders: Loaders = BOTH) -> bytes:
    image = lay_out(SMALL, {name: len(content) for name, content in LARGE.items()}, loaders, "a title")
    out = bytearray(image.head.ljust(image.size_bytes, b"\0"))
    for name, content in LARGE.items():
        out[image.places[name] : image.places[name] + len(content)] = content
    assert len(out) == image.size_bytes
    return bytes(out)


def test_what_is_written_is_read_by_our_own_reader() -> None:
    made = write()
    for name, content in (SMALL | LARGE).items():
        found = iso9660.find(lambda at, length: made[at : at + length], name, len(made))
        read = b"".join(made[part.offset : part.offset + part.length] for part in found)
        if name.endswith(".BIN"):  # it is told where it lies
            assert (read[:8], read[64:]) == (content[:8], content[64:])
        else:
            assert read == content, name


@pytest.mark.peer
def test_xorriso_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "cd.iso"
    path.write_bytes(write())
    done = subprocess.run(
        [
            "xorriso",
            "-indev",
            f"stdio:{path}",
            "-report_el_torito",
            "plain",
            "-osirrox",
            "on",
            "-extract",
            "/",
            tmp_path,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    said = [line.split() for line in done.stdout.splitlines()]
    assert ["El", "Torito", "img", "path", ":", "1", "/ISOLINUX/ISOLINUX.BIN"] in said
    assert ["El", "Torito", "img", "path", ":", "2", "/BOOT/EFI.IMG"] in said
    assert "boot-info-table" in done.stdout, "isolinux finds itself by it"
    for name, content in LARGE.items():
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(("loaders", "platforms"), [(Loaders(efi=BOTH.efi), ["UEFI"]), (Loaders(BOTH.bios), ["BIOS"])])
@pytest.mark.peer
def test_one_firmware_alone(tmp_path: Path, loaders: Loaders, platforms: list[str]) -> None:
    path = tmp_path / "cd.iso"
    path.write_bytes(write(loaders))
    command = ["xorriso", "-indev", f"stdio:{path}", "-report_el_torito", "plain"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[6] for line in said if line.startswith("El Torito boot img")] == platforms


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="no firmware starts"):
        write(Loaders())
    with pytest.raises(ValueError, match="no isolinux"):
        write(Loaders(".DISK/INFO"))
    with pytest.raises(ValueError, match="larger than 4 GiB"):
        lay_out(SMALL, {"BIG": 1 << 32}, BOTH, "x")
    with pytest.raises(ValueError, match="more than one sector"):
        lay_out(SMALL | {f"A/B{number}": b"" for number in range(60)}, {}, BOTH, "x")

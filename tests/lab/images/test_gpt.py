"""A disk image without a loop device: read back with the programs that others wrote."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab.images import gpt

IDS = gpt.Ids.of("key")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image."""
    return make(tmp_path_factory.mktemp("gpt"))


def make(place: Path) -> Path:
    root = place / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hostname").write_text("image\n")
    gpt.make_image(root, place / "disk.raw", IDS, lambda line: None)
    return place / "disk.raw"


def table(image: Path) -> dict[str, Any]:
    out = subprocess.run(["sfdisk", "--json", image], capture_output=True, check=True).stdout
    found: dict[str, Any] = json.loads(out)["partitiontable"]
    return found


def test_partitions_for_bios_and_uefi_and_the_root_last(image: Path) -> None:
    found = table(image)
    assert found["label"] == "gpt"
    assert [part["name"] for part in found["partitions"]] == [
        "provisioner-bios",
        "provisioner-esp",
        "provisioner-root",
    ]
    assert found["partitions"][gpt.ROOT_PARTITION - 1]["uuid"].lower() == str(IDS.root_partition)
    assert subprocess.run(["sfdisk", "--verify", image], check=True, capture_output=True).returncode == 0


def test_the_root_is_a_clean_file_system_with_the_files(image: Path) -> None:
    part = table(image)["partitions"][-1]
    root = image.with_suffix(".ext4")
    data = image.read_bytes()
    root.write_bytes(data[part["start"] * gpt.SECTOR : (part["start"] + part["size"]) * gpt.SECTOR])
    subprocess.run(["e2fsck", "-f", "-n", root], check=True, capture_output=True)
    label = subprocess.run(["e2label", root], capture_output=True, check=True).stdout
    assert label == b"provisioner-root\n"
    done = subprocess.run(["debugfs", "-R", "cat /etc/hostname", root], capture_output=True, check=True)
    assert done.stdout == b"image\n"


def test_the_efi_partition_has_the_loader_where_firmware_looks(image: Path) -> None:
    start = table(image)["partitions"][1]["start"] * gpt.SECTOR
    subprocess.run(["mdir", "-i", f"{image}@@{start}", "::EFI/BOOT/BOOTX64.EFI"], check=True, capture_output=True)


def test_boot_code_leads_to_the_core_image(image: Path) -> None:
    """Sector 0 points at the BIOS boot partition, whose first sector says where the rest is."""
    data = image.read_bytes()
    start = table(image)["partitions"][0]["start"]
    assert data[510:512] == b"\x55\xaa"
    assert struct.unpack_from("<Q", data, 0x5C)[0] == start
    at, sectors, segment = struct.unpack_from("<QHH", data, start * gpt.SECTOR + gpt.SECTOR - 12)
    assert (at, segment) == (start + 1, 0x820)
    assert 0 < sectors < gpt.BIOS_MIB * gpt.MIB // gpt.SECTOR


def test_the_same_input_gives_the_same_identifiers() -> None:
    assert gpt.Ids.of("key") == IDS
    assert gpt.Ids.of("other") != IDS
    assert len({IDS.disk, IDS.root_partition, IDS.root_filesystem}) == 3

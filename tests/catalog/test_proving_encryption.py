"""What is to be encrypted is, in the words of each installer, and on the disk that was chosen."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from provisioner.catalog import proving
from provisioner.catalog.fleet import FLEET, SITE, Sample, machine
from provisioner.catalog.params import Layer
from provisioner.errors import RenderError
from tests.catalog.test_words import ENCRYPTED, NAMES, rendered
from tests.shipped import catalogue

ENCRYPTS = r"auto/method string crypto$|cryptsetup luksFormat|--encrypted|<crypt_method|\{\"luks2\"|type: dm_crypt"
"""What makes an encrypted volume, in the words of each installer."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_to_be_encrypted_is(name: str) -> None:
    supports = catalogue().bootenv(name).supports
    if "passphrase" in supports.encryption:
        for layout in supports.layouts:
            texts = rendered(name, ENCRYPTED | {"disk.layout": layout})
            if isinstance(texts, RenderError):
                assert "disk.encryption" in f"{texts} {texts.faults}" or "disk.layout" in f"{texts}", layout
            else:
                assert re.search(ENCRYPTS, "\n".join(texts), re.MULTILINE), layout


FOURTH = {
    "by its own name": ("/dev/disk/by-id/nvme-eui.0025388b01", "/dev/disk/by-id/nvme-eui.0025388b01-part4"),
    "a disk without a name that lasts": ("", "/dev/nvme0n1p4"),
}


@pytest.mark.parametrize(("path", "root"), FOURTH.values(), ids=FOURTH.keys())
def test_fedora_coreos_encrypts_the_disk_that_was_chosen(path: str, root: str) -> None:
    node = machine("uefi-tpm")
    assert node.facts is not None
    facts = replace(node.facts, disks=tuple(replace(disk, path=path) for disk in node.facts.disks))
    layer = Layer("machine", "machine node17", SITE | FLEET["uefi-tpm"].params)
    sample = Sample("uefi-tpm", replace(node, facts=facts), (layer,))
    made = proving.files(catalogue(), catalogue().bootenv("fedora-coreos"), sample)
    target = next(json.loads(file.text) for file in made if file.name == "target.ign")
    assert [volume["device"] for volume in target["storage"]["luks"]] == [root]

"""Disks that the TPM opens: what late scripts and first starts do, with the programs that do it and a software TPM.

The scripts see a file with LUKS in it as the disk, and an /etc of their own; what rebuilds initramfs is not asked.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from provisioner.catalog.samplesecrets import SECRETS
from tests.catalog.golden import files

pytestmark = [pytest.mark.slow, pytest.mark.netns, pytest.mark.peer, pytest.mark.timeout(600)]

TPM = "swtpm:host=127.0.0.1,port=2321"
TIMES = ("installed", "restarted", "sealed", "started otherwise")
NEXT_BOOT = "tpm2_pcrextend 7:sha256=" + "11" * 32
WORLD = f"""
set -eu
cd "$1"
ip link set lo up
mkdir layers tpm bin
mount -t tmpfs tmpfs layers
mkdir layers/upper layers/work
mount -t overlay -o lowerdir=/etc,upperdir=layers/upper,workdir=layers/work overlay /etc
mount -t tmpfs tmpfs /root
printf '#!/bin/sh\\n' | tee bin/apt-get bin/update-initramfs bin/dracut bin/modprobe >bin/partx
chmod 755 bin/*
export PATH="$PWD/bin:$PATH" TPM2TOOLS_TCTI={TPM}
swtpm socket --tpm2 --tpmstate dir="$PWD/tpm" --server type=tcp,port=2321,disconnect --ctrl type=tcp,port=2322 \\
    --flags not-need-init,startup-clear --daemon --pid file="$PWD/swtpm.pid"
trap 'kill "$(cat swtpm.pid)"' EXIT
truncate -s 32M disk
cryptsetup luksFormat -q --type luks2 --pbkdf-force-iterations 4 --pbkdf-memory 32 --key-file key disk
printf '# name device key options\\ncrypt-root %s none luks\\n' "$PWD/disk" >/etc/crypttab
sh late
test -z "$(ls /root)"
told() {{
    keys=$(cryptsetup luksDump disk | grep -Ec '^  [0-9]+: luks2')
    [ "$keys" = 2 ] && echo "@@ $1: two keys, $(sh asked)"
}}
told installed
{NEXT_BOOT}
told restarted
/etc/provisioner/first-boot.d/0-tpm
told sealed
{NEXT_BOOT}
told "started otherwise"
cryptsetup open --test-passphrase --key-file key disk && echo "@@ passphrase opens"
echo "@@ left: $(ls /etc/provisioner | tr '\\n' ' ')"
"""
WAYS = {
    "clevis, in Debian's family": (
        "debian-12-installer",
        "clevis luks pass -d disk -s 1 2>/dev/null | grep -q . && echo opens",
        ("opens", "opens", "opens", ""),
    ),
    "systemd, in Red Hat's and SUSE's": (
        "rocky-9",
        "cryptsetup luksDump disk | sed -n 's/.*tpm2-hash-pcrs: */PCRs: /p'",
        ("PCRs: n/a", "PCRs: n/a", "PCRs: 7", "PCRs: 7"),
    ),
}
"""By which bootenv's script; what the disk is asked, and its answers at `TIMES`."""


def late_script(bootenv: str) -> str:
    """What the late script does about the TPM, and what it needs of the rest."""
    text = {name: text for name, _, text in files(bootenv, "uefi-tpm")}["late.sh"]
    put = re.search(r"(?ms)^put\(\) \{.*?^\}\n", text)
    assert put is not None
    part = text[text.index("# the TPM opens the disk") :]
    return "set -eu\n" + put[0] + part.replace("--tpm2-device=auto ", f"--tpm2-device={TPM} ")


@pytest.mark.parametrize(("bootenv", "asked", "answers"), WAYS.values(), ids=WAYS.keys())
def test_the_tpm_opens_the_disk_and_from_the_first_start_on_only_after_the_same_boot(
    bootenv: str, asked: str, answers: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "late").write_text(late_script(bootenv))
    (tmp_path / "asked").write_text(f"{asked} || :")
    (tmp_path / "key").write_text(SECRETS.values["store:disk"])
    (tmp_path / "world").write_text(WORLD)
    command = ["unshare", "-mn", "--propagation", "private", "sh", str(tmp_path / "world"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    said = [line.removeprefix("@@ ").rstrip() for line in done.stdout.splitlines() if line.startswith("@@ ")]
    told = [f"{when}: two keys, {what}".rstrip() for when, what in zip(TIMES, answers, strict=True)]
    assert said == [*told, "passphrase opens", "left: first-boot.d"], done.stdout + done.stderr

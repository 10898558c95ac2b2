"""A disk image as small as can be that an installation accepts, and large enough that machines share it."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from provisioner.lab.images import gpt

BLOB_BYTES = 24 << 20
"""More than 16 MiB, from which on chunks are listed; it does not compress."""


GETENT = b'#!/bin/sh\ngrep "^$2:" "/etc/$1"\n'
"""Stands in for the C library's program, which BusyBox does not have."""


def qcow2(folder: Path) -> Path:
    """Make the image of a disk whose root has what is run to set it up and no kernel, in qcow2."""
    root = folder / "root"
    for name in ("bin", "boot/grub", "dev", "etc", "proc", "root", "run", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    getent = root / "bin/getent"
    getent.write_bytes(GETENT)
    getent.chmod(0o755)
    ids = gpt.Ids.of("shared")
    (root / "etc/fstab").write_text(f"PARTUUID={ids.root_partition} / ext4 defaults 0 1\n")
    (root / "boot/grub/grub.cfg").write_text(f"linux /vmlinuz root=PARTUUID={ids.root_partition} ro\n")
    (root / "blob").write_bytes(random.Random(0).randbytes(BLOB_BYTES))
    gpt.make_image(root, folder / "disk.raw", ids, lambda line: None)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(folder / "disk.raw"), str(folder / "disk.qcow2")]
    subprocess.run(command, check=True)
    (folder / "disk.raw").unlink()
    return folder / "disk.qcow2"

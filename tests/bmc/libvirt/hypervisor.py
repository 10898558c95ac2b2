"""A real libvirtd with a machine of QEMU, in a mount namespace of its own: the host's libvirt is not touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bmc.peers import end, until

QEMU = (
    'security_driver = "none"\ncgroup_controllers = []\nnamespaces = []\nremember_owner = 0\nstdio_handler = "file"\n'
)
USERS = 'user = "root"\ngroup = "root"\n'
SERVICE = 'unix_sock_dir = "{root}/sock"\nauth_unix_rw = "none"\nlisten_tls = 0\nlisten_tcp = 0\n'
START = """\
set -e
mount --bind {root}/passwd /etc/passwd
mount --bind {root}/group /etc/group
for pair in etc:/etc/libvirt var:/var/lib/libvirt log:/var/log/libvirt run:/run/libvirt; do
    mount --bind {root}/${{pair%%:*}} ${{pair#*:}}
done
exec libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirt/pid
"""
DOMAIN = """\
<domain type='qemu'>
  <name>node17</name>
  <uuid>4c4c4544-0042-4310-8052-b7c04f4d3132</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{root}/disk.raw'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='user'><mac address='52:54:00:00:00:17'/><model type='virtio'/></interface>
  </devices>
</domain>
"""


@contextlib.asynccontextmanager
async def libvirtd(root: Path) -> AsyncIterator[str]:
    """Run libvirtd with one machine that is off, node17; yield the URI to reach it."""
    for folder in ("etc", "var", "log", "run", "sock"):
        (root / folder).mkdir()
    for folder in ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/run/libvirt"):
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - the places to mount over
    for name in ("passwd", "group"):
        line = "libvirt-qemu:x:64055:" + ("64055::/nonexistent:/bin/false\n" if name == "passwd" else "\n")
        (root / name).write_text(Path("/etc", name).read_text() + line)
    (root / "etc/qemu.conf").write_text(QEMU + USERS)
    (root / "etc/libvirtd.conf").write_text(SERVICE.format(root=root))
    (root / "disk.raw").write_bytes(bytes(1 << 20))
    (root / "domain.xml").write_text(DOMAIN.format(root=root))
    with (root / "libvirtd.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "unshare",
            "-m",
            "sh",
            "-c",
            START.format(root=root),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    uri = f"qemu+unix:///system?socket={root}/sock/libvirt-sock"
    try:
        await until((root / "sock/libvirt-sock").exists, f"libvirtd opens its socket, see {root}/libvirtd.log")
        await virsh(uri, "define", str(root / "domain.xml"))
        yield uri
        with contextlib.suppress(AssertionError):
            await virsh(uri, "destroy", "node17")
    finally:
        await end(process)


async def virsh(uri: str, *arguments: str) -> str:
    """Run virsh beside the driver."""
    process = await asyncio.create_subprocess_exec(
        "virsh", "-q", "-c", uri, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()

"""Turn a disk image in qcow2 into what the discovery system writes: the disk itself, packed with zstd. Blocks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from provisioner.catalog import qcow2
from provisioner.errors import ArtifactError

HEAD_BYTES = 512


def is_qcow2(file: Path) -> bool:
    """Say whether a file is a qcow2 image."""
    with file.open("rb") as image:
        return qcow2.is_qcow2(image.read(4))


def to_zstd(image: Path, target: Path) -> None:
    """Write the disk inside the qcow2 `image` to `target`; raise `ArtifactError`."""
    program = shutil.which("zstd")
    if program is None:
        raise ArtifactError("the program zstd is needed to convert images", hint="apt-get install zstd")
    with image.open("rb") as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        header = qcow2.decode_header(read_at(0, HEAD_BYTES))
        command = [program, "--quiet", "--force", "-3", "-T0", "-o", str(target)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as packer:
            assert packer.stdin is not None
            try:
                for data in qcow2.content(header, read_at):
                    packer.stdin.write(data)
                packer.stdin.close()
            except BrokenPipeError:
                pass  # its status says why
            except ArtifactError:
                packer.kill()
                raise
            status = packer.wait()
            assert packer.stderr is not None
            said = packer.stderr.read().decode("utf-8", "replace").strip()
    if status:
        raise ArtifactError(f"{target.name} cannot be written: zstd: {said[-200:] or status}")

"""Turn a disk image in qcow2 into what the discovery system writes: the disk itself, packed with zstd. Blocks."""

from __future__ import annotations

import resource
import shutil
import subprocess
from pathlib import Path

from provisioner.catalog import qcow2
from provisioner.catalog.room import Room
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
            try:
                file.seek(offset)
                return file.read(length)
            except (OSError, ValueError, OverflowError) as error:  # a stranger's number, larger than any file
                raise ArtifactError(f"the image cannot be read at {offset}: {error}") from error

        header = qcow2.decode_header(read_at(0, HEAD_BYTES))
        room = Room(target.parent)
        command = [program, "--quiet", "--force", "-3", "-T0", "-o", str(target)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as packer:
            assert packer.stdin is not None
            _lift_limit(packer.pid)
            try:
                for data in qcow2.content(header, read_at):
                    room.take(len(data))
                    packer.stdin.write(data)
                packer.stdin.close()
            except BrokenPipeError:
                pass  # its status says why
            except (ArtifactError, MemoryError):
                packer.kill()
                raise
            status = packer.wait()
            assert packer.stderr is not None
            said = packer.stderr.read().decode("utf-8", "replace").strip()
    if status:
        raise ArtifactError(f"{target.name} cannot be written: zstd: {said[-200:] or status}")


def _lift_limit(pid: int) -> None:
    """Give the packer the memory that it wants: by the number of processors, and nothing of an image says how much."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))

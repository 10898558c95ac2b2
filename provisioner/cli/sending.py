"""Files that commands send to the daemon, which is told their length first."""

from __future__ import annotations

import stat
from pathlib import Path

from provisioner.errors import ArtifactError


def length_of(file: Path) -> int:
    """Say how many bytes a file has; refuse (`ArtifactError`) what nobody knows this of before it has ended."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        text = f"{file}: a pipe or a device, and its length has to be known before it is sent"
        raise ArtifactError(text, hint="write the content to a file first, and name that")
    return found.st_size

"""Run parts of the agent's shell code as the discovery system does: with busybox, strictly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from provisioner.discovery.build.ramdisk import RAMDISK

STRICT = ("busybox", "sh", "-euo", "pipefail", "-c")


def run(script: str, state: Path, stdin: bytes = b"", part: str = "job.sh") -> subprocess.CompletedProcess[bytes]:
    """Source a part of the agent and run `script`; `state` takes the place of /run/provisioner."""
    (state / "work").mkdir(exist_ok=True)
    environment = os.environ | {"PROVISIONER_STATE": str(state), "PROVISIONER_LIB": str(RAMDISK)}
    command = [*STRICT, f". {RAMDISK}/{part}\n{script}"]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False, timeout=60)

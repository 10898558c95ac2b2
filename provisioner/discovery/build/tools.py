"""Run the programs that build images; a missing or failing one is an `ArtifactError` that says so."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from provisioner.errors import ArtifactError

Say = Callable[[str], None]
"""Where a builder tells the operator what it is doing, one line at a time."""

_SHOWN, _LAST = 12, 3
"""Lines of a failed program's output that an error repeats; those of them that its first line has."""


def require(packages: Mapping[str, str]) -> None:
    """Raise unless every program is there. `packages` maps each to the Debian package that has it."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    missing = sorted(program for program in packages if shutil.which(program, path=path) is None)
    if missing:
        names = " ".join(sorted({packages[program] for program in missing}))
        raise ArtifactError(f"missing programs: {', '.join(missing)}", hint=f"apt-get install {names}")


def run(
    command: Sequence[str | Path], *, cwd: Path | None = None, stdin: bytes | None = None, env: Mapping[str, str] = {}
) -> bytes:
    """Run `command` and return its output; raise `ArtifactError` with the end of what it said if it fails."""
    words = [str(word) for word in command]
    surroundings = environment() | dict(env)
    try:
        done = subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, check=False, env=surroundings)
    except FileNotFoundError as error:
        raise ArtifactError(f"{words[0]}: no such program", hint="install the package that has it") from error
    if done.returncode != 0:
        raise ArtifactError(_failure(words, done.returncode, done.stderr or done.stdout))
    return done.stdout


def with_own_mounts(command: Sequence[str | Path]) -> list[str | Path]:
    """`command`, so that nobody sees what it mounts, and that it is told to end (SIGTERM) when the caller is gone.

    mmdebstrap binds /dev and /sys of the host into the tree that it fills: were they there after a build that was
    killed, who removes the tree would remove them. Where mounts are not allowed it makes none, and runs as it is.
    """
    apart = ["unshare", "--mount", "--propagation", "private", "--"]
    allowed = subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0
    return ["setpriv", "--pdeathsig", "TERM", *(apart if allowed else ()), *command]


def environment() -> dict[str, str]:
    """The environment that builders run in: the caller's, in the C locale, with sbin on the path."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": path, "TZ": "UTC", "DEBIAN_FRONTEND": "noninteractive"}


def _failure(words: list[str], status: int, said: bytes) -> str:
    """Say what a program said last in the first line, which is all that an operator is shown; then all the rest."""
    lines = said.decode("utf-8", "replace").strip().splitlines()[-_SHOWN:]
    command = " ".join(words)[:200]
    failed = f"{Path(words[0]).name} failed with status {status}"
    if not lines:
        return f"{failed}: {command}"
    return "\n".join((f"{failed}: {'; '.join(line.strip() for line in lines[-_LAST:])}", command, *lines))

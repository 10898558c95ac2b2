"""One process at a time works on a state directory: a lock (flock(2)) on a file in it, which goes with the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from provisioner.errors import StoreError

NAME = "lock"


@contextlib.contextmanager
def alone(state_dir: Path, program: str, hint: str) -> Iterator[None]:
    """Hold the state directory as `program`; raise `StoreError`, with who does, where another holds it. Blocks.

    The kernel frees the lock when the process ends, however it ends; the file stays. No program that is started
    meanwhile inherits it: descriptors are closed when one is executed (PEP 446).
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(state_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        raise StoreError(f"{state_dir}: cannot be used as state directory: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"{state_dir}: {_why(handle, error)}", hint=hint) from error
        with contextlib.suppress(OSError):  # a full disk: who holds it is for others to read, the lock needs no room
            os.truncate(handle, 0)
            os.pwrite(handle, f"{program} {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _why(handle: int, error: OSError) -> str:
    if not isinstance(error, BlockingIOError):
        return f"cannot be locked: {error.strerror}"
    program, _, pid = os.pread(handle, 80, 0).decode("ascii", "replace").strip().partition(" ")
    who = f"{program} (pid {pid})" if pid.isdecimal() else "another process"
    return f"{who} works on this state directory"

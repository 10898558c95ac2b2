"""Work on the state directory where no daemon runs: the same API, served for one command from this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shlex
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.cli.client import Client
from provisioner.cli.exits import Forbidden, Unreachable
from provisioner.cli.session import Session

if TYPE_CHECKING:
    from provisioner.config import Config


@contextlib.contextmanager
def artifact_client(session: Session) -> Iterator[Client]:
    """Reach the daemon; where none answers and none was named, open its state directory ourselves."""
    client = session.client()
    try:
        client.get("/v1/loaders")
    except Unreachable:
        if session.server or session.socket or os.environ.get("PROVISIONER_SOCKET"):
            raise
    else:
        yield client
        return
    from provisioner.config import Config, default_path, load

    config = load(path) if (path := default_path()) is not None else Config()
    check_owner(config.state_dir)
    session.note(f"no daemon runs: working on {config.state_dir}")
    with served_here(config) as local:
        yield local


def check_owner(state_dir: Path) -> None:
    """Raise `Forbidden` where we are root and the daemon is not: it could read nothing of what we make there."""
    try:
        owner = state_dir.stat().st_uid
    except OSError:  # not there, or not to be looked at: who opens it says so
        return
    if os.geteuid() != 0 or owner == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise Forbidden(
        f"{state_dir}: is {name}'s, whose daemon could not read what root makes in it",
        hint="start the daemon (`systemctl start provisioner`), or work as that user:"
        f" `sudo -u {shlex.quote(name)} provisionctl ...`",
    )


@contextlib.contextmanager
def served_here(config: Config) -> Iterator[Client]:
    """Serve the routes of artefacts and loaders on a socket of our own, from a loop in another thread.

    Raises `StoreError` where another process works on the state directory.
    """
    from provisioner.cli.local_api import start
    from provisioner.store.lock import alone

    stack, hint = contextlib.AsyncExitStack(), "reach the daemon with --socket, or wait until the other command ends"
    with (
        alone(config.state_dir, "provisionctl", hint),
        _other_thread() as loop,
        tempfile.TemporaryDirectory(prefix="provisionctl-") as folder,
    ):
        socket = Path(folder) / "api.sock"
        try:
            asyncio.run_coroutine_threadsafe(start(stack, config, socket), loop).result()
            yield Client(str(socket))
        finally:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()


@contextlib.contextmanager
def _other_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local-api")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

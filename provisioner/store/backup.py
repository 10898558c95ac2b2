"""Copies of the database: made beside the daemon that writes it, complete in one file, and with nothing under way.

A file that is copied by hand lacks what stands in the write-ahead log. And a daemon that started from it would take up
what was under way then: `lifecycle.restored` says why a copy says of all of it that it has stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from provisioner.errors import StoreError
from provisioner.lifecycle.events import describe as of_machine
from provisioner.lifecycle.fleet import describe as of_rollout
from provisioner.lifecycle.restored import flow_stopped, machine_stopped, rollout_stopped
from provisioner.store.codec import Reader
from provisioner.store.db import Database
from provisioner.store.events import EventStore
from provisioner.store.machines import Change, MachineStore
from provisioner.store.readonly import read_only
from provisioner.store.rollouts import RolloutStore
from provisioner.store.secrets import Secrets
from provisioner.store.trouble import hint_for
from provisioner.store.workflows import WorkflowStore
from provisioner.workflow.events import describe as of_flow

log = logging.getLogger(__name__)

T = TypeVar("T")
Save = Callable[[T, T], Coroutine[Any, Any, Any]]

RESTORED = "site.restored"
"""The last event of a copy, and so the newest one of a store that was restored from it and did nothing since."""
_restored_in = Reader(dict[str, Any])


class Stopped(NamedTuple):
    """How much was under way, and is not in the copy."""

    machines: int
    rollouts: int
    workflows: int


def copy(source: Path, target: Path, at: float, key_file: Path | None = None) -> Stopped:
    """Copy a database to `target`, a new file, while others write it or not. `at` is now.

    With `key_file`, proves that this key opens the copy's secrets. Blocks. Raises `StoreError`.
    """
    try:
        with read_only(source) as there, _opened(target) as here:
            there.backup(here)
            _check(here, source)
        found = asyncio.run(_stop(target, at, key_file))
        with _opened(target) as here:
            here.execute("PRAGMA journal_mode=DELETE")  # the file alone is complete
            _check(here, target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{source}: cannot be copied to {target}: {error}", hint=hint_for(target, error)) from error
    return found


def _opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path, isolation_level=None))


def _check(connection: sqlite3.Connection, source: Path) -> None:
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise StoreError(f"{source}: is damaged: {said}", hint="restore it from an earlier backup")
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchone():
        raise StoreError(f"{source}: holds no store", hint="was it copied without its -wal file?")


async def _stop(path: Path, at: float, key_file: Path | None) -> Stopped:
    """Write into a copy that nothing is under way, and when it was made."""
    db = Database(path)
    await db.open()
    try:
        if key_file is not None:
            await Secrets.opened(db, key_file)
        await EventStore(db).leap(at)
        machines, rollouts, flows = MachineStore(db), RolloutStore(db), WorkflowStore(db)
        found = Stopped(
            await _each(
                [(one, machine_stopped(one, at)) for one in await machines.load()],
                lambda old, new: machines.save(Change(at, old, new, of_machine(old, new))),
            ),
            await _each(
                [(one, rollout_stopped(one, at)) for one in await rollouts.load()],
                lambda old, new: rollouts.save(old, new, of_rollout(old, new), at),
            ),
            await _each(
                [(one, flow_stopped(one, at)) for one in await flows.load()],
                lambda old, new: flows.save(old, new, of_flow(old, new), at),
            ),
        )
        await EventStore(db).add(RESTORED, {"backup": at, **found._asdict()}, at)
    finally:
        await db.close()
    return found


async def _each(pairs: list[tuple[T, T]], save: Save[T]) -> int:
    changed = [(old, new) for old, new in pairs if new != old]
    await asyncio.gather(*(save(old, new) for old, new in changed))  # in few transactions together
    return len(changed)


async def tell_origin(db: Database, key_file: Path | None, at: float) -> None:
    """Say in the log that a store was restored, until it has an event of its own; or is new beside a key that is not.

    `at` is now: a backup may be restored twice, and what its first life numbered is not numbered again. `key_file` is
    None where somebody else puts the key there. Called before the key is made. Raises `StoreError`.
    """
    if db.fresh and key_file is not None and await asyncio.to_thread(key_file.exists):
        log.warning("store.empty %s is new, and %s was there: is this half a restore?", db.path, key_file)
    query = "SELECT type, document FROM event ORDER BY seq DESC LIMIT 1"
    row = await db.read(lambda cursor: cursor.execute(query).fetchone())
    if row is not None and row[0] == RESTORED:
        told = " ".join(f"{name}={value:.0f}" for name, value in _restored_in(row[1]).items())
        log.warning("store.restored %s: what was under way then has stopped", told)
        await EventStore(db).leap(at)

"""Copies SQLite's write-ahead log into the database beside the writer, so that no commit waits for it.

SQLite does this by itself within a commit, every thousand pages: some ten milliseconds on a good disk, a second on a
busy one, in which no lease is acknowledged. Here a thread does it. While commits go on, what came in the meantime is
left over each time, and the log would grow for ever: where it became long, the writer copies that little rest itself,
and its next commit begins the log anew.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

COPY_COMMITS, COPY_ROWS = 1000, 4000
"""Commits, or rows changed, that are worth a copy: some megabytes of log, as each writes whole pages of 4 KiB."""
LONG_PAGES = 2000
"""A log of 8 MB is too long: the writer waits some milliseconds for its rest to be copied."""
LOG_BYTES = 10 << 20
"""What is written out of the log beforehand: as long as it becomes, and a little more."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
COMMITS_AFTER = 2
"""Of the writer's, until the log goes on as usual: the one after a copy may begin it anew, and then waits for the disk,
whatever it promises. The first that is heard of may have been made before the copy ended."""
_COPY = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpointer:
    """One for each writer; `committed` is called from its thread, `count` by who commits in its place."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._wanted = threading.Event()
        self._stopped = False
        self._commits = self._rows = 0
        self.long = False
        """The writer has to copy the rest of the log itself."""
        self._copying = False
        self._since_copy = 0
        """Commits of the writer's since a copy ended, or the log was opened."""
        self._thread = threading.Thread(target=self._copy_forever, name="store-checkpoint", daemon=True)

    def start(self) -> None:
        """Begin. The database is in WAL mode, and its writer makes no checkpoints."""
        self._thread.start()

    def stop(self) -> None:
        """Let the copy that is under way end."""
        self._stopped = True
        self._wanted.set()
        self._thread.join()

    def committed(self, writer: sqlite3.Connection) -> None:
        """Hear of a commit. Raises `sqlite3.Error` where the rest of a long log could not be copied."""
        if self.long:
            self.long = False
            self._since_copy = 0
            writer.execute(_COPY).fetchone()
        elif self._copying:
            self._since_copy = 0
        else:
            self._since_copy += 1
        self.count(writer)

    @property
    def unsettled(self) -> bool:
        """Say whether the next commit may have to wait for the disk: it begins the log anew, or copies what is left."""
        return self.long or self._copying or self._since_copy < COMMITS_AFTER

    def count(self, writer: sqlite3.Connection) -> None:
        """Hear of a commit that was made while nothing was unsettled."""
        self._commits += 1
        rows = writer.total_changes
        if self._commits >= COPY_COMMITS or rows - self._rows >= COPY_ROWS:
            self._commits, self._rows = 0, rows
            self._wanted.set()

    def _copy_forever(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            while self._wanted.wait() and not self._stopped:
                self._wanted.clear()
                self._since_copy, self._copying = 0, True
                try:
                    _, pages, _ = connection.execute(_COPY).fetchone()
                except sqlite3.Error as error:  # full or failing: the log keeps everything until a later copy
                    log.warning("store.uncopied error=%s", error)
                else:
                    self.long = pages > LONG_PAGES
                self._copying = False


def write_out(database: Path, size: int = LOG_BYTES) -> None:
    """Fill the log's file with zeros behind what stands in it: within the writer's transaction, which holds its end.

    A commit that lengthens the file has its length made durable as well, at twice the time of one that does not. Where
    the disk has no room for it, what there is stays for commits.
    """
    path = database.with_name(f"{database.name}-wal")
    with path.open("r+b", buffering=0) as log_file:
        before = log_file.seek(0, os.SEEK_END)
        missing = size - before
        try:
            if missing > 0:
                os.posix_fallocate(log_file.fileno(), before, missing)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            log_file.truncate(before)
            log.warning("store.log-short path=%s error=%s", path, error.strerror)
            return
        log_file.write(bytes(max(0, missing)))
        os.fsync(log_file.fileno())

"""Secrets at rest: AES-256-GCM, one nonce a secret, the key in a file of its own. Home of cryptography in the daemon.

A copy of the database alone opens nothing. The name of a secret is bound to its cipher text, so that swapping two rows
is found out.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from provisioner.durable import sync
from provisioner.errors import NotFoundError, StoreError
from provisioner.store.db import Database
from provisioner.store.sealed import Sealed
from provisioner.uncut import uncut

KEY_OCTETS = 32
NONCE_OCTETS = 12


def load_key(path: Path) -> bytes:
    """Read the key file, or make it (0600) when there is none. Blocks: called while starting. Raises `StoreError`."""
    try:
        if not path.exists():
            _make_key(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot make the key of the secrets: {error.strerror}") from error
    return read_key(path)


def _make_key(path: Path) -> None:
    """Write a new key, whole or not at all, and never over another."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_OCTETS))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(name)
    finally:
        Path(name).unlink()
    sync(path.parent)  # what it opens may lie on another file system, and be there after a loss of power


def read_key(path: Path) -> bytes:
    """Read the key file; raise `StoreError`. Blocks."""
    try:
        key = path.read_bytes()
        mode = path.stat().st_mode & 0o077
    except OSError as error:
        hint = "restore it from your backup" if isinstance(error, FileNotFoundError) else ""
        raise StoreError(f"{path}: cannot read the key of the secrets: {error.strerror}", hint=hint) from error
    if len(key) != KEY_OCTETS:
        raise StoreError(f"{path}: has {len(key)} octets, not {KEY_OCTETS}", hint="restore it from your backup")
    if mode:
        raise StoreError(f"{path}: others may read it (mode {mode:03o})", hint=f"chmod 600 {path}")
    return key


class Secrets:
    """Named secrets. Values are text; they appear in no log, error or repr."""

    def __init__(self, db: Database, key: bytes) -> None:
        self._db = db
        self._cipher = AESGCM(key)
        self._sealed: dict[str, bytes] = {}
        """What was read or written, as it lies in the store: every step of a run asks for the BMC's password."""
        self._changes = 0

    @classmethod
    async def opened(cls, db: Database, key_file: Path) -> Secrets:
        """Open the store's secrets, making the key where there are none yet. Raises `StoreError`."""
        row: tuple[str] | None = await db.read(lambda c: c.execute("SELECT id FROM secret LIMIT 1").fetchone())
        opened = cls(db, await asyncio.to_thread(read_key if row else load_key, key_file))
        if row:
            await opened._prove(row[0], key_file)
        return opened

    async def _prove(self, name: str, key_file: Path) -> None:
        try:
            await self.get(name)
        except StoreError as error:
            hint = "the key file and the store belong together: restore both from one backup"
            raise StoreError(f"{key_file}: does not open the secrets of {self._db.path}", hint=hint) from error

    @property
    def version(self) -> int:
        """A number that every change makes another: what was read is good as long as it stands."""
        return self._changes

    async def put(self, name: str, value: str) -> None:
        """Keep `value` under `name`, durably; replaces what was there."""
        await self.change({name: value})

    async def change(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        """Keep secrets and forget others, all at once and durably; one that is not there is forgotten."""
        sealed = self.seal(put, gone)
        with uncut() as whole:
            await whole(self._db.submit(sealed.write))
            self.written(sealed)

    def seal(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> Sealed:
        """Lock secrets away, for whoever writes them with other things in one transaction and says so (`written`)."""
        return Sealed({name: self._seal(name, value) for name, value in put.items()}, tuple(gone))

    def _seal(self, name: str, value: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_OCTETS)
        return nonce + self._cipher.encrypt(nonce, value.encode(), name.encode())

    def written(self, sealed: Sealed) -> None:
        """Hear that secrets are in the store, and others no more."""
        self._changes += 1
        self._sealed |= sealed.put
        for name in sealed.gone:
            self._sealed.pop(name, None)

    async def get(self, name: str) -> str:
        """Read a secret. Raises `NotFoundError`; `StoreError` where the key does not open it."""
        sealed = self._sealed.get(name) or await self._read(name)
        try:
            return self._cipher.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], name.encode()).decode()
        except InvalidTag as error:
            raise StoreError(f"the secret {name!r} cannot be opened", hint="is the key file the right one?") from error

    async def _read(self, name: str) -> bytes:
        changes, query = self._changes, "SELECT sealed FROM secret WHERE id = ?"
        row = await self._db.read(lambda c: c.execute(query, (name,)).fetchone())
        if row is None:
            raise NotFoundError(f"there is no secret {name!r}")
        sealed: bytes = row[0]
        if changes == self._changes:  # or it may be older than what was written meanwhile
            self._sealed[name] = sealed
        return sealed

    async def names(self, prefix: str) -> list[str]:
        """List the secrets whose names begin so."""
        query = "SELECT id FROM secret WHERE substr(id, 1, ?) = ?"
        return [name for (name,) in await self._db.read(lambda c: c.execute(query, (len(prefix), prefix)).fetchall())]

    async def remove(self, *names: str) -> None:
        """Forget secrets; not there is success."""
        await self.change({}, names)

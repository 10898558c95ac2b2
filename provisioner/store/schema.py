"""The schema, brought up to date in numbered steps that travel with the package."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from importlib import resources
from typing import NamedTuple

from provisioner.errors import StoreError


class Migration(NamedTuple):
    """One numbered step of the schema."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text: a migration that was applied may never change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def bundled_migrations() -> list[Migration]:
    """Read the migrations that travel with the package, in order."""
    folder = resources.files("provisioner.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name.removesuffix(".sql"), f.read_text()) for f in files]


def migrate(connection: sqlite3.Connection, migrations: Iterable[Migration], where: str) -> None:
    """Apply what is missing, each in a transaction of its own; refuse a store that a newer version wrote."""
    connection.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, checksum TEXT NOT NULL)")
    applied = dict(connection.execute("SELECT name, checksum FROM migration"))
    known = list(migrations)
    if unknown := sorted(applied.keys() - {m.name for m in known}):
        raise StoreError(f"{where}: was written by a newer version ({', '.join(unknown)})", hint="upgrade provisioner")
    for migration in known:
        if migration.name not in applied:
            record = f"INSERT INTO migration VALUES ('{migration.name}', '{migration.checksum}')"  # noqa: S608  ours
            connection.executescript(f"BEGIN IMMEDIATE; {migration.sql}\n; {record}; COMMIT;")
        elif applied[migration.name] != migration.checksum:
            raise StoreError(f"{where}: migration {migration.name} was changed after it was applied")

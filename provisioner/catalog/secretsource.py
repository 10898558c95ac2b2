"""Where secrets come from: our own store, files, the environment, Vault. A look-up that fails denies: no defaults.

A reference says which: `store:NAME`, `file:NAME` (below one directory that the configuration names), `env:NAME` (the
variable PROVISIONER_SECRET_NAME), `vault:PATH#KEY` (a KV engine, version 1 or 2). Values appear in no error and no log.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from provisioner.errors import NotFoundError, RenderError

MAX_BYTES = 64 << 10
"""A key or certificate has some kilobytes."""
MAX_ANSWER_BYTES = 1 << 20
"""Of Vault: all keys of one secret, and what JSON makes of their characters."""
STORE_PREFIX = "param/"
"""Names of the store that parameters may point at; passwords of BMCs have another, and can be reached by none."""
ENVIRONMENT_PREFIX = "PROVISIONER_SECRET_"
TIMEOUT_S = 10.0
STORED = "store:"
AT_HAND = (STORED, "env:")
"""What is read without waiting, mostly: a task for each would cost more than the reading."""

AT_ONCE = 32
"""Files and answers of Vault that are waited for at once: an apply may ask for those of 10,000 machines."""
MAX_REMEMBERED = 1024
"""Sets of references whose values are remembered: machines of one profile mostly have the same."""

Lookup = Callable[[str], Awaitable[str]]


class Store(Protocol):
    """Secrets of our own, by name. `store.secrets.Secrets` is the real one."""

    @property
    def version(self) -> int:
        """A number that every change of any secret makes another."""

    async def get(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Vault:
    """A Vault server. The token is read from a file for each look-up, so that an agent may renew it."""

    address: str
    token_file: Path
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, and at which version of our own store; none where some of it came from elsewhere."""

    values: Mapping[str, str]
    version: int | None


class SecretSources:
    """Everything that a reference can point at."""

    def __init__(self, stored: Store, *, folder: Path | None = None, vault: Vault | None = None) -> None:
        self._stored = stored
        self._read: dict[tuple[str, ...], _Read] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._folder = folder
        self._vault = vault
        self._by_scheme: Mapping[str, Lookup] = {
            "store": self._from_store,
            "file": self._from_file,
            "env": self._from_environment,
            "vault": self._from_vault,
        }

    async def look_up(self, references: Iterable[str]) -> Mapping[str, str]:
        """Read all of them; raise `RenderError` that names every one that cannot be had, and why.

        The very same mapping is given again as long as no value differs. Whether one of our own store's does is told
        by its version; all others are read each time.
        """
        wanted, version = tuple(references), self._stored.version
        before = self._read.get(wanted)
        if before is not None and before.version == version:
            return before.values
        values: Mapping[str, str] = await self._all(wanted)
        if before is not None and before.values == values:
            values = before.values
        if len(self._read) >= MAX_REMEMBERED:
            self._read.clear()
        ours = all(each.startswith(STORED) for each in wanted)
        self._read[wanted] = _Read(values, version if ours else None)
        return values

    async def _all(self, references: Iterable[str]) -> dict[str, str]:
        wanted = sorted(set(references))
        at_hand = [each for each in wanted if each.startswith(AT_HAND)]
        told = [await self._told(reference) for reference in at_hand]
        elsewhere = [each for each in wanted if not each.startswith(AT_HAND)]
        told += await asyncio.gather(*map(self._told_in_turn, elsewhere)) if elsewhere else []
        faults = [fault for _, _, fault in told if fault]
        if faults:
            raise RenderError(f"{len(faults)} secret(s) cannot be had", faults=faults)
        return {reference: value for reference, value, _ in told}

    async def _told_in_turn(self, reference: str) -> tuple[str, str, str]:
        async with self._turns:
            return await self._told(reference)

    async def _told(self, reference: str) -> tuple[str, str, str]:
        """Look one up: the reference, its value, and why it cannot be had."""
        try:
            return reference, await self._one(reference), ""
        except (RenderError, NotFoundError) as error:
            return reference, "", f"{reference}: {error.message}"

    async def _one(self, reference: str) -> str:
        scheme, _, name = reference.partition(":")
        if scheme not in self._by_scheme or not name:
            raise RenderError(f"not a reference; known are {', '.join(f'{known}:' for known in self._by_scheme)}")
        value = await self._by_scheme[scheme](name)
        if not value:
            raise RenderError("is empty")
        if len(value) > MAX_BYTES:
            raise RenderError(f"has {len(value)} characters, at most {MAX_BYTES} are read")
        return value

    async def _from_store(self, name: str) -> str:
        return await self._stored.get(STORE_PREFIX + name)

    async def _from_environment(self, name: str) -> str:
        variable = ENVIRONMENT_PREFIX + name
        if variable not in os.environ:
            raise RenderError(f"the daemon's environment has no {variable}")
        return os.environ[variable]

    async def _from_file(self, name: str) -> str:
        if self._folder is None:
            raise RenderError("the configuration names no directory of secrets")
        return await asyncio.to_thread(_read, self._folder, name)

    async def _from_vault(self, name: str) -> str:
        if self._vault is None:
            raise RenderError("the configuration names no Vault")
        path, _, key = name.partition("#")
        if not key:
            raise RenderError("which key of it is wanted? vault:PATH#KEY")
        token = await asyncio.to_thread(_token, self._vault.token_file)
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if self._vault.namespace:
            headers["X-Vault-Namespace"] = self._vault.namespace
        data = await _ask_vault(f"{self._vault.address.rstrip('/')}/v1/{path.lstrip('/')}", headers)
        inner = data.get("data")
        values = inner if isinstance(inner, dict) and "metadata" in data else data  # KV version 2 wraps them
        value = values.get(key) if isinstance(values, dict) else None
        if not isinstance(value, str):
            raise RenderError(f"Vault has no text {key!r} there")
        return value


def _read(folder: Path, name: str) -> str:
    """Read a file below the directory. What leads out of it, and what is no plain file, is not read (C-B3, C-B4)."""
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise RenderError(f"there is no such file in {folder}")
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES + 1).removesuffix("\n")
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: no text, or a NUL in the name
        raise RenderError(f"cannot be read: {_why(error)}") from error


def _token(path: Path) -> str:
    """Read Vault's token."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise RenderError(f"{path}, the file of Vault's token, cannot be read: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "not text"
    return getattr(error, "strerror", None) or str(error)


async def _ask_vault(url: str, headers: Mapping[str, str]) -> dict[str, object]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise RenderError(f"Vault answers {answer.status} {answer.reason}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise RenderError(f"Vault answers with more than {MAX_ANSWER_BYTES >> 10} KiB")
            document = json.loads(body)
    except (TimeoutError, aiohttp.ClientError, ValueError) as error:
        raise RenderError(f"Vault does not answer: {type(error).__name__}") from error
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise RenderError("Vault answers without data")
    return data

"""Requests under idempotency keys: each is taken once, and another one under the same key is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from provisioner.errors import ConflictError
from provisioner.lifecycle.registry import Machines
from provisioner.model.intent import Asked
from provisioner.model.machine import Machine
from provisioner.store.db import Database
from provisioner.store.intents import Accepted, IntentStore


def asked(key: str, verb: str, **given: Any) -> Asked:
    """Name a request by its verb and a digest of all that it says: that may hold secrets, and is kept for a month."""
    text = json.dumps(given, sort_keys=True, default=str)
    return Asked(key, f"{verb} {hashlib.sha256(text.encode()).hexdigest()}")


class WithdrawnError(ConflictError):
    """Who asked took the request back while it was looked at; nothing was touched."""


async def accepted(store: IntentStore, request: Asked) -> Accepted | None:
    """Find what was accepted under this request's key; raise `ConflictError` if that was another request.

    What an earlier version accepted has no digest, or not even a verb: it is taken for what is asked.
    """
    found = await store.find(request.key) if request.key else None
    if found is None or found.request in ("", request.request):
        return found
    (was, _, digest), (wanted, _, _) = found.request.partition(" "), request.request.partition(" ")
    if was == wanted and not digest:
        return found
    raise _used_for(request.key, f"another {was}" if was == wanted else was)


def no_longer_kept(what: str) -> ConflictError:
    """Refuse to begin anew what was begun under this key, and is over for so long that it was dropped."""
    hint = "what is to be done again needs a key of its own"
    return ConflictError(f"{what} was begun under this key, and is no longer kept", hint=hint)


def _used_for(key: str, what: str) -> ConflictError:
    hint = "another request needs a key of its own"
    return ConflictError(f"the idempotency key {key[:40]!r} was used for {what}", hint=hint)


class Once:
    """Knows what was accepted before of machines."""

    def __init__(self, db: Database, machines: Machines) -> None:
        self._store = IntentStore(db)
        self._machines = machines

    async def accepted(self, ref: str, request: Asked) -> Machine | None:
        """Find the machine of this request, if it was accepted before; raise `ConflictError` as `accepted`."""
        found = await accepted(self._store, request)
        if found is None:
            return None
        machine = self._machines.get(ref)
        if found.subject != machine.id:
            raise _used_for(request.key, "another machine")
        return machine

    async def was_accepted(self, request: Asked) -> bool:
        """Say whether this request was accepted before, of whichever machine; raises `ConflictError` likewise."""
        return await accepted(self._store, request) is not None

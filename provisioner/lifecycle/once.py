"""Requests under idempotency keys: each is taken once, and another one under the same key is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from provisioner.errors import ConflictError
from provisioner.lifecycle.registry import Machines
from provisioner.model.intent import Asked
from provisioner.model.machine import Machine
from provisioner.store.machines import Accepted, MachineStore


def asked(key: str, verb: str, **given: Any) -> Asked:
    """Name a request by its verb and a digest of all that it says: that may hold secrets, and is kept for a month."""
    text = json.dumps(given, sort_keys=True, default=str)
    return Asked(key, f"{verb} {hashlib.sha256(text.encode()).hexdigest()}")


def used_for(key: str, what: str) -> ConflictError:
    """Refuse a request under a key that is another one's."""
    hint = "another request needs a key of its own"
    return ConflictError(f"the idempotency key {key[:40]!r} was used for {what}", hint=hint)


class WithdrawnError(ConflictError):
    """Who asked took the request back while it was looked at; nothing was touched."""


class Once:
    """Knows what was accepted before."""

    def __init__(self, store: MachineStore, machines: Machines) -> None:
        self._store = store
        self._machines = machines

    async def accepted(self, ref: str, request: Asked) -> Machine | None:
        """Find the machine of this request, if it was accepted before; raise `ConflictError` if its key was another's.

        What an earlier version accepted was not named: it is taken for what is asked.
        """
        found = await self._found(request)
        if found is None:
            return None
        machine = self._machines.get(ref)
        if found.machine != machine.id:
            raise used_for(request.key, "another machine")
        return machine

    async def was_accepted(self, request: Asked) -> bool:
        """Say whether this request was accepted before, of whichever machine; raises `ConflictError` as `accepted`."""
        return await self._found(request) is not None

    async def _found(self, request: Asked) -> Accepted | None:
        found = await self._store.intent(request.key) if request.key else None
        if found is not None and found.request not in ("", request.request):
            was, wanted = found.request.partition(" ")[0], request.request.partition(" ")[0]
            raise used_for(request.key, f"another {was}" if was == wanted else was)
        return found

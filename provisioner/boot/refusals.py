"""Firmware that fetches a loader and does not start it: what Secure Boot does with one that nobody signed. No I/O.

No request says that Secure Boot is on. But a loader that was started asks as itself, or fetches its script; firmware
that asks again instead refused it. It is given a signed loader from then on, which starts without Secure Boot, too.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from provisioner.boot.plan import LOADERS, SECURE_BOOT_LOADERS
from provisioner.model.boot import Asker, BootClient
from provisioner.model.net import Mac

UNSIGNED = frozenset(LOADERS.values()) - frozenset(SECURE_BOOT_LOADERS.values())
LIMIT = 8192
"""Machines remembered, some 200 octets each; the one that fetched longest ago goes first."""


class _State(Enum):
    FETCHED = "it has its loader, and nothing was heard of that"
    REFUSED = "it asked again instead of starting what it fetched"


class Refusals:
    """What became of the loaders that firmware fetched."""

    def __init__(self) -> None:
        self._states: OrderedDict[Mac, _State] = OrderedDict()

    def fetched(self, client: BootClient, name: str) -> None:
        """Hear that a file was fetched. Only firmware that knows signatures and a loader of ours without one count."""
        # over IPv6, OVMF asks as if it were a system before it fetches
        by_loader = not _is_firmware(client) and client.asker is not Asker.OS
        if by_loader or client.arch not in SECURE_BOOT_LOADERS or name not in UNSIGNED:
            return
        self._states.setdefault(client.mac, _State.FETCHED)
        self._states.move_to_end(client.mac)
        if len(self._states) > LIMIT:
            self._states.popitem(last=False)

    def started(self, mac: Mac) -> None:
        """Hear that the loader runs: it asks for an address or its script."""
        if self._states.get(mac) is _State.FETCHED:
            del self._states[mac]

    def knows(self, mac: Mac) -> bool:
        """Say whether a loader that a machine fetched tells anything of it."""
        return mac in self._states

    def has_refused(self, mac: Mac) -> bool:
        """Say whether a machine has refused a loader."""
        return self._states.get(mac) is _State.REFUSED

    def asks(self, client: BootClient) -> bool:
        """Take what asks for evidence: True when it shows for the first time that a loader was refused."""
        state = self._states.get(client.mac)
        if state is not _State.FETCHED:
            return False
        if not _is_firmware(client):
            self.started(client.mac)
            return False
        self._states[client.mac] = _State.REFUSED
        return True


def _is_firmware(client: BootClient) -> bool:
    return client.asker in (Asker.PXE, Asker.HTTP)

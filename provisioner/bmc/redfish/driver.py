"""The Redfish driver: all groups of verbs over one client."""

from __future__ import annotations

from provisioner.bmc.redfish.accounts import AccountVerbs
from provisioner.bmc.redfish.bios import BiosVerbs
from provisioner.bmc.redfish.boot import BootVerbs
from provisioner.bmc.redfish.console import ConsoleVerbs
from provisioner.bmc.redfish.firmware import FirmwareVerbs
from provisioner.bmc.redfish.inventory import InventoryVerbs
from provisioner.bmc.redfish.led import LedVerbs
from provisioner.bmc.redfish.manager import ManagerVerbs
from provisioner.bmc.redfish.media import MediaVerbs
from provisioner.bmc.redfish.power import PowerVerbs
from provisioner.bmc.redfish.secureboot import SecureBootVerbs
from provisioner.bmc.redfish.storage import StorageVerbs
from provisioner.bmc.redfish.watch import WatchVerbs


class Redfish(
    PowerVerbs,
    BootVerbs,
    MediaVerbs,
    WatchVerbs,
    InventoryVerbs,
    AccountVerbs,
    ManagerVerbs,
    BiosVerbs,
    SecureBootVerbs,
    FirmwareVerbs,
    StorageVerbs,
    LedVerbs,
    ConsoleVerbs,
):
    """One machine by Redfish (`verbs.Bmc`, and every Protocol of `capabilities`)."""

    async def close(self) -> None:
        """End the session."""
        await self._client.close()

"""The serial console of a board that is asked by Redfish: over SSH, where the board says that it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.bmc.redfish.board import Board
from provisioner.bmc.redfish.serial import SshOffer, of_manager, of_system
from provisioner.errors import BmcUnsupported
from provisioner.firstuse import at_hand

if TYPE_CHECKING:
    from provisioner.bmc.redfish.ssh import SshConsole


class ConsoleVerbs(Board):
    """The console; any number of people may have it, so there is nobody whose it would have to be taken from."""

    async def open_console(self, *, take_over: bool = False) -> SshConsole:
        """Open the console by SSH, as the same user; the host's key is pinned on first use."""
        verb = "console.open"
        offer = await self._offer(verb)
        if isinstance(offer, str):
            raise self.unsupported(verb, offer)
        await at_hand("provisioner.bmc.redfish.ssh")
        from provisioner.bmc.redfish.ssh import Login, open_ssh

        user, password = self._client.credentials
        login = Login(self.address.host, offer.port, user, password)
        return await open_ssh(f"{self.address}: {verb}", login, self.host_keys, offer.command)

    async def _offer(self, verb: str) -> SshOffer | str:
        quirk = (await self.quirks()).console_command
        if (offer := of_system(await self.system(), quirk)) is not None:
            return offer
        try:
            manager = await self.manager(verb)
            return of_manager(manager, await self.child(verb, manager, "NetworkProtocol"), quirk)
        except BmcUnsupported:
            return "the board offers no console by SSH"

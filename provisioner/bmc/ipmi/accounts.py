"""The BMC's users and its network by IPMI. A password is proven by the comparison that IPMI has for it."""

from __future__ import annotations

import contextlib

from provisioner.bmc.ipmi import chassis, users
from provisioner.bmc.ipmi.base import IpmiBoard
from provisioner.bmc.ipmi.messages import Target
from provisioner.errors import BmcError, BmcProtocolError, BmcUnsupported, BmcWrongState
from provisioner.model.board import Account, BmcNetwork, Role

FIRST_SLOT = 2
"""Slot 1 is the anonymous user: it is never given a name (IPMI 2.0 section 22.28)."""


class AccountVerbs(IpmiBoard):
    """Users in their slots, and the LAN parameters."""

    async def accounts(self) -> tuple[Account, ...]:
        """Return the users that have a name."""
        return tuple(one for one in await self._slots("accounts.read") if one.name)

    async def create_account(self, name: str, password: str, role: Role) -> None:
        """Fill an empty slot: name, password, rights, and only then let the user in; empty it where one is refused."""
        verb = "accounts.create"
        slots = await self._slots(verb)
        if any(one.name == name for one in slots):
            raise BmcWrongState(f"{self.address}: {verb}: {name!r} exists", hint="set its password instead")
        free = next((int(one.id) for one in slots if not one.name), None)
        if free is None:
            raise BmcUnsupported(f"{self.address}: {verb}: no slot is free", hint="nothing was done")
        name_bytes, password_bytes = users.name_bytes(free, name), users.password_bytes(free, password)
        try:
            await self._set(verb, users.SET_USER_NAME, name_bytes)
            await self._set(verb, users.SET_USER_PASSWORD, password_bytes)
            await self._set(verb, users.SET_USER_ACCESS, users.access_bytes(free, role))
            await self._set(verb, users.SET_USER_PASSWORD, users.switch_bytes(free, enabled=True))
            await self._prove(verb, free, name, password)
        except BmcError:
            for command, data in _emptying(free):
                with contextlib.suppress(BmcError):
                    await self._set(verb, command, data)
            raise

    async def set_password(self, name: str, password: str) -> None:
        """Change a password, have the board compare it, and go on with it where the account is our own."""
        verb = "accounts.password"
        slot = await self._slot_of(verb, name)
        await self._set(verb, users.SET_USER_PASSWORD, users.password_bytes(slot, password))
        if name == self.address.username:
            await self.close()
            self._target = Target(self.address.host, self.address.port, name, password)
        await self._prove(verb, slot, name, password)

    async def enable_account(self, name: str, *, enabled: bool) -> None:
        """Let a user in, or keep him out."""
        verb = "accounts.enable"
        self._refuse_own(verb, name)
        slot = await self._slot_of(verb, name)
        await self._set(verb, users.SET_USER_PASSWORD, users.switch_bytes(slot, enabled=enabled))

    async def delete_account(self, name: str) -> None:
        """Take rights and name from a user's slot. Gone already is success."""
        verb = "accounts.delete"
        self._refuse_own(verb, name)
        for one in await self._slots(verb):
            if one.name == name:
                for command, data in _emptying(int(one.id)):
                    await self._set(verb, command, data)
        if any(one.name == name for one in await self.accounts()):
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but {name!r} is still there")

    async def network(self) -> BmcNetwork:
        """Read the LAN parameters of the channel that we come in on."""
        found: dict[int, bytes] = {}
        for parameter in (users.ADDRESS, users.SOURCE, users.MAC, users.MASK, users.GATEWAY, users.VLAN):
            asked = bytes((users.THIS_CHANNEL, parameter, 0, 0))
            try:
                data = await self.ask("network.read", users.NETFN_TRANSPORT, users.GET_LAN, asked)
            except BmcUnsupported:
                continue
            found[parameter] = data[1:]
        return users.read_network(found)

    async def set_network(self, wanted: BmcNetwork) -> None:
        """Set what `wanted` gives. With a new address the connection goes: what cannot be read back is no error."""
        verb = "network.set"
        held = await self.network()
        try:
            changes = users.network_changes(held, wanted)
        except BmcUnsupported as error:
            raise BmcUnsupported(f"{self.address}: {verb}: {error.message}", hint=error.hint) from error
        for parameter, value in changes:
            data = bytes((users.THIS_CHANNEL, parameter)) + value
            await self.ask(verb, users.NETFN_TRANSPORT, users.SET_LAN, data)

    async def _slots(self, verb: str) -> list[Account]:
        """Read every slot but the first. The first answer tells how many there are."""
        found: list[Account] = []
        slot, slots = FIRST_SLOT, FIRST_SLOT
        while slot <= slots:
            asked = bytes((users.THIS_CHANNEL, slot))
            data = await self.ask(verb, chassis.NETFN_APP, users.GET_USER_ACCESS, asked)
            access = self.read(verb, users.read_access, data)
            slots = access.slots
            found.append(users.account(slot, await self._name(verb, slot), access))
            slot += 1
        return found

    async def _name(self, verb: str, slot: int) -> str:
        try:
            return users.read_name(await self.ask(verb, chassis.NETFN_APP, users.GET_USER_NAME, bytes((slot,))))
        except BmcUnsupported:  # boards answer 0xcc or 0xcb for a slot without a name
            return ""

    async def _slot_of(self, verb: str, name: str) -> int:
        for one in await self._slots(verb):
            if one.name == name:
                return int(one.id)
        raise BmcWrongState(f"{self.address}: {verb}: there is no account {name!r}")

    async def _set(self, verb: str, command: int, data: bytes) -> None:
        await self.ask(verb, chassis.NETFN_APP, command, data)

    async def _prove(self, verb: str, slot: int, name: str, password: str) -> None:
        try:
            await self._set(verb, users.SET_USER_PASSWORD, users.password_bytes(slot, password, test=True))
        except BmcError as error:
            raise BmcProtocolError(
                f"{self.address}: {verb}: taken, but the board does not know the password of {name!r}: {error.message}"
            ) from error

    def _refuse_own(self, verb: str, name: str) -> None:
        if name == self.address.username:
            raise BmcWrongState(f"{self.address}: {verb}: {name!r} is the account that we use ourselves")


def _emptying(slot: int) -> tuple[tuple[int, bytes], ...]:
    """List the commands that take a user out of a slot: kept out before his name goes, as nobody's may be let in."""
    return (
        (users.SET_USER_PASSWORD, users.switch_bytes(slot, enabled=False)),
        (users.SET_USER_ACCESS, users.access_bytes(slot, Role.NONE)),
        (users.SET_USER_NAME, users.name_bytes(slot, "")),
    )

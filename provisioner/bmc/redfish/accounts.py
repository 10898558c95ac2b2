"""The BMC's users by Redfish (DSP0268: AccountService, ManagerAccount)."""

from __future__ import annotations

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import Board
from provisioner.errors import BmcAuthError, BmcProtocolError, BmcUnsupported, BmcWrongState
from provisioner.model.board import Account, Role

ROLES = {
    Role.ADMINISTRATOR: "Administrator",
    Role.OPERATOR: "Operator",
    Role.READ_ONLY: "ReadOnly",
    Role.NONE: "None",
}
_ROLE_OF = {name: role for role, name in ROLES.items()}


class AccountVerbs(Board):
    """Make, change and end accounts. A password is proven by logging in with it."""

    async def accounts(self) -> tuple[Account, ...]:
        """Return the accounts that have a name."""
        return tuple(_account(one) for one in await self._listed_accounts("accounts.read") if one.text("UserName"))

    async def create_account(self, name: str, password: str, role: Role) -> None:
        """Make an account: a new member, or an empty slot on boards that have slots; see it log in."""
        verb = "accounts.create"
        listed = await self._listed_accounts(verb)
        if any(one.text("UserName") == name for one in listed):
            raise BmcWrongState(f"{self.address}: {verb}: {name!r} exists", hint="set its password instead")
        body = {"UserName": name, "Password": password, "RoleId": ROLES[role], "Enabled": True}
        try:
            await self.post(await self._accounts_path(verb), body)
        except BmcUnsupported:
            await self._take_slot(verb, listed, body)
        await self._prove(verb, name, password)

    async def set_password(self, name: str, password: str) -> None:
        """Change a password, prove the new one, and go on with it where the account is our own."""
        verb = "accounts.password"
        await self.patch(await self._named(verb, name), {"Password": password})
        await self._prove(verb, name, password)
        if name == self.address.username:
            await self._client.use_password(password)

    async def enable_account(self, name: str, *, enabled: bool) -> None:
        """Let an account in, or keep it out; read back. Our own cannot be shut out by itself."""
        verb = "accounts.enable"
        self._refuse_own(verb, name)
        account = await self._named(verb, name)
        await self.patch(account, {"Enabled": enabled})
        if (await self.get(account.path)).data.get("Enabled") is not enabled:
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but {name!r} is as it was")

    async def delete_account(self, name: str) -> None:
        """Delete an account, or empty its slot; read back. Gone already is success."""
        verb = "accounts.delete"
        self._refuse_own(verb, name)
        found = [one for one in await self._listed_accounts(verb) if one.text("UserName") == name]
        for account in found:
            try:
                await self.delete(account.path)
            except BmcUnsupported:
                await self.patch(account, {"UserName": "", "Enabled": False})
        if found and any(one.name == name for one in await self.accounts()):
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but {name!r} is still there")

    def _refuse_own(self, verb: str, name: str) -> None:
        if name == self.address.username:
            raise BmcWrongState(f"{self.address}: {verb}: {name!r} is the account that we use ourselves")

    async def _accounts_path(self, verb: str) -> str:
        service = await self.child(verb, await self.root(), "AccountService")
        if not (path := service.link("Accounts")):
            raise self.unsupported(verb, "the account service has no accounts")
        return path

    async def _listed_accounts(self, verb: str) -> list[Resource]:
        return await self.each(await self._accounts_path(verb))

    async def _named(self, verb: str, name: str) -> Resource:
        for one in await self._listed_accounts(verb):
            if one.text("UserName") == name:
                return one
        raise BmcWrongState(f"{self.address}: {verb}: there is no account {name!r}")

    async def _take_slot(self, verb: str, listed: list[Resource], body: dict[str, object]) -> None:
        """Fill an empty slot. The first is left out: on boards with slots it is reserved."""
        free = next((one for one in listed[1:] if not one.text("UserName")), None)
        if free is None:
            raise self.unsupported(verb, "the board makes no accounts, and no slot is free")
        await self.patch(free, body)

    async def _prove(self, verb: str, name: str, password: str) -> None:
        """Log in as the account, and leave."""
        async with self._client.visitor(name, password) as visitor:
            try:
                await visitor.check_login()
            except BmcAuthError as error:
                raise BmcProtocolError(
                    f"{self.address}: {verb}: taken, but {name!r} cannot log in with it: {error.message}"
                ) from error


def _account(one: Resource) -> Account:
    return Account(
        id=one.text("Id"),
        name=one.text("UserName"),
        role=_ROLE_OF.get(one.text("RoleId"), Role.NONE),
        enabled=one.data.get("Enabled") is True,
    )

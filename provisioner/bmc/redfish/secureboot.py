"""Secure Boot by Redfish: its state, and the keys in its databases (DSP0268: SecureBoot, SecureBootDatabase)."""

from __future__ import annotations

from provisioner.bmc.redfish.answers import Reply, Resource
from provisioner.bmc.redfish.board import Board, last
from provisioner.errors import BmcProtocolError, BmcWrongState
from provisioner.model.board import SecureBoot, SecureBootKey

DEFAULTS = frozenset({"PKDefault", "KEKDefault", "dbDefault", "dbxDefault", "dbrDefault", "dbtDefault"})
"""Databases that only keep what the board came with."""


class SecureBootVerbs(Board):
    """UEFI Secure Boot."""

    async def secure_boot(self) -> SecureBoot:
        """Read whether Secure Boot is on, and was on at the last boot."""
        found = await self._secure_boot("secureboot.read")
        active = {"Enabled": True, "Disabled": False}.get(found.text("SecureBootCurrentBoot"))
        mode = found.text("SecureBootMode").removesuffix("Mode").lower()
        return SecureBoot(found.data.get("SecureBootEnable") is True, active, mode)

    async def set_secure_boot(self, *, enabled: bool) -> None:
        """Switch Secure Boot for the next boot, and read it back."""
        verb = "secureboot.set"
        holder = await self.settings_of(await self._secure_boot(verb), "SecureBootEnable")
        await self.patch(holder, {"SecureBootEnable": enabled})
        if (await self.get(holder.path)).data.get("SecureBootEnable") is not enabled:
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but it is not {'on' if enabled else 'off'}")

    async def reset_secure_boot_keys(self) -> None:
        """Put back the keys that the board came with."""
        verb = "secureboot.reset-keys"
        await self.finish(verb, await self._reset_keys(verb, "ResetAllKeysToDefault"))

    async def delete_secure_boot_keys(self) -> None:
        """Take out every key: the firmware is in setup mode, and takes a platform key of ours. Read back."""
        verb = "secureboot.delete-keys"
        await self.finish_unseen(verb, await self._reset_keys(verb, "DeleteAllKeys"))

        async def is_setup() -> bool:
            return (await self.secure_boot()).mode in ("setup", "")

        await self.until(verb, is_setup, 60.0, "the firmware is not in setup mode")

    async def secure_boot_keys(self) -> tuple[SecureBootKey, ...]:
        """Return the certificates of every database."""
        found: list[SecureBootKey] = []
        for database in await self._databases("secureboot.keys"):
            path, name = database.link("Certificates"), last(database.path)
            for key in await self.each(path) if path else []:
                found.append(SecureBootKey(name, last(key.path), key.text("CertificateString")))
        return tuple(found)

    async def add_secure_boot_key(self, database: str, pem: str) -> None:
        """Add a certificate to a database, and see it there. There already is success."""
        verb = "secureboot.add-key"
        if await self._has(database, pem):
            return
        path = (await self._database(verb, database)).link("Certificates")
        if not path:
            raise self.unsupported(verb, f"database {database} takes no certificates")
        await self.finish_unseen(verb, await self.post(path, {"CertificateString": pem, "CertificateType": "PEM"}))
        if not await self._has(database, pem):
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but {database} does not show it")

    async def delete_secure_boot_key(self, database: str, key: str) -> None:
        """Take a certificate out of a database, by its id; see it gone. Gone already is success."""
        verb = "secureboot.delete-key"
        holder = await self._database(verb, database)
        path = holder.link("Certificates")
        for found in await self.each(path) if path else []:
            if last(found.path) == key:
                await self.finish_unseen(verb, await self.delete(found.path))
        if any((one.database, one.id) == (database, key) for one in await self.secure_boot_keys()):
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but {database} still has {key}")

    async def _has(self, database: str, pem: str) -> bool:
        wanted = "".join(pem.split())
        return any(
            one.database == database and "".join(one.pem.split()) == wanted for one in await self.secure_boot_keys()
        )

    async def _secure_boot(self, verb: str) -> Resource:
        return await self.child(verb, await self.system(), "SecureBoot")

    async def _databases(self, verb: str) -> list[Resource]:
        found = await self._secure_boot(verb)
        if not (path := found.link("SecureBootDatabases")):
            raise self.unsupported(verb, "the board does not show its keys")
        return [one for one in await self.each(path) if last(one.path) not in DEFAULTS]

    async def _database(self, verb: str, name: str) -> Resource:
        known = await self._databases(verb)
        for one in known:
            if last(one.path) == name:
                return one
        names = ", ".join(last(one.path) for one in known) or "none"
        raise BmcWrongState(f"{self.address}: {verb}: there is no database {name!r}", hint=f"there are: {names}")

    async def _reset_keys(self, verb: str, kind: str) -> Reply:
        found = await self._secure_boot(verb)
        offered = await self.allowed(found, "SecureBoot.ResetKeys", "ResetKeysType")
        if offered and kind not in offered:
            raise self.lacking(verb, f"the board offers only {', '.join(offered)}")
        return await self.act(verb, found, "SecureBoot.ResetKeys", {"ResetKeysType": kind}, repeat=True)

"""Firmware settings by Redfish (DSP0268: Bios, AttributeRegistry)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.bmc.biosplan import BiosPlan, plan_bios
from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import Board
from provisioner.errors import BmcProtocolError, BmcUnsupported
from provisioner.model.board import BiosAttribute, BiosSettings, BiosValue


class BiosVerbs(Board):
    """The firmware's settings: as they are, and as they will be after the next boot."""

    async def bios(self) -> BiosSettings:
        """Read what is set, what waits, and what the registry says of each."""
        bios, settings = await self._bios("bios.read")
        current = _values(bios)
        waiting = _values(settings) if settings.path != bios.path else {}
        pending = {name: value for name, value in waiting.items() if current.get(name) != value}
        return BiosSettings(current, pending, await self._registry(bios.text("AttributeRegistry")))

    async def plan_bios(self, wanted: Mapping[str, BiosValue]) -> BiosPlan:
        """Say what would be written, and what the registry does not allow. Writes nothing."""
        return plan_bios(await self.bios(), wanted)

    async def set_bios(self, wanted: Mapping[str, BiosValue]) -> None:
        """Write what differs, and read it back as pending (or as set, where the board applies it at once)."""
        verb = "bios.apply"
        plan = plan_bios(await self.bios(), wanted)
        if plan.faults:
            raise BmcUnsupported(f"{self.address}: {verb}: {'; '.join(plan.faults)}", hint="nothing was done")
        if not plan.changes:
            return
        bios, settings = await self._bios(verb)
        body: dict[str, Any] = {"Attributes": dict(plan.changes)}
        times = bios.texts("@Redfish.Settings", "SupportedApplyTimes")
        if "OnReset" in times:
            body["@Redfish.SettingsApplyTime"] = {"ApplyTime": "OnReset"}
        await self.finish_unseen(verb, await self.patch(settings, body))
        after = await self.bios()
        after_all = {**after.current, **after.pending}
        missing = [name for name, value in plan.changes.items() if after_all.get(name) != value]
        if missing:
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but not pending: {', '.join(missing[:8])}")

    async def _bios(self, verb: str) -> tuple[Resource, Resource]:
        bios = await self.child(verb, await self.system(), "Bios")
        return bios, await self.settings_of(bios, "Attributes")

    async def _registry(self, name: str) -> dict[str, BiosAttribute]:
        """Read the registry of attributes; empty where the board has none, or one in a form that we do not read."""
        if not name or not (path := (await self.root()).link("Registries")):
            return {}
        for found in (await self.get(path)).members():
            if name.rsplit(".", 1)[0] in found or name in found:
                for file in await self._readable(found):
                    return _attributes(await self._registry_body(file))
        return {}

    async def _registry_body(self, file: Resource) -> Resource:
        uri = next((uri for place in file.rows("Location") if (uri := place.text("Uri")).startswith("/")), "")
        return next(iter(await self._readable(uri)), Resource("", {})) if uri else file


def _values(resource: Resource) -> dict[str, BiosValue]:
    table = resource.table("Attributes")
    return {name: value for name, value in table.items() if value is None or isinstance(value, str | int | bool)}


def _attributes(registry: Resource) -> dict[str, BiosAttribute]:
    found = (_attribute(one) for one in registry.rows("RegistryEntries", "Attributes"))
    return {attribute.name: attribute for attribute in found if attribute.name}


def _attribute(one: Resource) -> BiosAttribute:
    choices = (value.text("ValueName") for value in one.rows("Value"))
    return BiosAttribute(
        name=one.text("AttributeName"),
        kind=one.text("Type").lower(),
        choices=tuple(choice for choice in choices if choice),
        lowest=_int(one.data.get("LowerBound")),
        highest=_int(one.data.get("UpperBound")),
        longest=_int(one.data.get("MaxLength")),
        read_only=one.data.get("ReadOnly") is True,
    )


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None

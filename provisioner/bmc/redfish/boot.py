"""The boot override by Redfish: written with the version that was read, read back (DSP0268, ComputerSystem.Boot)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner.bmc.quirks import Quirks
from provisioner.bmc.redfish.answers import Resource, clean
from provisioner.bmc.redfish.board import Board
from provisioner.errors import BmcProtocolError, BmcUnsupported
from provisioner.model.bmc import BootOverride, BootTarget

TARGETS = {
    BootTarget.NONE: "None",
    BootTarget.PXE: "Pxe",
    BootTarget.HTTP: "UefiHttp",
    BootTarget.DISK: "Hdd",
    BootTarget.CD: "Cd",
    BootTarget.BIOS_SETUP: "BiosSetup",
}
_TARGET_OF = {name: target for target, name in TARGETS.items()} | {"UsbCd": BootTarget.CD}
VIRTUAL_CD = {"ServerBoot.1.BootOnce": "Enabled", "ServerBoot.1.FirstBootDevice": "VCD-DVD"}
"""Attributes that choose the virtual CD for one boot, on boards with the quirk `virtual_cd_by_attributes`."""

_MODES = {"UEFI": True, "Legacy": False}
NOTHING = BootOverride(BootTarget.NONE, once=False)


class BootVerbs(Board):
    """What the machine boots next, or from now on."""

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set a boot override for the next boot."""
        await self._boot(BootOverride(target, once=True, uefi=uefi, uri=uri))

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set a boot override that stays."""
        await self._boot(BootOverride(target, once=False, uefi=uefi, uri=uri))

    async def boot_override(self) -> BootOverride:
        """Read the boot override."""
        return self._read(await self.settings_of(await self.system(), "Boot"))

    async def boot_targets(self) -> tuple[BootTarget, ...]:
        """List what the board can be told to boot from; nothing where it does not say."""
        quirks = await self.quirks()
        offered = _offered(await self.lately())
        by_attributes = (BootTarget.CD,) if offered and quirks.virtual_cd_by_attributes else ()
        return tuple(
            target for target in TARGETS if _name(target, quirks, offered) in offered or target in by_attributes
        )

    def _read(self, holder: Resource) -> BootOverride:
        boot = Resource("", holder.table("Boot"))
        enabled, name = boot.text("BootSourceOverrideEnabled"), boot.text("BootSourceOverrideTarget")
        if enabled in ("Disabled", "") or name in ("None", ""):
            return NOTHING
        if name not in _TARGET_OF:
            raise BmcProtocolError(f"{self.address}: boot.read: boot source {name[:40]!r} has no meaning to us")
        target = _TARGET_OF[name]
        return BootOverride(
            target,
            once=enabled == "Once",
            uefi=_MODES.get(boot.text("BootSourceOverrideMode")),
            uri=boot.text("HttpBootUri") if target is BootTarget.HTTP else "",
        )

    async def _boot(self, wanted: BootOverride) -> None:
        """Write the override, and read it back."""
        verb = f"boot.{'once' if wanted.once else 'always'}.{wanted.target}"
        quirks = await self.quirks()
        if quirks.virtual_cd_by_attributes and wanted.target is BootTarget.CD:
            await self._boot_virtual_cd(verb, wanted)
            return
        system = await self.lately()
        name = _name(wanted.target, quirks, _offered(system))
        holder = await self.settings_of(system, "Boot")
        self._check_offered(verb, system, name, wanted)
        body = boot_body(holder.table("Boot"), wanted, name)
        if quirks.mode_read_only and wanted.uefi is None:
            body.pop("BootSourceOverrideMode", None)
        await self._write(holder, body, wanted)
        got = self._read(await self.get(holder.path))
        if quirks.once_reads_always:
            got = replace(got, once=wanted.once)
        if not same(wanted, got):
            read = f"{got.target}{' ' + clean(got.uri) if got.uri else ''} ({'once' if got.once else 'always'})"
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but the BMC reads back {read}")

    async def _write(self, holder: Resource, body: dict[str, str | None], wanted: BootOverride) -> None:
        """Write the Boot object; without the mode where a board refuses one that nobody asked to change."""
        try:
            await self.patch(holder, {"Boot": body})
        except BmcUnsupported:
            if wanted.uefi is not None or "BootSourceOverrideMode" not in body:
                raise
            bare = {key: value for key, value in body.items() if key != "BootSourceOverrideMode"}
            await self.patch(await self.get(holder.path), {"Boot": bare})

    async def _boot_virtual_cd(self, verb: str, wanted: BootOverride) -> None:
        """Choose the virtual CD in the manager's attributes, and read it back."""
        if not wanted.once:
            raise self.unsupported(verb, "the virtual CD is booted once only")
        manager = await self.manager(verb)
        attributes = await self.get(manager.path.rstrip("/") + "/Attributes")
        await self.patch(attributes, {"Attributes": VIRTUAL_CD})
        got = (await self.get(attributes.path)).table("Attributes")
        if any(got.get(name) != value for name, value in VIRTUAL_CD.items()):
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but the attributes are as they were")

    def _check_offered(self, verb: str, system: Resource, name: str, wanted: BootOverride) -> None:
        offered = _offered(system)
        if offered and name not in offered and wanted.target is not BootTarget.NONE:
            raise self.lacking(verb, f"the board boots only from {', '.join(offered)}")
        if wanted.uri and "HttpBootUri" not in system.table("Boot"):
            raise self.unsupported(verb, "the board takes no boot URI")


def _name(target: BootTarget, quirks: Quirks, offered: Sequence[str]) -> str:
    """Name a boot source as a board does that lists these, or none: a model's name for it is not every firmware's."""
    by_model = target is BootTarget.CD and (not offered or quirks.cd_name in offered)
    return quirks.cd_name if by_model else TARGETS[target]


def _offered(system: Resource) -> tuple[str, ...]:
    """Return the boot sources that a board lists; nothing where it does not say."""
    return Resource("", system.table("Boot")).texts("BootSourceOverrideTarget@Redfish.AllowableValues")


def boot_body(boot: Mapping[str, Any], wanted: BootOverride, name: str) -> dict[str, str | None]:
    """Write the Boot object. The mode is always sent where the board has one: some reset it when it is left out."""
    if wanted.target is BootTarget.NONE:
        return {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}
    body: dict[str, str | None] = {
        "BootSourceOverrideEnabled": "Once" if wanted.once else "Continuous",
        "BootSourceOverrideTarget": name,
    }
    if wanted.uefi is not None:
        body["BootSourceOverrideMode"] = "UEFI" if wanted.uefi else "Legacy"
    elif mode := Resource("", boot).text("BootSourceOverrideMode"):
        body["BootSourceOverrideMode"] = mode
    if wanted.uri:
        body["HttpBootUri"] = wanted.uri
    elif wanted.target is BootTarget.HTTP and Resource("", boot).text("HttpBootUri"):
        body["HttpBootUri"] = None  # of an earlier boot: left out, that is what would be booted
    return body


def same(wanted: BootOverride, got: BootOverride) -> bool:
    """Say whether a board does what was asked; what it does not tell is not held against it."""
    if wanted.target is BootTarget.NONE or got.target is BootTarget.NONE:
        return wanted.target is got.target
    modes_agree = wanted.uefi is None or got.uefi is None or wanted.uefi is got.uefi
    return (wanted.target, wanted.once) == (got.target, got.once) and modes_agree and wanted.uri == got.uri

"""The Redfish driver: our verbs as reads and writes of one ComputerSystem (DSP0266, DSP0268)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from provisioner.bmc.ensure import PATIENCE, Patience, ensure_power
from provisioner.bmc.quirks import Quirk, Quirks, quirks_of
from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.client import ROOT, RedfishClient
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcProtocolError, BmcUnsupported, BmcWrongState
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Driver, Power

RESET_TYPES = {
    Press.ON: ("On", "ForceOn"),
    Press.OFF: ("ForceOff",),
    Press.SOFT_OFF: ("GracefulShutdown",),
    Press.CYCLE: ("PowerCycle",),
    Press.RESET: ("ForceRestart",),
    Press.NMI: ("Nmi",),
}
"""What names the same effect. A verb is never replaced by another: no PushPowerButton for On."""

POWER_STATES = {
    "On": Power.ON,
    "PoweringOff": Power.ON,  # on its way, not there
    "Paused": Power.ON,
    "Off": Power.OFF,
    "PoweringOn": Power.OFF,
}

TARGETS = {
    BootTarget.NONE: "None",
    BootTarget.PXE: "Pxe",
    BootTarget.HTTP: "UefiHttp",
    BootTarget.DISK: "Hdd",
    BootTarget.CD: "Cd",
    BootTarget.BIOS_SETUP: "BiosSetup",
}
_TARGET_OF = {name: target for target, name in TARGETS.items()}
MAX_412 = 3


class Redfish:
    """One machine by Redfish (`verbs.Bmc`)."""

    def __init__(self, client: RedfishClient, *, quirks: Sequence[Quirk] = (), patience: Patience = PATIENCE) -> None:
        self._client = client
        self._patience = patience
        self._table = quirks
        self._known: Quirks | None = None
        self.pressed_at: float | None = None
        self._system_path = ""

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        return self._client.address

    async def identify(self) -> BmcIdentity:
        """Read the system's identity and the BMC's firmware version."""
        system = await self._system()
        manager = next(iter(Resource("", system.table("Links")).members("ManagedBy")), "")
        firmware = (await self._client.get(manager)).text("FirmwareVersion") if manager else ""
        return BmcIdentity(
            uuid=system.text("UUID").lower(),
            vendor=system.text("Manufacturer"),
            model=system.text("Model"),
            serial=system.text("SerialNumber"),
            firmware=firmware,
        )

    async def power(self) -> Power:
        """Read PowerState."""
        system = await self._system()
        state = system.text("PowerState")
        if state not in POWER_STATES:
            raise BmcProtocolError(f"{self.address}: power.status: PowerState is {state[:40]!r}")
        return POWER_STATES[state]

    async def press(self, press: Press) -> None:
        """Post ComputerSystem.Reset with a type that the board offers."""
        system = await self._system()
        target = system.text("Actions", "#ComputerSystem.Reset", "target")
        if not target:
            raise BmcUnsupported(f"{self.address}: power.{press}: the system has no Reset action")
        offered = await self._reset_types(system)
        kind = next((name for name in RESET_TYPES[press] if not offered or name in offered), "")
        if not kind:
            raise BmcUnsupported(
                f"{self.address}: power.{press}: the board offers only {', '.join(offered)}", hint="nothing was done"
            )
        self.pressed_at = asyncio.get_running_loop().time()
        await self._client.send("POST", target, {"ResetType": kind}, repeat=press in (Press.ON, Press.OFF))

    async def set_power(self, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there."""
        quirks = await self._quirks()
        await ensure_power(self, wanted, replace(self._patience, distrust_s=quirks.distrust_power_s))

    async def reset(self) -> None:
        """Force a restart; a machine that is off stays off, and that is an error."""
        if await self.power() is Power.OFF:
            raise BmcWrongState(f"{self.address}: power.reset: the machine is off", hint="power it on instead")
        await self.press(Press.RESET)

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set a boot override for the next boot."""
        await self._boot(BootOverride(target, once=True, uefi=uefi, uri=uri))

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Set a boot override that stays."""
        await self._boot(BootOverride(target, once=False, uefi=uefi, uri=uri))

    async def boot_override(self) -> BootOverride:
        """Read the boot override."""
        return self._override(await self._boot_holder(await self._system()))

    async def close(self) -> None:
        """End the session."""
        await self._client.close()

    async def _system(self) -> Resource:
        """Read our ComputerSystem; find it first when it is not known yet."""
        if not self._system_path:
            self._system_path = await self._find_system()
        return await self._client.get(self._system_path)

    async def _find_system(self) -> str:
        """Return the path of the system that the address names, or of the only one."""
        root = await self._client.get(ROOT)
        paths = (await self._client.get(root.link("Systems") or ROOT + "Systems")).members()
        if not self.address.system:
            if len(paths) == 1:
                return paths[0]
            names = ", ".join(path.rstrip("/").rsplit("/", 1)[-1] for path in paths[:8]) or "none"
            raise BmcUnsupported(
                f"{self.address}: the service has {len(paths)} systems: {names}", hint="name one: system=ID"
            )
        for path in paths:
            if path.rstrip("/").rsplit("/", 1)[-1] == self.address.system:
                return path
        raise BmcUnsupported(f"{self.address}: the service has no system {self.address.system!r}")

    async def _quirks(self) -> Quirks:
        if self._known is None:
            self._known = quirks_of(self._table, Driver.REDFISH, await self.identify())
        return self._known

    async def _reset_types(self, system: Resource) -> tuple[str, ...]:
        """Return the reset types that the board says it takes; nothing where it does not say."""
        action = "Actions", "#ComputerSystem.Reset"
        if offered := system.texts(*action, "ResetType@Redfish.AllowableValues"):
            return offered
        if not (info := system.text(*action, "@Redfish.ActionInfo")):
            return ()
        for parameter in (await self._client.get(info)).data.get("Parameters") or ():
            if isinstance(parameter, dict) and parameter.get("Name") == "ResetType":
                return Resource("", parameter).texts("AllowableValues")
        return ()

    async def _boot_holder(self, system: Resource) -> Resource:
        """Return the resource whose Boot can be written: the settings object where that has one, else the system."""
        if settings := system.link("@Redfish.Settings", "SettingsObject"):
            holder = await self._client.get(settings)
            if "BootSourceOverrideTarget" in holder.table("Boot"):
                return holder
        return system

    def _override(self, holder: Resource) -> BootOverride:
        boot = holder.table("Boot")
        enabled, name, mode = (str(boot.get(f"BootSourceOverride{key}") or "") for key in ("Enabled", "Target", "Mode"))
        target = _TARGET_OF.get(name)
        if target is None and name and enabled != "Disabled":
            raise BmcProtocolError(f"{self.address}: boot.read: boot source {name[:40]!r} has no meaning to us")
        if enabled == "Disabled" or target in (None, BootTarget.NONE):
            return BootOverride(BootTarget.NONE, once=False)
        assert target is not None
        uri = str(boot.get("HttpBootUri") or "") if target is BootTarget.HTTP else ""
        return BootOverride(target, once=enabled == "Once", uefi={"UEFI": True, "Legacy": False}.get(mode), uri=uri)

    async def _boot(self, wanted: BootOverride) -> None:
        """Write the override, and read it back."""
        verb = f"boot.{'once' if wanted.once else 'always'}.{wanted.target}"
        system = await self._system()
        holder = await self._boot_holder(system)
        self._check_offered(verb, system.table("Boot"), wanted)
        await self._patch(holder, {"Boot": boot_body(holder.table("Boot"), wanted)})
        got = self._override(await self._client.get(holder.path))
        if (await self._quirks()).once_reads_always:
            got = replace(got, once=wanted.once)
        if not _same(wanted, got):
            lasting = "once" if got.once else "always"
            raise BmcProtocolError(f"{self.address}: {verb}: taken, but the BMC reads back {got.target} ({lasting})")

    def _check_offered(self, verb: str, boot: Any, wanted: BootOverride) -> None:
        offered = Resource("", boot).texts("BootSourceOverrideTarget@Redfish.AllowableValues")
        if offered and TARGETS[wanted.target] not in offered and wanted.target is not BootTarget.NONE:
            raise BmcUnsupported(
                f"{self.address}: {verb}: the board boots only from {', '.join(offered)}", hint="nothing was done"
            )
        if wanted.uri and "HttpBootUri" not in boot:
            raise BmcUnsupported(f"{self.address}: {verb}: the board takes no boot URI", hint="nothing was done")

    async def _patch(self, resource: Resource, body: dict[str, Any]) -> None:
        """Change a resource as it is now: If-Match with its version; read again when somebody was faster (412)."""
        etag = resource.etag
        for attempt in range(MAX_412):
            headers = {"If-Match": etag} if etag else {}
            try:
                await self._client.send("PATCH", resource.path, body, headers=headers)
            except BmcWrongState as error:
                if attempt == MAX_412 - 1 or not ("HTTP 412" in error.message or "HTTP 428" in error.message):
                    raise
            else:
                return
            etag = (await self._client.get(resource.path)).etag
            if attempt:  # some boards compare their own weak tags strongly: give them the tag without its mark
                etag = etag.removeprefix("W/")


def boot_body(boot: Any, wanted: BootOverride) -> dict[str, Any]:
    """Write the Boot object. The mode is always sent where the board has one: some reset it when it is left out."""
    if wanted.target is BootTarget.NONE:
        return {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}
    body = {
        "BootSourceOverrideEnabled": "Once" if wanted.once else "Continuous",
        "BootSourceOverrideTarget": TARGETS[wanted.target],
    }
    if wanted.uefi is not None:
        body["BootSourceOverrideMode"] = "UEFI" if wanted.uefi else "Legacy"
    elif mode := Resource("", boot).text("BootSourceOverrideMode"):
        body["BootSourceOverrideMode"] = mode
    if wanted.uri:
        body["HttpBootUri"] = wanted.uri
    return body


def _same(wanted: BootOverride, got: BootOverride) -> bool:
    if wanted.target is BootTarget.NONE or got.target is BootTarget.NONE:
        return wanted.target is got.target
    modes_agree = wanted.uefi is None or got.uefi is None or wanted.uefi is got.uefi
    return (wanted.target, wanted.once) == (got.target, got.once) and modes_agree and wanted.uri in ("", got.uri)

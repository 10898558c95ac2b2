"""Volumes and drives by Redfish (DSP0268: Storage, Volume, Drive). These verbs destroy data."""

from __future__ import annotations

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import Board, last
from provisioner.bmc.redfish.task import starts_task
from provisioner.errors import BmcProtocolError, BmcWrongState
from provisioner.model.board import Volume

ERASE_S = 6 * 3600.0
"""A drive that overwrites itself, 20 TB at 200 MB/s, takes longer still; one that drops its key takes seconds."""


class StorageVerbs(Board):
    """Make and delete volumes, have drives erase themselves."""

    async def volumes(self) -> tuple[Volume, ...]:
        """Return the volumes of every controller."""
        return tuple(_volume(one) for one in await self._volumes("volumes.read"))

    async def create_volume(self, raid: str, drives: tuple[str, ...], name: str = "") -> None:
        """Make a volume of these drives, named by their ids; see it among the volumes."""
        verb = "volumes.create"
        before = {one.path for one in await self._volumes(verb)}
        controller, paths = await self._controller_of(verb, drives)
        if not (collection := controller.link("Volumes")):
            raise self.unsupported(verb, f"controller {last(controller.path)} makes no volumes")
        body = {"RAIDType": raid, "Links": {"Drives": [{"@odata.id": path} for path in paths]}}
        if name:
            body["Name"] = name
        await self.finish_unseen(verb, await self.post(collection, body))

        async def is_there() -> bool:
            return bool({one.path for one in await self._volumes(verb)} - before)

        await self.until(verb, is_there, 60.0, "there is no new volume")

    async def delete_volume(self, volume: str) -> None:
        """Delete a volume and the data on it; see it gone. Gone already is success."""
        verb = "volumes.delete"
        for one in await self._volumes(verb):
            if last(one.path) == volume:
                await self.finish_unseen(verb, await self.delete(one.path))

        async def is_gone() -> bool:
            return all(last(one.path) != volume for one in await self._volumes(verb))

        await self.until(verb, is_gone, 60.0, f"volume {volume} is still there")

    async def erase_drive(self, drive: str) -> None:
        """Have the drive erase itself for good; return when its task has ended well."""
        verb = "drive.erase"
        _, paths = await self._controller_of(verb, (drive,))
        found = await self.get(paths[0])
        holders = [last(one.path) for one in await self._volumes(verb) if paths[0] in _drives(one)]
        if holders:
            raise BmcWrongState(f"{self.address}: {verb}: drive {drive} is part of volume {', '.join(holders)}")
        reply = await self.act(verb, found, "Drive.SecureErase")
        if starts_task(reply):
            await self.finish(verb, reply, ERASE_S)
        else:
            await self._see_erased(verb, found)

    async def _see_erased(self, verb: str, drive: Resource) -> None:
        """Wait for a drive without a task: its operations run out. An erase that nobody confirms did not happen."""

        async def is_over() -> bool:
            now = await self.get(drive.path)
            if now.text("Status", "Health") == "Critical":
                raise BmcProtocolError(f"{self.address}: {verb}: the drive failed")
            return not now.data.get("Operations")

        await self.until(verb, is_over, ERASE_S, "the drive is still at it")

    async def _controllers(self, verb: str) -> list[Resource]:
        system = await self.system()
        if not (path := system.link("Storage")):
            raise self.unsupported(verb, "the system names no storage")
        return await self.each(path)

    async def _volumes(self, verb: str) -> list[Resource]:
        links = [one.link("Volumes") for one in await self._controllers(verb)]
        return [volume for link in links if link for volume in await self.each(link)]

    async def _controller_of(self, verb: str, drives: tuple[str, ...]) -> tuple[Resource, tuple[str, ...]]:
        """Return the one controller that has all these drives, and their paths."""
        if not drives:
            raise self.unsupported(verb, "no drive was named")
        for controller in await self._controllers(verb):
            paths = {last(path): path for path in controller.members("Drives")}
            if all(drive in paths for drive in drives):
                return controller, tuple(paths[drive] for drive in drives)
        raise BmcWrongState(f"{self.address}: {verb}: no controller has the drives {', '.join(drives)}")


def _drives(volume: Resource) -> tuple[str, ...]:
    return Resource("", volume.table("Links")).members("Drives")


def _volume(one: Resource) -> Volume:
    size = one.data.get("CapacityBytes")
    return Volume(
        id=last(one.path),
        name=one.text("Name"),
        raid=one.text("RAIDType") or one.text("VolumeType"),
        size_bytes=size if isinstance(size, int) else 0,
        drives=tuple(last(path) for path in _drives(one)),
    )

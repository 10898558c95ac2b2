"""Volumes and drives by Redfish (DSP0268: Storage, Volume, Drive). These verbs destroy data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import MAX_MEMBERS, Board, last
from provisioner.bmc.redfish.task import starts_task
from provisioner.bmc.table import VERBS
from provisioner.errors import BmcProtocolError, BmcWrongState
from provisioner.model.board import Volume

Read = Callable[[str], Awaitable[list[Resource]]]
"""Reads a collection: `Board.each`, or `Board.every` where what cannot be read may not be touched."""


class StorageVerbs(Board):
    """Make and delete volumes, have drives erase themselves."""

    async def volumes(self) -> tuple[Volume, ...]:
        """Return the volumes of every controller."""
        controllers = await self._controllers("volumes.read", self.each)
        return tuple([_volume(holder, one) for holder in controllers for one in await self._volumes(holder, self.each)])

    async def create_volume(self, raid: str, drives: tuple[str, ...], name: str = "") -> None:
        """Make a volume of these drives of one controller; see it among the volumes."""
        verb = "volumes.create"
        controllers = await self._controllers(verb)
        before = await self._volume_paths(controllers)
        controller, paths = self._controller_of(verb, controllers, drives)
        if not (collection := controller.link("Volumes")):
            raise self.unsupported(verb, f"controller {last(controller.path)} makes no volumes")
        body = {"RAIDType": raid, "Links": {"Drives": [{"@odata.id": path} for path in paths]}}
        if name:
            body["Name"] = name
        await self.finish_unseen(verb, await self.post(collection, body))

        async def is_there() -> bool:
            return bool((await self._volume_paths(controllers)).keys() - before.keys())

        await self.until(verb, is_there, 60.0, "there is no new volume")

    async def delete_volume(self, volume: str) -> None:
        """Delete a volume and the data on it; see it gone. Gone already is success."""
        verb = "volumes.delete"
        controllers = await self._controllers(verb)
        found = await self._volume_paths(controllers)
        meant = [path for path, controller in found.items() if _is_meant(volume, controller, path)]
        if len(meant) > 1:
            raise self._ambiguous(verb, f"volume {volume}", meant)
        for path in meant:
            await self.finish_unseen(verb, await self.delete(path))

        async def is_gone() -> bool:
            return (await self._volume_paths(controllers)).keys().isdisjoint(meant)

        await self.until(verb, is_gone, 60.0, f"volume {volume} is still there")

    async def erase_drive(self, drive: str) -> None:
        """Have the drive erase itself for good; return when its task has ended well."""
        verb = "drive.erase"
        controllers = await self._controllers(verb)
        _, paths = self._controller_of(verb, controllers, (drive,))
        found = await self.get(paths[0])
        holders = [
            _name(holder, one.path)
            for holder in controllers
            for one in await self._volumes(holder, self.every)
            if paths[0] in _drives(one)
        ]
        if holders:
            raise BmcWrongState(f"{self.address}: {verb}: drive {drive} is part of volume {', '.join(holders)}")
        reply = await self.act(verb, found, "Drive.SecureErase")
        if starts_task(reply):
            await self.finish(verb, reply)
        else:
            await self._see_erased(verb, found)

    async def _see_erased(self, verb: str, drive: Resource) -> None:
        """Wait for a drive without a task: its operations run out. An erase that nobody confirms did not happen."""

        async def is_over() -> bool:
            now = await self.get(drive.path)
            if now.text("Status", "Health") == "Critical":
                raise BmcProtocolError(f"{self.address}: {verb}: the drive failed")
            return not now.data.get("Operations")

        await self.until(verb, is_over, VERBS[verb].end_s, "the drive is still at it")

    async def _controllers(self, verb: str, read: Read | None = None) -> list[Resource]:
        system = await self.system()
        if not (path := system.link("Storage")):
            raise self.unsupported(verb, "the system names no storage")
        return await (read or self.every)(path)

    async def _volumes(self, controller: Resource, read: Read) -> list[Resource]:
        return await read(path) if (path := controller.link("Volumes")) else []

    async def _volume_paths(self, controllers: Sequence[Resource]) -> dict[str, Resource]:
        """List the paths of all volumes, each with its controller."""

        async def listed(path: str) -> list[Resource]:
            return await self.listed(path, MAX_MEMBERS)

        return {one.path: holder for holder in controllers for one in await self._volumes(holder, listed)}

    def _controller_of(
        self, verb: str, controllers: Sequence[Resource], drives: tuple[str, ...]
    ) -> tuple[Resource, tuple[str, ...]]:
        """Return the one controller that has all these drives, and their paths."""
        if not drives:
            raise self.unsupported(verb, "no drive was named")
        able = [one for one in controllers if all(_meant_drives(one, drive) for drive in drives)]
        if not able:
            raise BmcWrongState(f"{self.address}: {verb}: no controller has the drives {', '.join(drives)}")
        for drive in drives:
            if len(paths := [path for one in able for path in _meant_drives(one, drive)]) > 1:
                raise self._ambiguous(verb, f"drive {drive}", paths)
        return able[0], tuple(_meant_drives(able[0], drive)[0] for drive in drives)

    def _ambiguous(self, verb: str, what: str, paths: Sequence[str]) -> BmcWrongState:
        return BmcWrongState(
            f"{self.address}: {verb}: {what} may be {' or '.join(paths)}", hint="nothing was done: name one by its path"
        )


def _name(controller: Resource, path: str) -> str:
    """Name a volume or drive: its id is unique beside those of its controller only."""
    return f"{last(controller.path)}/{last(path)}"


def _is_meant(wanted: str, controller: Resource, path: str) -> bool:
    """Say whether somebody means this one: by its path, by its name, or by its id alone."""
    return wanted in (path, _name(controller, path), last(path))


def _meant_drives(controller: Resource, wanted: str) -> list[str]:
    paths = controller.members("Drives")
    return [path for path in paths if _is_meant(wanted, controller, path)]


def _drives(volume: Resource) -> tuple[str, ...]:
    return Resource("", volume.table("Links")).members("Drives")


def _volume(controller: Resource, one: Resource) -> Volume:
    size = one.data.get("CapacityBytes")
    return Volume(
        id=_name(controller, one.path),
        name=one.text("Name"),
        raid=one.text("RAIDType") or one.text("VolumeType"),
        size_bytes=size if isinstance(size, int) else 0,
        drives=tuple(last(path) for path in _drives(one)),
    )

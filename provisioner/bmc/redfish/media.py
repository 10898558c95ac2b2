"""Virtual media by Redfish: an image from a URI in a virtual drive (DSP0268, VirtualMedia)."""

from __future__ import annotations

from functools import partial

from provisioner.bmc.redfish.answers import Resource
from provisioner.bmc.redfish.board import Board
from provisioner.errors import BmcUnsupported, BmcWrongState
from provisioner.model.board import MediaSlot

SETTLE_S = 60.0
"""Boards mount an image after they have answered; a minute was the longest seen on a slow link."""

CD_KINDS = frozenset({"CD", "DVD"})


class MediaVerbs(Board):
    """Insert, eject and look at images."""

    async def media(self) -> tuple[MediaSlot, ...]:
        """Return the virtual drives."""
        return tuple(_slot(found) for found in await self._drives("vmedia.status"))

    async def insert_media(self, uri: str) -> None:
        """Put the image into a free drive that takes CDs, and see it there. There already is success."""
        verb = "vmedia.insert"
        drives = [drive for drive in await self._drives(verb) if CD_KINDS & set(_slot(drive).kinds)]
        if not drives:
            raise self.unsupported(verb, "the board has no virtual drive for CDs")
        if any(_holds(_slot(drive), uri) for drive in drives):
            return
        free = next((drive for drive in drives if not _slot(drive).inserted), None)
        if free is None:
            held = ", ".join(_slot(drive).image or "an image" for drive in drives)
            raise BmcWrongState(f"{self.address}: {verb}: the drives hold {held}", hint="eject first")
        await self._insert(verb, free, uri)
        await self.until(verb, partial(self._is_in, free.path, uri), SETTLE_S, "the image is not in the drive")

    async def eject_media(self) -> None:
        """Empty every drive, and see them empty."""
        verb = "vmedia.eject"
        for drive in await self._drives(verb):
            if _slot(drive).inserted:
                await self._eject(verb, drive)
                await self.until(verb, partial(self._is_empty, drive.path), SETTLE_S, "the drive is not empty")

    async def _drives(self, verb: str) -> list[Resource]:
        """Find the virtual drives: at the system (DSP0268 since 2021.1), or at its manager."""
        system = await self.system()
        where = system.link("VirtualMedia") or (await self.manager(verb)).link("VirtualMedia")
        if not where:
            raise self.unsupported(verb, "the board has no virtual media")
        return await self.each(where)

    async def _insert(self, verb: str, drive: Resource, uri: str) -> None:
        """Insert by action; by PATCH where there is none.

        Boards that know no options get only the image, boards that want to be told the protocol are told it.
        """
        action = "VirtualMedia.InsertMedia"
        if not drive.text("Actions", f"#{action}", "target"):
            await self.patch(drive, {"Image": uri, "Inserted": True})
            return
        protocol = {"TransferProtocolType": uri.partition(":")[0].upper(), "TransferMethod": "Stream"}
        attempts: tuple[dict[str, object], ...] = ({"Inserted": True, "WriteProtected": True}, {}, {**protocol})
        for number, options in enumerate(attempts, 1):
            try:
                reply = await self.act(verb, drive, action, {"Image": uri, **options})
            except BmcUnsupported:
                if number == len(attempts):
                    raise
            else:
                await self.finish_unseen(verb, reply, SETTLE_S)
                return

    async def _eject(self, verb: str, drive: Resource) -> None:
        if not drive.text("Actions", "#VirtualMedia.EjectMedia", "target"):
            await self.patch(drive, {"Image": None, "Inserted": False})
            return
        await self.finish_unseen(verb, await self.act(verb, drive, "VirtualMedia.EjectMedia", repeat=True), SETTLE_S)

    async def _is_in(self, path: str, uri: str) -> bool:
        return _holds(_slot(await self.get(path)), uri)

    async def _is_empty(self, path: str) -> bool:
        return not _slot(await self.get(path)).inserted


def _slot(drive: Resource) -> MediaSlot:
    """Read one drive. Some boards leave the image's name when it is out, some have no Inserted: both say it is in."""
    image = drive.text("Image")
    inserted = drive.data.get("Inserted")
    return MediaSlot(
        id=drive.text("Id"),
        kinds=drive.texts("MediaTypes"),
        image=image,
        inserted=bool(image) if inserted is None else inserted is True,
    )


def _holds(slot: MediaSlot, uri: str) -> bool:
    """Say whether the image is in. Boards that hide or shorten the URI still show its last part."""
    return slot.inserted and (slot.image == uri or slot.image.endswith("/" + uri.rsplit("/", 1)[-1]))

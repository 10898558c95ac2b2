"""Virtual media: an image goes in, is seen there, and comes out; boards differ in how they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.redfish import media as media_module
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.redfish.media import MediaVerbs
from provisioner.errors import BmcTimeout, BmcUnsupported, BmcWrongState
from provisioner.model.board import MediaSlot
from tests.bmc.redfish.service import SYSTEM, Service, complains

DRIVES = "/redfish/v1/Managers/1/VirtualMedia"
CD, FLOPPY = f"{DRIVES}/Cd", f"{DRIVES}/Floppy"
URI = "https://192.0.2.1/node17.iso"


@pytest.fixture(autouse=True)
def with_drives(board: Service) -> None:
    """Give the manager two virtual drives, of which one takes CDs."""
    board.resources["/redfish/v1/Managers/1"]["VirtualMedia"] = {"@odata.id": DRIVES}
    board.resources[DRIVES] = {"Members": [{"@odata.id": FLOPPY}, {"@odata.id": CD}]}
    board.resources[FLOPPY] = {"Id": "Floppy", "MediaTypes": ["Floppy"], "Inserted": False, "Image": None}
    board.resources[CD] = drive()
    board.actions[f"{CD}/Insert"] = lambda body: board.resources[CD].update(Inserted=True, Image=body["Image"])
    board.actions[f"{CD}/Eject"] = lambda _: board.resources[CD].update(Inserted=False, Image=None)


def drive(**changes: Any) -> dict[str, Any]:
    return {
        "Id": "Cd",
        "MediaTypes": ["CD", "DVD"],
        "Inserted": False,
        "Image": None,
        "Actions": {
            "#VirtualMedia.InsertMedia": {"target": f"{CD}/Insert"},
            "#VirtualMedia.EjectMedia": {"target": f"{CD}/Eject"},
        },
    } | changes


async def test_in_and_out(board: Service, bmc: Redfish) -> None:
    await bmc.insert_media(URI)
    assert MediaSlot("Cd", ("CD", "DVD"), URI, inserted=True) in await bmc.media()
    await bmc.insert_media(URI)  # there already is success
    assert board.bodies == [{"Image": URI, "Inserted": True, "WriteProtected": True}]
    await bmc.eject_media()
    assert not any(slot.inserted for slot in await bmc.media())
    await bmc.eject_media()
    assert len(board.bodies) == 2, "an empty drive is not ejected"


async def test_a_drive_that_holds_another_image_is_not_emptied_by_surprise(board: Service, bmc: Redfish) -> None:
    board.resources[CD] = drive(Inserted=True, Image="https://192.0.2.1/other.iso")
    with pytest.raises(BmcWrongState, match=r"other\.iso.*eject first"):
        await bmc.insert_media(URI)
    assert board.bodies == []


async def test_a_board_without_actions_is_patched(board: Service, bmc: Redfish) -> None:
    board.resources[CD] = drive(Actions={})
    await bmc.insert_media(URI)
    await bmc.eject_media()
    assert board.bodies == [{"Image": URI, "Inserted": True}, {"Image": None, "Inserted": False}]


async def test_a_board_that_knows_no_options_gets_only_the_image(board: Service, bmc: Redfish) -> None:
    board.next(f"POST {CD}/Insert", complains(400, "Base.1.8.ActionParameterUnknown"))
    await bmc.insert_media(URI)
    assert board.bodies == [{"Image": URI}]


async def test_a_board_that_wants_to_be_told_the_protocol(board: Service, bmc: Redfish) -> None:
    board.next(f"POST {CD}/Insert", *[complains(400, "Base.1.8.ActionParameterMissing")] * 2)
    await bmc.insert_media(URI)
    assert board.bodies == [{"Image": URI, "TransferProtocolType": "HTTPS", "TransferMethod": "Stream"}]
    board.resources[CD] = drive()
    board.next(f"POST {CD}/Insert", *[complains(400, message="No.")] * 3)
    with pytest.raises(BmcUnsupported, match=r"No\."):
        await bmc.insert_media(URI)


async def test_drives_at_the_system(board: Service, bmc: Redfish) -> None:
    board.resources["/redfish/v1/Managers/1"].pop("VirtualMedia")
    board.system["VirtualMedia"] = {"@odata.id": DRIVES}
    assert len(await bmc.media()) == 2


async def test_no_drives(board: Service, bmc: Redfish) -> None:
    board.resources["/redfish/v1/Managers/1"].pop("VirtualMedia")
    with pytest.raises(BmcUnsupported, match="no virtual media"):
        await bmc.media()


async def test_no_drive_for_cds(board: Service, bmc: Redfish) -> None:
    board.resources[DRIVES]["Members"].pop()
    with pytest.raises(BmcUnsupported, match="no virtual drive for CDs"):
        await bmc.insert_media(URI)


@pytest.mark.looptime
async def test_media_that_never_ejects_is_said_within_a_minute() -> None:
    stuck = Stuck()
    with pytest.raises(BmcTimeout, match=r"vmedia\.eject: the BMC took it, but the drive is not empty within 60 s"):
        await stuck.eject_media()
    assert stuck.ejected == 1


class Stuck(MediaVerbs):
    """A drive whose image stays in, without a network in between."""

    def __init__(self) -> None:
        self.ejected = 0

    address = "redfish://stuck"  # type: ignore[assignment]

    async def _drives(self, verb: str) -> list[Any]:
        return [media_module.Resource(CD, drive(Inserted=True, Image=URI))]

    async def get(self, path: str) -> Any:
        return media_module.Resource(path, drive(Inserted=True, Image=URI))

    async def _eject(self, verb: str, drive: Any) -> None:
        self.ejected += 1


SLOTS = {
    "no Inserted, an image": (drive(Inserted=None, Image=URI), True),
    "no Inserted, no image": (drive(Inserted=None), False),
    "a name left behind": (drive(Inserted=False, Image=URI), False),
    "nonsense": (drive(Inserted="yes", Image=7), False),
}


@pytest.mark.parametrize(("held", "inserted"), SLOTS.values(), ids=SLOTS.keys())
async def test_slots(board: Service, bmc: Redfish, held: dict[str, Any], inserted: bool) -> None:
    board.resources[CD] = held
    slot = next(slot for slot in await bmc.media() if slot.id == "Cd")
    assert slot.inserted is inserted
    assert SYSTEM

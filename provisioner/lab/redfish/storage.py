"""Storage: drives that can erase themselves, volumes made of them (DSP0268: Storage, Drive, Volume). No I/O."""

from __future__ import annotations

from provisioner.lab.board import Board
from provisioner.lab.redfish.answer import Answer, Body, Refusal
from provisioner.lab.redfish.media import begun
from provisioner.lab.redfish.resources import STATUS, SYSTEM, collection, identity_of, link, resource
from provisioner.lab.settings import Volume

STORAGE = f"{SYSTEM}/Storage/1"
DRIVES = f"{STORAGE}/Drives"
VOLUMES = f"{STORAGE}/Volumes"
RAIDS = {"RAID0": 1, "RAID1": 2, "RAID5": 3, "RAID6": 4, "RAID10": 4}
"""RAID types, and how many drives each needs."""


def drive_numbers(board: Board) -> list[str]:
    return [str(at + 1) for at in range(identity_of(board).disks)]


def drive(board: Board, number: str) -> Body | None:
    if number not in drive_numbers(board):
        return None
    identity = identity_of(board)
    holders = [link(f"{VOLUMES}/{one.number}") for one in board.settings.volumes.values() if number in one.drives]
    return resource(
        f"{DRIVES}/{number}", "Drive.v1_17_0.Drive", f"Disk {number}",
        CapacityBytes=identity.disk_bytes, SerialNumber=f"{identity.serial}-D{int(number) - 1}", MediaType="SSD",
        Protocol="PCIe", Manufacturer=identity.vendor, Model="Virtual Disk", Status=STATUS, Links={"Volumes": holders},
        Actions={"#Drive.SecureErase": {"target": f"{DRIVES}/{number}/Actions/Drive.SecureErase"}},
    )  # fmt: skip


def storage(board: Board) -> Body:
    drives = [link(f"{DRIVES}/{number}") for number in drive_numbers(board)]
    rest = {"Drives": drives, "Drives@odata.count": len(drives), "Volumes": link(VOLUMES), "Status": STATUS}
    return resource(STORAGE, "Storage.v1_15_0.Storage", "Storage", **rest)


def volumes(board: Board) -> Body:
    return collection(VOLUMES, "Volume", list(board.settings.volumes))


def volume(board: Board, number: str) -> Body | None:
    found = board.settings.volumes.get(number)
    if found is None:
        return None
    size = identity_of(board).disk_bytes * (1 if found.raid == "RAID1" else len(found.drives))
    return resource(
        f"{VOLUMES}/{number}", "Volume.v1_10_0.Volume", found.name,
        RAIDType=found.raid, CapacityBytes=size, Status=STATUS,
        Links={"Drives": [link(f"{DRIVES}/{one}") for one in found.drives]},
    )  # fmt: skip


def create_volume(board: Board, body: Body) -> Answer:
    """A volume of drives that no other has."""
    raid, listed = body.get("RAIDType"), body.get("Links")
    if raid not in RAIDS:
        raise Refusal(400, "PropertyValueNotInList", f"RAIDType is one of {', '.join(RAIDS)}.")
    links = listed.get("Drives") if isinstance(listed, dict) else None
    if not isinstance(links, list) or not all(isinstance(one, dict) for one in links):
        raise Refusal(400, "PropertyMissing", "Links.Drives is needed.")
    drives = tuple(str(one.get("@odata.id", "")).rsplit("/", 1)[-1] for one in links)
    if set(drives) - set(drive_numbers(board)) or len(drives) < RAIDS[raid]:
        raise Refusal(400, "PropertyValueConflict", f"{raid} takes {RAIDS[raid]} drives of this machine or more.")
    if any(set(drives) & set(one.drives) for one in board.settings.volumes.values()):
        raise Refusal(409, "ResourceInUse", "A drive is part of another volume.")
    number = board.settings.number()
    board.settings.volumes[number] = Volume(number, str(body.get("Name") or f"Volume {number}"), raid, drives)
    return Answer(201, volume(board, number), {"Location": f"{VOLUMES}/{number}"})


def delete_volume(board: Board, number: str) -> Answer:
    del board.settings.volumes[number]
    return Answer(204)


def erase(board: Board, number: str) -> Answer:
    """Drive.SecureErase, in a task."""
    if any(number in one.drives for one in board.settings.volumes.values()):
        raise Refusal(409, "ResourceInUse", "The drive is part of a volume.")
    board.settings.erased.append(number)
    return begun(board)

"""What transfers read from is there once, however many ask, in either mode."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.boot.files import ServedFile
from provisioner.tftp.content import Contents, in_mode
from provisioner.tftp.netascii import MAX_BYTES
from provisioner.tftp.packet import Mode
from tests.tftp.conftest import put

TEXT = b"a line\n" * 5000


async def get(contents: Contents, file: ServedFile, mode: Mode, clients: int) -> list[memoryview | OSError]:
    """What so many clients get that ask at the same moment."""
    given: list[memoryview | OSError] = []
    all_given = asyncio.Event()

    def opened(content: memoryview | OSError) -> None:
        given.append(content)
        if len(given) == clients:
            all_given.set()

    for _ in range(clients):
        contents.get(file, mode, opened)
    async with asyncio.timeout(10):
        await all_given.wait()
    return given


SENT = {Mode.OCTET: TEXT, Mode.NETASCII: TEXT.replace(b"\n", b"\r\n")}


@pytest.mark.parametrize("mode", SENT)
async def test_all_who_ask_share_one_copy(tmp_path: Path, mode: Mode) -> None:
    contents, file = Contents(), put(tmp_path, "text", TEXT)
    given = await get(contents, file, mode, 40) + await get(contents, file, mode, 40)
    assert given[0] == SENT[mode]
    assert len({id(content) for content in given}) == 1


async def test_each_mode_has_its_own(tmp_path: Path) -> None:
    contents, file = Contents(), put(tmp_path, "text", TEXT)
    for mode in (*SENT, *SENT):
        assert await get(contents, file, mode, 1) == [SENT[mode]]


MODES = {
    "octet of any size": (Mode.OCTET, MAX_BYTES + 1, True),
    "netascii as much as may be": (Mode.NETASCII, MAX_BYTES, True),
    "netascii of more": (Mode.NETASCII, MAX_BYTES + 1, False),
}


@pytest.mark.parametrize(("mode", "size", "sent"), MODES.values(), ids=MODES.keys())
def test_in_mode(mode: Mode, size: int, sent: bool) -> None:
    assert isinstance(in_mode(mode, memoryview(bytes(size))), memoryview) is sent


@pytest.mark.parametrize("mode", SENT)
async def test_faults_are_told_to_all_and_not_kept(tmp_path: Path, mode: Mode) -> None:
    contents, file = Contents(), put(tmp_path, "text", TEXT)
    moved = file.path.rename(tmp_path / "away")
    assert all(isinstance(content, OSError) for content in await get(contents, file, mode, 3))
    moved.rename(file.path)
    assert await get(contents, file, mode, 1) == [SENT[mode]]

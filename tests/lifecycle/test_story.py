"""A story finds in its lines what a search of all of them would, and goes through them no more than twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.lifecycle.diagnoses import DIAGNOSES
from provisioner.lifecycle.story import Story
from provisioner.lifecycle.symptoms import _GOES_ON, _WORDS, CONSOLE
from provisioner.model.machine import Failure, Machine, State
from provisioner.model.trace import Channel, TraceLine
from tests.lifecycle.test_steps import at_step

MACHINE = Machine("m1", "node17", State.DEPLOYING)
SHOWS = [
    "Kernel panic - not syncing", "Out of memory: killed", "Initramfs unpacking failed: write error", "grub rescue> ",
    "No bootable device", "insert boot media", "UEFI Interactive Shell v2", "VFS: unable to mount root fs",
    "ALERT! UUID=1 does not exist", "Gave up waiting for root", "GRUB loading.", "Booting `Debian'", "Linux version 6",
    "Welcome to Debian!", "[ OK ] Reached target Basic System", "node17 login: ", "İstanbul", "",
]  # fmt: skip
LINES = st.lists(
    st.sampled_from(SHOWS).map(lambda text: text.swapcase()) | st.sampled_from(SHOWS) | st.text(max_size=9)
)


def printed(texts: list[str]) -> list[TraceLine]:
    return [TraceLine(at, Channel.CONSOLE, "console.line", text) for at, text in enumerate(texts)]


@pytest.mark.parametrize(("kind", "pattern"), (CONSOLE | _GOES_ON).items())
@given(texts=LINES)
def test_a_console_shows_what_a_search_of_each_line_does(kind: str, pattern: str, texts: list[str]) -> None:
    found = Story(MACHINE, printed(texts), 0.0).console(pattern, *_WORDS[kind])
    assert found == [at for at, text in enumerate(texts) if re.search(pattern, text, re.IGNORECASE)]


def told(at: float, event: str, text: str = "") -> TraceLine:
    return TraceLine(at, Channel.CONSOLE if event.startswith("console") else Channel.DHCP, event, text)


TOLD = [told(1, "dhcp.ack", "a"), told(2, "console.line", "dhcp"), told(3, "dhcp6.reply"), told(4, "dhcp.ackless", "B")]
FINDS: dict[str, tuple[str, str, float, list[int]]] = {
    "by its first word": ("dhcp.", "", 0.0, [0, 3]),
    "by how it begins": ("dhcp.ack", "", 0.0, [0, 3]),
    "by how its first word begins": ("dhcp", "", 0.0, [0, 2, 3]),
    "anything, but for the console": ("", "", 0.0, [0, 2, 3]),
    "by its text": ("dhcp.", "b", 0.0, [3]),
    "not before a time": ("dhcp.", "", 2.5, [3]),
    "from a time on": ("dhcp", "", 3.0, [2, 3]),
    "nothing": ("tftp.", "", 0.0, []),
}


@pytest.mark.parametrize(("event", "pattern", "after", "found"), FINDS.values(), ids=FINDS.keys())
def test_what_is_found(event: str, pattern: str, after: float, found: list[int]) -> None:
    assert Story(MACHINE, TOLD, 9.0).find(event, pattern, after) == [TOLD[at] for at in found]


class Counted(list[TraceLine]):
    """Lines that count how often somebody goes through them."""

    times = 0

    def __iter__(self) -> Iterator[TraceLine]:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("step", ["wait.dhcp", "wait.facts", "wait.job", "wait.phone-home"])
@pytest.mark.parametrize("failed", [False, True], ids=["under way", "failed"])
def test_all_diagnoses_together_go_through_the_lines_twice(step: str, failed: bool) -> None:
    """A machine with a console has thousands, and whoever asks why has DHCP wait meanwhile."""
    machine = at_step(step)
    if failed:
        machine = replace(machine, failure=Failure("status 1: failed", "install", 90.0, State.READY))
    lines = Counted([*printed(SHOWS), TraceLine(90.0, Channel.AGENT, "agent.log", "E: it failed")])
    story = Story(machine, lines, 2000.0)
    for diagnosis in DIAGNOSES:
        diagnosis.test(story)
    assert lines.times <= 2

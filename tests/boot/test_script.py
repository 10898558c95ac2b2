"""Boot scripts hold what the record says and nothing that a value could add."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.script import BootRecord, ipxe, ipxe_local
from provisioner.catalog.kernelargs import check_line
from provisioner.errors import RenderError

RECORD = BootRecord(
    "discovery for node17",
    "http://10.77.0.1:8080/artifacts/discovery/kernel",
    ("http://10.77.0.1:8080/artifacts/discovery/initrd",),
    "console=ttyS0,115200 provisioner.url=http://10.77.0.1:8080",
)


def test_ipxe() -> None:
    assert ipxe(RECORD) == (
        "#!ipxe\n"
        "echo provisioner: discovery for node17\n"
        "set tries:int32 0\n"
        ":again\n"
        "imgfree\n"
        "kernel http://10.77.0.1:8080/artifacts/discovery/kernel"
        " initrd=initrd console=ttyS0,115200 provisioner.url=http://10.77.0.1:8080 || goto retry\n"
        "initrd --name initrd http://10.77.0.1:8080/artifacts/discovery/initrd || goto retry\n"
        "boot || goto retry\n"
        ":retry\n"
        "echo provisioner: fetch or start failed\n"
        "sleep 3\n"
        "inc tries\n"
        "iseq ${tries} 20 || goto again\n"
        "exit 1\n"
    )


def test_ipxe_leaves_the_network() -> None:
    assert ipxe_local("node17 is active") == (
        "#!ipxe\n"
        "echo provisioner: node17 is active\n"
        "iseq ${platform} efi && exit 1 ||\n"
        "sanboot --no-describe --drive 0x80 || exit 1\n"
    )


@given(st.text(), st.text())
def test_whatever_the_title_and_arguments_the_script_has_the_same_commands(title: str, args: str) -> None:
    try:
        args = check_line(args)
    except RenderError:
        return
    script = ipxe(BootRecord(title, "http://10.0.0.1/k", ("http://10.0.0.1/i",), args))
    plain = ipxe(BootRecord("", "http://10.0.0.1/k", ("http://10.0.0.1/i",)))
    assert [commands(line) for line in script.splitlines()] == [commands(line) for line in plain.splitlines()]


def commands(line: str) -> list[str]:
    """The commands of one line as iPXE splits it: at words of punctuation."""
    words = line.split(" ")
    return [words[0], *(after for at, after in pairwise(words) if at in ("||", "&&", ";"))]

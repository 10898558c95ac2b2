"""Boot scripts hold what the record says and nothing that a value could add."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.script import BootRecord, ipxe, ipxe_local, kernel_arguments
from provisioner.errors import RenderError

RECORD = BootRecord(
    "discovery for node17",
    "http://10.77.0.1:8080/artifacts/discovery/kernel",
    ("http://10.77.0.1:8080/artifacts/discovery/initrd",),
    ("console=ttyS0,115200", "provisioner.url=http://10.77.0.1:8080"),
)


def test_ipxe() -> None:
    assert ipxe(RECORD) == (
        "#!ipxe\n"
        "echo provisioner: discovery for node17\n"
        "set tries:int32 3\n"
        ":again\n"
        "imgfree\n"
        "kernel http://10.77.0.1:8080/artifacts/discovery/kernel"
        " initrd=initrd console=ttyS0,115200 provisioner.url=http://10.77.0.1:8080 || goto retry\n"
        "initrd --name initrd http://10.77.0.1:8080/artifacts/discovery/initrd || goto retry\n"
        "boot || goto retry\n"
        ":retry\n"
        "echo provisioner: fetch or start failed\n"
        "sleep 3\n"
        "dec tries\n"
        "iseq ${tries} 0 || goto again\n"
        "exit 1\n"
    )


def test_ipxe_leaves_the_network() -> None:
    assert ipxe_local("node17 is active") == (
        "#!ipxe\n"
        "echo provisioner: node17 is active\n"
        "iseq ${platform} efi && exit 1 ||\n"
        "sanboot --no-describe --drive 0x80 || exit 1\n"
    )


@pytest.mark.parametrize(
    "bad", ["a'b", 'a"b', "a\\b", "${x}", "a`b`", "$(id)", "x{{y}}", "caf\u00e9", "a\x00b", "||", "&&", ";"]
)
def test_a_kernel_argument_that_a_loader_would_interpret_is_refused(bad: str) -> None:
    with pytest.raises(RenderError, match="kernel argument"):
        kernel_arguments(f"quiet {bad}")


@given(st.text())
def test_whatever_the_arguments_the_script_has_one_kernel_line(text: str) -> None:
    try:
        arguments = kernel_arguments(text)
    except RenderError:
        return
    script = ipxe(BootRecord(text, "http://10.0.0.1/k", ("http://10.0.0.1/i",), arguments))
    assert [line.split(" ")[0] for line in script.splitlines()] == [
        line.split(" ")[0] for line in ipxe(BootRecord("", "http://10.0.0.1/k", ("http://10.0.0.1/i",))).splitlines()
    ]

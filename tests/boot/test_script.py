"""Boot scripts hold what the record says and nothing that a value could add."""

from __future__ import annotations

import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.boot.script import BootRecord, Dialect, grub, ipxe, ipxe_local, leave, pxelinux, write
from provisioner.catalog.kernelargs import check_line
from provisioner.errors import RenderError
from provisioner.model.boot import OnDisk, efi_mark

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


def test_grub_by_http() -> None:
    lines = grub(RECORD).splitlines()
    assert lines[0] == "echo 'provisioner: discovery for node17'"
    assert lines[1].startswith("for try in 1 2 3 ")
    assert lines[2] == (
        "  if linux '(http,10.77.0.1:8080)/artifacts/discovery/kernel'"
        " 'console=ttyS0,115200' 'provisioner.url=http://10.77.0.1:8080';"
        " then if initrd '(http,10.77.0.1:8080)/artifacts/discovery/initrd'; then boot; fi; fi"
    )
    assert lines[-1] == "exit 1"


def test_grub_by_tftp_asks_for_the_same_paths() -> None:
    script = grub(RECORD, by_tftp=True)
    assert "linux '(tftp,10.77.0.1)/artifacts/discovery/kernel'" in script
    assert "initrd '(tftp,10.77.0.1)/artifacts/discovery/initrd'" in script


def test_grub_without_an_initrd() -> None:
    assert "if linux '(http,10.0.0.1)/k'; then if true; then boot" in grub(BootRecord("", "http://10.0.0.1/k"))


def test_pxelinux() -> None:
    assert pxelinux(RECORD) == (
        "DEFAULT provisioner\n"
        "PROMPT 0\n"
        "SAY provisioner: discovery for node17\n"
        "LABEL provisioner\n"
        "  KERNEL ::artifacts/discovery/kernel\n"
        "  INITRD ::artifacts/discovery/initrd\n"
        "  APPEND console=ttyS0,115200 provisioner.url=http://10.77.0.1:8080\n"
    )


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_leaves_the_network(dialect: Dialect) -> None:
    script = leave("node17 is active; $(reboot) `x` 'y' ${net0/mac}", dialect)
    assert "node17 is active_ _(reboot) _x_ _y_ __net0/mac_" in script


FOLDERS = {"one of its own": "rocky", "that of removable media": "BOOT"}


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS.keys())
def test_grub_looks_first_for_the_loader_of_what_is_on_the_disk(folder: str) -> None:
    known, unknown = (leave("node17 is active", Dialect.GRUB, OnDisk(given)).splitlines() for given in (folder, ""))
    assert [f"/EFI/{folder}/" in line for line in known[1:3]] == [True, True]
    assert sorted(known) == sorted(unknown), "others are looked for after it"


def test_grub_looks_before_all_others_on_the_disk_that_was_marked() -> None:
    script = leave("node17 is active", Dialect.GRUB, OnDisk("BOOT", efi_mark("7b1f", "debian-12")))
    looks = script.splitlines()[1:4]
    assert looks == [
        "if search --no-floppy --set=root --file /EFI/provisioner/7b1f.debian-12; then",
        "  if [ -f /EFI/BOOT/bootx64.efi ]; then chainloader /EFI/BOOT/bootx64.efi; boot; fi",
        "  if [ -f /EFI/BOOT/bootaa64.efi ]; then chainloader /EFI/BOOT/bootaa64.efi; boot; fi",
    ]
    assert script.endswith(leave("node17 is active", Dialect.GRUB, OnDisk("BOOT")).partition("\n")[2])


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_names_the_kernel_and_what_it_is_told(dialect: Dialect) -> None:
    script = write(RECORD, dialect)
    assert [
        word for word in ("discovery/kernel", "discovery/initrd", "console=ttyS0,115200") if word not in script
    ] == []


@pytest.mark.parametrize("dialect", Dialect)
@given(st.text(), st.text())
def test_no_value_adds_a_line_in_any_dialect(dialect: Dialect, title: str, args: str) -> None:
    try:
        args = check_line(args)
    except RenderError:
        return
    full = BootRecord(title, "http://10.0.0.1/k", ("http://10.0.0.1/i",), args)
    plain = BootRecord("", "http://10.0.0.1/k", ("http://10.0.0.1/i",), "x" if args else "")
    assert len(write(full, dialect).splitlines()) == len(write(plain, dialect).splitlines())


@pytest.mark.peer
@given(st.text(), st.text())
@settings(max_examples=30)
def test_grub_itself_reads_what_we_write(title: str, args: str) -> None:
    try:
        args = check_line(args)
    except RenderError:
        return
    for script in (
        grub(BootRecord(title, "http://10.0.0.1/k", ("http://10.0.0.1/i",), args)),
        leave(title, Dialect.GRUB, OnDisk("BOOT", efi_mark("7b1f", "debian-12"))),
    ):
        subprocess.run(["grub-script-check"], input=script.encode(), check=True, timeout=20)

"""Boot scripts, generated from one record: nobody writes a dialect by hand. No I/O.

Every value that lands in a script is of a checked form: names and URLs are built by us, the command line has passed
`catalog.kernelargs.check_line`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.boot import EFI_FOLDERS, OnDisk


class Dialect(StrEnum):
    """Whose language a script is in, and how that loader fetches files."""

    IPXE = "ipxe"
    IPXE_HTTPS = "ipxe-https"
    GRUB = "grub"
    GRUB_TFTP = "grub-tftp"
    PXELINUX = "pxelinux"


@dataclass(frozen=True, slots=True)
class BootRecord:
    """What a machine is to start, whatever the loader. URLs are absolute.

    `initrds` keeps its order; `args` is the kernel's command line; `title` is for people.
    """

    title: str
    kernel: str
    initrds: tuple[str, ...] = ()
    args: str = ""


NOWHERE = OnDisk()
"""Nobody knows what is on the disk."""
TRIES = 20
"""With three seconds between them."""


def ipxe(record: BootRecord) -> str:
    """Write the record as an iPXE script.

    Fetches are tried again for a minute and more: a rack that powers on at once loses packets, and a daemon that was
    killed is back by then. `initrd=` names iPXE's own file, which UEFI kernels need and BIOS ones ignore. In the end
    `exit 1` hands the machine to the firmware's next boot device. (iPXE counts up only: it has no `dec`.)
    """
    lines = ["#!ipxe", f"echo provisioner: {plain(record.title)}", "set tries:int32 0", ":again", "imgfree"]
    initrds = " ".join(f"initrd={_file_name(url)}" for url in record.initrds)
    lines.append(" ".join(filter(None, ("kernel", record.kernel, initrds, record.args, "|| goto retry"))))
    lines += [f"initrd --name {_file_name(url)} {url} || goto retry" for url in record.initrds]
    lines += ["boot || goto retry", ":retry", "echo provisioner: fetch or start failed", "sleep 3"]
    lines += ["inc tries", f"iseq ${{tries}} {TRIES} || goto again", "exit 1"]
    return "\n".join(lines) + "\n"


def ipxe_local(reason: str) -> str:
    """Write the iPXE script that leaves the network: the first disk on BIOS, the firmware's next device on UEFI."""
    lines = ["#!ipxe", f"echo provisioner: {plain(reason)}", "iseq ${platform} efi && exit 1 ||"]
    lines.append("sanboot --no-describe --drive 0x80 || exit 1")
    return "\n".join(lines) + "\n"


def grub(record: BootRecord, *, by_tftp: bool = False) -> str:
    """Write the record as a GRUB configuration. Arguments stand in single quotes: GRUB expands nothing in them.

    `by_tftp`: kernel and initrds come by TFTP under the same paths, for a GRUB without its http module; those that
    distributions sign for Secure Boot have none, and load no module that is not built in.
    """
    args = " ".join(f"'{argument}'" for argument in record.args.split())
    kernel = f"linux {_grub_file(record.kernel, by_tftp)} {args}".rstrip()
    initrds = "initrd " + " ".join(_grub_file(url, by_tftp) for url in record.initrds) if record.initrds else "true"
    again = " ".join(str(number) for number in range(1, TRIES + 1))
    return (
        f"echo 'provisioner: {plain(record.title)}'\n"
        f"for try in {again}; do\n"
        f"  if {kernel}; then if {initrds}; then boot; fi; fi\n"
        "  echo 'provisioner: fetch or start failed'\n"
        "  sleep 3\n"
        "done\n"
        "exit 1\n"
    )


def grub_local(reason: str, disk: OnDisk = NOWHERE) -> str:
    """Write the GRUB configuration that leaves the network: for a loader on the disk, else the firmware's next device.

    A plain exit means success, which many firmwares answer with their menu: the disk's own loader is looked for first.
    `disk` is where the system that is to start has its loader; other disks may have others, of the same name, too.
    """
    lines = [f"echo 'provisioner: {plain(reason)}'"]
    loaders = sorted(DISK_LOADERS, key=lambda path: not path.startswith(f"/EFI/{disk.folder}/"))
    if disk.mark:
        lines.append(f"if search --no-floppy --set=root --file {disk.mark}; then")
        lines += [f"  if [ -f {path} ]; then chainloader {path}; boot; fi" for path in loaders]
        lines.append("fi")
    for path in loaders:
        lines.append(f"if search --no-floppy --set=root --file {path}; then chainloader {path}; boot; fi")
    return "\n".join((*lines, "exit 1")) + "\n"


DISK_LOADERS = tuple(
    f"/EFI/{folder}/{name}{suffix}.efi" for suffix in ("x64", "aa64") for folder, name in EFI_FOLDERS.items()
)


def pxelinux(record: BootRecord) -> str:
    """Write the record as a PXELINUX configuration; files come by TFTP under the same paths."""
    lines = ["DEFAULT provisioner", "PROMPT 0", f"SAY provisioner: {plain(record.title)}", "LABEL provisioner"]
    lines.append(f"  KERNEL ::{_path(record.kernel)}")
    if record.initrds:
        lines.append("  INITRD " + ",".join(f"::{_path(url)}" for url in record.initrds))
    if record.args:
        lines.append(f"  APPEND {record.args}")
    return "\n".join(lines) + "\n"


def pxelinux_local(reason: str) -> str:
    """Write the PXELINUX configuration that leaves the network: for the BIOS' next device."""
    return f"DEFAULT local\nPROMPT 0\nSAY provisioner: {plain(reason)}\nLABEL local\n  LOCALBOOT -1\n"


def write(record: BootRecord, dialect: Dialect) -> str:
    """Write the record in a loader's dialect."""
    match dialect:
        case Dialect.IPXE | Dialect.IPXE_HTTPS:
            return ipxe(record)
        case Dialect.PXELINUX:
            return pxelinux(record)
        case Dialect.GRUB | Dialect.GRUB_TFTP:
            return grub(record, by_tftp=dialect == Dialect.GRUB_TFTP)


def leave(reason: str, dialect: Dialect, disk: OnDisk = NOWHERE) -> str:
    """Write in a loader's dialect that the machine is to leave the network; `disk` as `grub_local` has it."""
    match dialect:
        case Dialect.IPXE | Dialect.IPXE_HTTPS:
            return ipxe_local(reason)
        case Dialect.PXELINUX:
            return pxelinux_local(reason)
        case Dialect.GRUB | Dialect.GRUB_TFTP:
            return grub_local(reason, disk)


def _grub_file(url: str, by_tftp: bool) -> str:
    """Name a URL as GRUB does: `http://HOST:PORT/path` is `(http,HOST:PORT)/path`; TFTP knows no port but 69."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if by_tftp:
        scheme, host = "tftp", re.sub(r":[0-9]+$", "", host)
    return f"'({scheme},{host})/{path}'"


def _path(url: str) -> str:
    return url.partition("://")[2].partition("/")[2]


def plain(text: str) -> str:
    """Reduce text for people to what no loader interprets."""
    return re.sub(r"[^A-Za-z0-9 .,:_/()+-]", "_", text)[:160]


def _file_name(url: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", url.rsplit("/", 1)[-1])

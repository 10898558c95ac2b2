"""Boot scripts, generated from one record: nobody writes a dialect by hand. No I/O.

Every value that lands in a script is of a checked form: names and URLs are built by us, the command line has passed
`catalog.kernelargs.check_line`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BootRecord:
    """What a machine is to start, whatever the loader. URLs are absolute.

    `initrds` keeps its order; `args` is the kernel's command line; `title` is for people.
    """

    title: str
    kernel: str
    initrds: tuple[str, ...] = ()
    args: str = ""


TRIES = 20
"""With three seconds between them."""


def ipxe(record: BootRecord) -> str:
    """Write the record as an iPXE script.

    Fetches are tried again for a minute and more: a rack that powers on at once loses packets, and a daemon that was
    killed is back by then. `initrd=` names iPXE's own file, which UEFI kernels need and BIOS ones ignore. In the end
    `exit 1` hands the machine to the firmware's next boot device. (iPXE counts up only: it has no `dec`.)
    """
    lines = ["#!ipxe", f"echo provisioner: {_plain(record.title)}", "set tries:int32 0", ":again", "imgfree"]
    initrds = " ".join(f"initrd={_file_name(url)}" for url in record.initrds)
    lines.append(" ".join(filter(None, ("kernel", record.kernel, initrds, record.args, "|| goto retry"))))
    lines += [f"initrd --name {_file_name(url)} {url} || goto retry" for url in record.initrds]
    lines += ["boot || goto retry", ":retry", "echo provisioner: fetch or start failed", "sleep 3"]
    lines += ["inc tries", f"iseq ${{tries}} {TRIES} || goto again", "exit 1"]
    return "\n".join(lines) + "\n"


def ipxe_local(reason: str) -> str:
    """Write the iPXE script that leaves the network: the first disk on BIOS, the firmware's next device on UEFI."""
    lines = ["#!ipxe", f"echo provisioner: {_plain(reason)}", "iseq ${platform} efi && exit 1 ||"]
    lines.append("sanboot --no-describe --drive 0x80 || exit 1")
    return "\n".join(lines) + "\n"


def grub(record: BootRecord) -> str:
    """Write the record as a GRUB configuration. Arguments stand in single quotes: GRUB expands nothing in them."""
    args = " ".join(f"'{argument}'" for argument in record.args.split())
    lines = [f"echo 'provisioner: {_plain(record.title)}'", f"linux {_grub_file(record.kernel)} {args}".rstrip()]
    if record.initrds:
        lines.append("initrd " + " ".join(_grub_file(url) for url in record.initrds))
    return "\n".join((*lines, "boot")) + "\n"


def grub_local(reason: str) -> str:
    """Write the GRUB configuration that leaves the network."""
    return f"echo 'provisioner: {_plain(reason)}'\nexit 1\n"


def _grub_file(url: str) -> str:
    """Name a URL as GRUB does: `http://HOST:PORT/path` is `(http,HOST:PORT)/path`."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"'({scheme},{host})/{path}'"


def _plain(text: str) -> str:
    """Reduce text for people to what no loader interprets."""
    return re.sub(r"[^A-Za-z0-9 .,:_/()+-]", "_", text)[:160]


def _file_name(url: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", url.rsplit("/", 1)[-1])

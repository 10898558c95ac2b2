"""The TFTP servers of Debian, with their limits raised so far that they serve every client of the benchmark."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.bench.tftp.wire import SERVER


def hpa(root: Path) -> list[str]:
    """tftpd-hpa: a process for each transfer; blksize and tsize, no windowsize."""
    return ["in.tftpd", "--foreground", "--address", f"{SERVER}:69", "--secure", str(root)]


def dnsmasq(root: Path) -> list[str]:
    """dnsmasq: one loop; blksize and tsize, no windowsize. Its default is 50 transfers at once."""
    limits = ["--tftp-max=1000", "--log-facility=-", "--quiet-tftp"]
    fixed = ["--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--user=root", f"--listen-address={SERVER}"]
    return ["dnsmasq", *fixed, *limits, "--bind-interfaces", "--enable-tftp", f"--tftp-root={root}", "--pid-file="]


def atftpd(root: Path, folder: Path) -> list[str]:
    """atftpd: a thread for each transfer; blksize, tsize and windowsize. Its package excludes tftpd-hpa's."""
    program = folder / "atftpd" / "usr" / "sbin" / "atftpd"
    if not program.exists():
        subprocess.run(["apt-get", "-q", "download", "atftpd"], cwd=folder, check=True, capture_output=True)
        (package,) = folder.glob("atftpd_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "atftpd")], check=True, capture_output=True)
    limits = ["--maxthread", "1000", "--verbose=0", "--no-multicast"]
    return [str(program), "--daemon", "--no-fork", "--user=root", "--bind-address", SERVER, *limits, str(root)]

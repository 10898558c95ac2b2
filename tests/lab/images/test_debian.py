"""Where Debian's packages come from on different hosts, and what the first boot is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provisioner.lab.images import gpt
from provisioner.lab.images.debian import OVERLAY, Options, debian_sources, grub_config, passed_on

ARCHIVE, SECURITY = "http://mirror.example/debian/", "http://mirror.example/debian-security/"
HOSTS = {
    "Debian 12": (
        f"Debian bookworm main {ARCHIVE}\nDebian bookworm-updates main {ARCHIVE}\n"
        f"Debian bookworm-security main {SECURITY}\n",
        (f"deb {ARCHIVE} bookworm main", f"deb {ARCHIVE} bookworm-updates main",
         f"deb {SECURITY} bookworm-security main"),
    ),
    "Debian 13 makes Debian 12 from the same archive": (
        f"Debian trixie main {ARCHIVE}\n", (f"deb {ARCHIVE} bookworm main",),
    ),
    "other components and archives are left out": (
        f"Debian bookworm main {ARCHIVE}\nDebian bookworm non-free {ARCHIVE}\nExample bookworm main http://x.example/\n",
        (f"deb {ARCHIVE} bookworm main",),
    ),
    "backports are left out": (f"Debian bookworm-backports main {ARCHIVE}\n", ()),
    "the same archive twice counts once": (
        f"Debian bookworm main {ARCHIVE}\nDebian bookworm main {ARCHIVE}\n", (f"deb {ARCHIVE} bookworm main",),
    ),
    "Ubuntu: mmdebstrap takes Debian's own": ("Ubuntu noble main http://ubuntu.example/ubuntu/\n", ()),
    "nothing at all": ("\n", ()),
}  # fmt: skip


@pytest.mark.parametrize(("targets", "sources"), HOSTS.values(), ids=HOSTS.keys())
def test_archives_follow_the_hosts_apt(targets: str, sources: tuple[str, ...]) -> None:
    assert debian_sources("bookworm", targets) == sources


def test_proxies_of_the_hosts_apt_are_passed_on_and_nothing_else() -> None:
    dump = 'Acquire::http::Proxy "http://p:3142";\nAcquire::Retries "3";\nAPT::Sandbox::User "root";\n'
    assert passed_on(dump) == [("Acquire::http::Proxy", "http://p:3142"), ("Acquire::Retries", "3")]


def test_grub_names_the_root_by_its_partition() -> None:
    ids = gpt.Ids.of("k")
    config = grub_config("6.1.0-1-cloud-amd64", ids)
    assert f"root=PARTUUID={ids.root_partition} ro" in config
    assert "initrd /boot/initrd.img-6.1.0-1-cloud-amd64" in config


def test_default_options_are_small() -> None:
    assert Options().kernel == "cloud"


def test_what_goes_into_every_image_is_executable_where_it_runs() -> None:
    script = OVERLAY / "usr/lib/provisioner/phone-home"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize("unit", sorted((OVERLAY / "etc/systemd/system").glob("*.service")), ids=lambda u: u.name)
def test_units_name_only_what_exists(unit: Path) -> None:
    ours = [word for word in unit.read_text().split() if "/usr/lib/provisioner/" in word]
    for word in ours:
        assert (OVERLAY / word.partition("=")[2].lstrip("/")).exists(), word

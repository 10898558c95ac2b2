"""What apt says, on the distributions that we run on, and what the host's apt really does."""

from __future__ import annotations

import pytest

from provisioner.discovery.build import apt
from provisioner.discovery.build.apt import Package, parse_simulation
from provisioner.errors import ArtifactError

SIMULATED = {
    "Debian 12": (
        "Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) [libcrypt1:amd64 ]\n"
        "Conf libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64])\n",
        (Package("libc6", "2.36-9+deb12u14", "amd64"),),
    ),
    "from a security archive, too": (
        "Inst linux-image-6.1.0-56-cloud-amd64 (6.1.192-2 Debian-Security:12/oldstable-security [amd64])\n",
        (Package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", "amd64"),),
    ),
    "Ubuntu 24.04, in both pockets": (
        "Inst busybox-static (1:1.36.1-6ubuntu3.1 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])\n",
        (Package("busybox-static", "1:1.36.1-6ubuntu3.1", "amd64"),),
    ),
    "another architecture's library": (
        "Inst gcc-12-base:amd64 (12.2.0-14 Debian:12/stable [amd64])\n",
        (Package("gcc-12-base", "12.2.0-14", "amd64"),),
    ),
    "nothing": ("", ()),
}


@pytest.mark.parametrize(("text", "packages"), SIMULATED.values(), ids=SIMULATED.keys())
def test_parse_simulation(text: str, packages: tuple[Package, ...]) -> None:
    assert parse_simulation(text) == packages


def test_file_names_spell_the_epoch_as_apt_does() -> None:
    assert Package("busybox-static", "1:1.35.0-4", "amd64").file == "busybox-static_1%3a1.35.0-4_amd64.deb"


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.timeout(600)
def test_the_hosts_apt_resolves_what_is_installed_too() -> None:
    names = [package.name for package in apt.host().resolve(["kmod"])]
    assert {"kmod", "libc6"} <= set(names)


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.timeout(600)
def test_a_package_that_nobody_has() -> None:
    assert not apt.host().known("no-such-package-here")
    with pytest.raises(ArtifactError, match="no-such-package-here"):
        apt.host().resolve(["no-such-package-here"])

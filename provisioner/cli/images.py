"""`provisionctl images`: build the discovery system and disk images from the distribution's packages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from provisioner.cli.built import bring
from provisioner.cli.session import Group, Session, command
from provisioner.discovery.build import ramdisk
from provisioner.discovery.build.cache import Manifest, alone
from provisioner.discovery.build.tools import Say
from provisioner.lab.images import debian
from provisioner.lab.images import mirror as packages_mirror
from provisioner.lab.images import toolbox as tools


def default_cache() -> Path:
    """Where builds and downloaded packages are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "provisioner"


@click.group(cls=Group)
def images() -> None:
    """Build what machines boot."""


@images.group()
def build() -> None:
    """Build boot artefacts, and bring them into the store of the daemon. What is current is not built again.

    Where no daemon answers, the commands that import them are said.
    """


_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the results go (default: ~/.cache/provisioner/images).",
)
_NO_IMPORT = click.option("--no-import", is_flag=True, help="Leave the daemon's store as it is.")


@command("discovery")
@click.option(
    "--kernel",
    type=click.Choice(sorted(ramdisk.MODULE_LISTS)),
    default="generic",
    show_default=True,
    help="generic: every machine. virtual: virtual machines with BMCs, small. cloud: virtual machines without.",
)
@click.option(
    "--package",
    "packages",
    metavar="NAME",
    multiple=True,
    help="Package with firmware for network cards; may be repeated.",
)
@click.option(
    "--arch", type=click.Choice(ramdisk.ARCHITECTURES), help="Architecture of the machines (default: that of this one)."
)
@_FOLDER
@_NO_IMPORT
def discovery(
    session: Session, kernel: str, packages: tuple[str, ...], arch: str | None, folder: Path | None, no_import: bool
) -> None:
    """Build the discovery system: kernel and ramdisk."""
    options = ramdisk.Options(kernel=kernel, extra_packages=packages, arch=arch or "")
    place = _place(folder, f"discovery-{arch}" if arch else "discovery")
    manifest = _made(session, lambda say: ramdisk.build(options, place, default_cache() / "packages", say))
    _bring(session, manifest, no_import=no_import)


@command("toolbox")
@click.option("--fresh", is_flag=True, help="Build again with today's packages.")
@_FOLDER
@_NO_IMPORT
def toolbox(session: Session, fresh: bool, folder: Path | None, no_import: bool) -> None:
    """Build the toolbox that package installs work in: needs root."""
    debs = default_cache() / "packages" / "toolbox"
    manifest = _made(session, lambda say: tools.build(_place(folder, "toolbox"), debs, say, fresh=fresh))
    _bring(session, manifest, no_import=no_import)


@command("mirror")
@click.option("--package", "packages", metavar="NAME", multiple=True, help="One more package; may be repeated.")
@_FOLDER
def mirror(session: Session, packages: tuple[str, ...], folder: Path | None) -> None:
    """Build a partial mirror of Debian packages, for installs from packages in a rack that has no way out."""
    debs = default_cache() / "packages" / "mirror"
    _made(session, lambda say: packages_mirror.build(_place(folder, "mirror"), debs, say, packages))


def _place(folder: Path | None, name: str) -> Path:
    return (folder or default_cache() / "images") / name


def _made(session: Session, build: Callable[[Say], Manifest]) -> Manifest:
    def say(line: str) -> None:
        session.note(f"  {line}")

    with alone(default_cache(), say):
        manifest = build(say)
    for item in manifest.artifacts:
        click.echo(f"{item.path}  {item.size_bytes / 1e6:.1f} MB  sha256 {item.sha256}")
    return manifest


def _bring(session: Session, manifest: Manifest, *, no_import: bool) -> None:
    if not no_import:
        bring(session, manifest)


def _image(name: str) -> click.Command:
    @click.option(
        "--kernel",
        type=click.Choice(["cloud", "generic"]),
        default="cloud",
        show_default=True,
        help="cloud: virtual machines only, small. generic: every machine.",
    )
    @click.option("--package", "packages", metavar="NAME", multiple=True, help="One more package; may be repeated.")
    @click.option("--fresh", is_flag=True, help="Build again with today's packages.")
    @_FOLDER
    @_NO_IMPORT
    def image(
        session: Session, kernel: str, packages: tuple[str, ...], fresh: bool, folder: Path | None, no_import: bool
    ) -> None:
        options = debian.Options(name, kernel, packages)
        debs = default_cache() / "packages" / name
        manifest = _made(session, lambda say: debian.build(options, _place(folder, name), debs, say, fresh=fresh))
        _bring(session, manifest, no_import=no_import)

    image.__doc__ = f"Build the disk image of {name}: needs root."
    return command(name)(image)


for one in (discovery, toolbox, mirror, *map(_image, debian.SUITES)):
    build.add_command(one)

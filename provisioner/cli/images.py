"""`provisionctl images`: build the discovery system and disk images from the distribution's packages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from provisioner.cli.built import bring
from provisioner.cli.session import session_of
from provisioner.discovery.build import ramdisk
from provisioner.discovery.build.cache import Manifest, alone
from provisioner.lab.images import debian
from provisioner.lab.images import mirror as packages_mirror
from provisioner.lab.images import toolbox as tools


def default_cache() -> Path:
    """Where builds and downloaded packages are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "provisioner"


@click.group()
def images() -> None:
    """Build what machines boot."""


@images.group()
def build() -> None:
    """Build boot artefacts, and bring them into the store of the daemon. What is current is not built again.

    Where no daemon answers, the commands that import them are said.
    """


_OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results (default: ~/.cache/provisioner/images).",
)
_NO_IMPORT = click.option("--no-import", is_flag=True, help="Leave the daemon's store as it is.")


@build.command()
@click.pass_context
@click.option(
    "--kernel",
    type=click.Choice(sorted(ramdisk.MODULE_LISTS)),
    default="generic",
    show_default=True,
    help="generic: every machine. virtual: virtual machines with BMCs, small. cloud: virtual machines without.",
)
@click.option("--package", "packages", multiple=True, help="Package with firmware for network cards; may be repeated.")
@click.option(
    "--arch", type=click.Choice(ramdisk.ARCHITECTURES), help="Architecture of the machines (default: that of this one)."
)
@_OUTPUT
@_NO_IMPORT
def discovery(
    ctx: click.Context, kernel: str, packages: tuple[str, ...], arch: str | None, output: Path | None, no_import: bool
) -> None:
    """Build the discovery system: kernel and ramdisk."""
    options = ramdisk.Options(kernel=kernel, extra_packages=packages, arch=arch or "")
    place = _place(output, f"discovery-{arch}" if arch else "discovery")
    manifest = _made(lambda: ramdisk.build(options, place, default_cache() / "packages", _say()))
    _bring(ctx, manifest, no_import=no_import)


@build.command()
@click.pass_context
@click.option("--fresh", is_flag=True, help="Build again with today's packages.")
@_OUTPUT
@_NO_IMPORT
def toolbox(ctx: click.Context, fresh: bool, output: Path | None, no_import: bool) -> None:
    """Build the toolbox that package installs work in: needs root."""
    folder = default_cache() / "packages" / "toolbox"
    manifest = _made(lambda: tools.build(_place(output, "toolbox"), folder, _say(), fresh=fresh))
    _bring(ctx, manifest, no_import=no_import)


@build.command()
@click.option("--package", "packages", multiple=True, help="One more package; may be repeated.")
@_OUTPUT
def mirror(packages: tuple[str, ...], output: Path | None) -> None:
    """Build a partial mirror of Debian packages, for installs from packages in a rack that has no way out."""
    folder = default_cache() / "packages" / "mirror"
    _made(lambda: packages_mirror.build(_place(output, "mirror"), folder, _say(), packages))


def _place(output: Path | None, name: str) -> Path:
    return (output or default_cache() / "images") / name


def _say() -> Callable[[str], None]:
    return lambda line: click.echo(f"  {line}", err=True)


def _made(build: Callable[[], Manifest]) -> Manifest:
    with alone(default_cache(), _say()):
        manifest = build()
    for item in manifest.artifacts:
        click.echo(f"{item.path}  {item.size_bytes / 1e6:.1f} MB  sha256 {item.sha256}")
    return manifest


def _bring(ctx: click.Context, manifest: Manifest, *, no_import: bool) -> None:
    if not no_import:
        bring(session_of(ctx), manifest)


def _image(name: str) -> click.Command:
    @click.pass_context
    @click.option(
        "--kernel",
        type=click.Choice(["cloud", "generic"]),
        default="cloud",
        show_default=True,
        help="cloud: virtual machines only, small. generic: every machine.",
    )
    @click.option("--package", "packages", multiple=True, help="One more package; may be repeated.")
    @click.option("--fresh", is_flag=True, help="Build again with today's packages.")
    @_OUTPUT
    @_NO_IMPORT
    def command(
        ctx: click.Context, kernel: str, packages: tuple[str, ...], fresh: bool, output: Path | None, no_import: bool
    ) -> None:
        options = debian.Options(name, kernel, packages)
        folder = default_cache() / "packages"
        manifest = _made(lambda: debian.build(options, _place(output, name), folder / name, _say(), fresh=fresh))
        _bring(ctx, manifest, no_import=no_import)

    return click.command(name, help=f"Build the disk image of {name}: needs root.")(command)


for _name in debian.SUITES:
    build.add_command(_image(_name))

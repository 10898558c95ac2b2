"""What a configuration names outside of itself (files, directories, a group), and what can be booted: all of it judged
before anything is served, by the daemon and by `check`.
"""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from provisioner.config import Catalogue, Config, Written
from provisioner.errors import CatalogError, ConfigError, ProvisionerError, StoreError
from provisioner.naming import key_of
from provisioner.shelves import paths_of, read_all, read_applied
from provisioner.store.declarations import folder_in
from provisioner.store.secrets import read_key
from provisioner.web.server import look_at
from provisioner.wiring import hook_secret
from provisioner.yamlfile import Path as Place

GIB = 1 << 30


def check(written: Written, *, catalogue: bool) -> None:
    """Raise `ConfigError` with everything that a start would not take; `catalogue`: also with what can be booted.

    Blocks.
    """
    faults = [f"{written.where(place)}: {_named(place)}: {text}" for place, text in faults_of(written.config)]
    if catalogue:
        faults += _what_can_be_booted(written.config)
    if faults:
        raise ConfigError("the configuration is not in order", faults=faults)


def doubts(written: Written) -> list[str]:
    """Say what a start takes, and an operator may not have meant. Blocks."""
    return [f"{written.where(place)}: {_named(place)}: {text}" for place, text in _mirror(written.config)]


def _mirror(config: Config) -> Iterator[tuple[Place, str]]:
    """The cache of package mirrors may be promised more than the disk has."""
    if not config.mirror.upstreams:
        return
    folder = next(each for each in (config.state_dir, *config.state_dir.parents) if os.access(each, os.F_OK))
    has = shutil.disk_usage(folder).total
    if config.mirror.max_gib * GIB > has:
        text = f"{config.mirror.max_gib} GiB, and the disk of {config.state_dir} has {has / GIB:.1f} GiB"
        yield ("mirror", "max_gib"), f"{text}: files go when that is full, and leases are on it, too"


def _what_can_be_booted(config: Config) -> Sequence[str]:
    """Say what is wrong with the catalogue; with what was applied only where all below it is in order."""
    try:
        read_all(paths_of(config))
    except CatalogError as error:
        return error.faults
    try:
        if folder := folder_in(config.database):
            read_applied(config, folder)
    except CatalogError as error:
        return [f"applied: {fault}" for fault in error.faults]
    except StoreError as error:
        return [str(error)]
    return ()


def faults_of(config: Config) -> Iterator[tuple[Place, str]]:
    """Say what is not there or not as it should be, each with the key that names it."""
    try:
        group_id(config.api.group)
    except ConfigError as error:
        yield ("api", "group"), str(error)
    yield from _read(("api", "socket"), partial(look_at, Path(config.api.socket)))
    yield from _directories(config.catalogue)
    for name, webhook in config.webhooks.items():
        yield from _read(("webhooks", name, "secret_file"), partial(hook_secret, name, webhook))
    yield from _read(("dns", "key_file"), partial(key_of, config.dns))
    yield from _key(config)


def _directories(catalogue: Catalogue) -> Iterator[tuple[Place, str]]:
    named = [
        *(("paths", each) for each in catalogue.paths),
        *(("loaders", each) for each in catalogue.loaders),
        *(("keyrings", each) for each in catalogue.keyrings),
    ]
    if catalogue.secrets_dir != Catalogue().secrets_dir:
        named.append(("secrets_dir", catalogue.secrets_dir))
    for key, folder in named:
        if not Path(folder).is_dir():
            yield ("catalogue", key), f"{folder!r} is no directory: make it, or correct the path"


def _read(place: Place, read: Callable[[], object]) -> Iterator[tuple[Place, str]]:
    try:
        read()
    except ProvisionerError as error:
        yield place, str(error).removeprefix(f"{_named(place)}: ")


def _named(place: Place) -> str:
    return ".".join(map(str, place))


def _key(config: Config) -> Iterator[tuple[Place, str]]:
    place, key = ("store", "key_file"), config.key_file
    if key.exists():
        yield from _read(place, partial(read_key, key))
    elif config.store.key_file and not key.parent.is_dir():
        yield place, f"{str(key)!r} is in no directory: make that, or correct the path (a new key opens no old secret)"


def group_id(name: str) -> int:
    """Look up the group of the operator API's socket, -1 for that of the daemon; raise `ConfigError`."""
    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigError(f"there is no group {name!r}", hint=f"`groupadd {name}`") from error

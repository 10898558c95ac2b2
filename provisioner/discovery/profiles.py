"""Hardware profiles from catalogue directories: ours first; a site's replace those of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provisioner import yamlfile
from provisioner.catalog.load import shipped
from provisioner.discovery.classify import Profiles, decode_profiles
from provisioner.errors import CatalogError, ConfigError
from provisioner.fields import Faults


def load_profiles(paths: Sequence[Path] = ()) -> Profiles:
    """Read `bootenvs/profiles/*.yaml` of ours and at `paths`; raise `CatalogError` with every fault."""
    files = [file for root in (shipped(), *paths) for file in sorted((root / "bootenvs/profiles").glob("*.yaml"))]
    faults, documents = Faults(CatalogError), []
    for file in files:
        try:
            documents.append(yamlfile.load(file.read_bytes(), str(file)))
        except ConfigError as error:
            faults.found.extend(error.faults or [str(error)])
    return decode_profiles(documents, faults)

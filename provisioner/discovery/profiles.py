"""Hardware profiles from catalogue directories: ours first; a site's replace those of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provisioner import yamlfile
from provisioner.catalog.load import shipped
from provisioner.discovery.classify import Profiles, decode_profiles


def load_profiles(paths: Sequence[Path] = ()) -> Profiles:
    """Read `bootenvs/profiles/*.yaml` of ours and at `paths`; raise `CatalogError` with every fault."""
    files = [file for root in (shipped(), *paths) for file in sorted((root / "bootenvs/profiles").glob("*.yaml"))]
    return decode_profiles([yamlfile.load(file.read_bytes(), str(file)) for file in files])

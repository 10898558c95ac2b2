"""The catalogue that we ship, loaded once for all tests of a process: compiling its templates takes a second."""

from __future__ import annotations

import functools

from provisioner.catalog.load import Catalog


@functools.cache
def catalogue() -> Catalog:
    """What `Catalog.load()` gives; nobody changes it."""
    return Catalog.load()

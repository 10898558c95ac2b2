"""`--set NAME=VALUE`: parameters of one boot alone, over all other layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from provisioner.cli.typed import pair_of, reads
from provisioner.errors import ConfigError


def sets(function: Callable[..., None]) -> Callable[..., None]:
    """Add --set; its texts are given as `settings`."""
    about = "A parameter of this boot alone, as YAML (disk.layout=lvm, packages.install=[vim]); repeatable."
    return click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", callback=reads(boot_params), help=about
    )(function)


def boot_params(settings: Sequence[str]) -> dict[str, Any]:
    """Read parameters by name; raise `ConfigError` with every fault. An empty value is null: take it back."""
    from provisioner import yamlfile

    found: dict[str, Any] = {}
    faults: list[str] = []
    for each in settings:
        try:
            name, text = pair_of(each)
            if name in found:
                raise ConfigError(f"{name}: given twice")
            found[name] = None
            found[name] = yamlfile.load(f"value: {text}", name).value["value"]
        except ConfigError as error:
            faults += error.faults or [error.message]
    if faults:
        raise ConfigError("parameters of this boot", faults=faults)
    return found


def in_query(params: Mapping[str, Any]) -> dict[str, str]:
    """Give parameters as a query has them; empty where there are none."""
    return {"params": json.dumps(params)} if params else {}

"""`--set NAME=VALUE`: parameters of one boot alone, over all other layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from provisioner.errors import ConfigError


def sets(function: Callable[..., None]) -> Callable[..., None]:
    """Add --set; its texts are given as `settings`."""
    about = "A parameter of this boot alone, as YAML (disk.layout=lvm, packages.install=[vim]); repeatable."
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=about)(function)


def boot_params(settings: Sequence[str]) -> dict[str, Any]:
    """Read parameters by name; raise `ConfigError` with every fault. An empty value is null: take it back."""
    from provisioner import yamlfile

    found: dict[str, Any] = {}
    faults: list[str] = []
    for each in settings:
        name, equals, text = each.partition("=")
        if not equals or not name:
            faults.append(f"--set {each!r}: NAME=VALUE is wanted")
        elif name in found:
            faults.append(f"--set {name}: given twice")
        else:
            found[name] = None
            try:
                found[name] = yamlfile.load(f"value: {text}", f"--set {name}").value["value"]
            except ConfigError as error:
                faults += error.faults
    if faults:
        raise ConfigError("parameters of this boot", faults=faults)
    return found


def in_query(params: Mapping[str, Any]) -> dict[str, str]:
    """Give parameters as a query has them; empty where there are none."""
    return {"params": json.dumps(params)} if params else {}

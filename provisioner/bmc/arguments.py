"""Arguments of verbs as people and programs give them (JSON), checked against the methods that take them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from provisioner.bmc import capabilities
from provisioner.bmc.table import VERBS, Verb
from provisioner.bmc.verbs import Bmc
from provisioner.errors import WireError

SECRETS = frozenset({"password"})
"""Arguments that are never given on a command line, and never shown."""

NOT_HERE = frozenset({"console.open", "firmware.push"})
"""Verbs whose arguments or results are streams: they have ways of their own."""


def arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arguments of a verb; raise `WireError` that names what is missing, too much or of the wrong kind."""
    verb = VERBS.get(name)
    if verb is None or name in NOT_HERE:
        raise WireError(f"no verb {name[:60]!r}", hint="`provisionctl bmc verbs` lists them")
    kinds = parameters(verb)
    faults = [f"{key}: unknown" for key in given if key not in kinds]
    faults += [f"{key}: missing" for key, (_, needed) in kinds.items() if needed and key not in given]
    read: dict[str, Any] = {}
    for key in given.keys() & kinds.keys():
        try:
            read[key] = msgspec.convert(given[key], kinds[key][0])
        except msgspec.ValidationError as error:
            faults.append(f"{key}: {error}")
    if faults:
        takes = ", ".join(kinds) or "nothing"
        raise WireError(f"{name}: {'; '.join(faults)}", hint=f"it takes {takes}")
    return read


def parameters(verb: Verb) -> dict[str, tuple[Any, bool]]:
    """Return what a verb takes beside what its name says: name to type, and whether it has to be given."""
    method = _methods()[verb.method]
    hints = get_type_hints(method)
    fixed = dict(verb.fixed)
    found = {}
    for name, parameter in list(inspect.signature(method).parameters.items())[1:]:
        if name not in fixed and hints[name] is not Path:
            found[name] = (hints[name], parameter.default is inspect.Parameter.empty)
    return found


@lru_cache(maxsize=1)
def _methods() -> dict[str, Any]:
    """Find the methods that the Protocols name."""
    kinds = [Bmc, *(kind for name, kind in vars(capabilities).items() if name.startswith("Can"))]
    return {name: method for kind in kinds for name, method in vars(kind).items() if inspect.isfunction(method)}


def plain(result: Any) -> Any:
    """Make a verb's result plain values, as JSON has them."""
    return msgspec.json.decode(msgspec.json.encode(result))

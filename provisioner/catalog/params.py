"""Parameters: declared with a JSON Schema, set in layers, combined as each one's declaration says. No I/O.

Layers go from the most general to the most specific: default, global, site, bootenv, profile, role, machine, boot.
A layer may be written nested (`disk: {layout: lvm}`) or dotted (`disk.layout: lvm`); a name that is not declared is a
fault with a hint, never a value that nobody reads. Null takes back what more general layers say of a parameter, or of a
key of one that merges: the default holds, as if nobody had said anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from provisioner.catalog.shapes import Purse, Shape, TooMuch
from provisioner.errors import ConfigError
from provisioner.fields import nearest
from provisioner.model.catalog import Merge, Param

LAYERS = ("default", "global", "site", "bootenv", "profile", "role", "machine", "boot")
"""Where a value can come from, the most specific last."""

HIDDEN = "(hidden)"
"""What is shown in place of a secret."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place. `origin` says which, for people: `machine node17`, `params/site.yaml`."""

    name: str
    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What one layer says of one parameter. `wins` where its value is in the result, wholly or in part."""

    layer: str
    origin: str
    value: Any
    wins: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """All parameters of one machine for one boot: `values` nested as templates see them, and who said what."""

    values: dict[str, Any]
    flat: Mapping[str, Any] = field(default_factory=dict)
    layers: Sequence[tuple[Layer, Mapping[str, Any]]] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The references of parameters that are declared secret, by the parameter's name."""

    def explain(self, param: Param) -> list[Setting]:
        """List what each layer says of a parameter, the most general first."""
        said = [(layer, flat[param.name]) for layer, flat in self.layers if param.name in flat]
        return [
            Setting(layer.name, layer.origin, HIDDEN if param.secret else value, wins)
            for at, (layer, value) in enumerate(said)
            for wins in [_is_left(param.merge, value, [v for _, v in said[at + 1 :]], default=layer.name == "default")]
        ]


class Declarations:
    """The parameters that exist, ready to check and combine values."""

    def __init__(self, params: Mapping[str, Param]) -> None:
        self._params = dict(params)
        self._shapes: dict[str, Shape] = {}
        self._groups = {name.rsplit(".", at)[0] for name in params for at in range(1, name.count(".") + 1)}
        self._paths = {name: tuple(name.split(".")) for name in params}
        self._secret = [name for name, param in params.items() if param.secret]

    def faults(self) -> Iterator[str]:
        """Say what is wrong with the declarations themselves."""
        for name, param in self._params.items():
            if name in self._groups:
                yield f"{param.source}: {name}: other parameters' names begin with it"
            yield from (f"{param.source}: {name}: schema: {fault}" for fault in self._shape(name).faults)
            if param.default is not None:
                yield from (f"{param.source}: {fault}" for fault in self._check(name, param.default, Purse()))

    def flatten(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Bring a layer to declared names; also say what is wrong with it, one line for each fault."""
        flat: dict[str, Any] = {}
        faults: list[str] = []
        self._flatten("", values, flat, faults)
        purse = Purse()
        for name, value in flat.items():
            faults += self._check(name, value, purse)
        return flat, faults

    def checked(self, layer: Layer) -> Layer:
        """Return the layer with declared names as keys; raise `ConfigError` with every fault in it."""
        flat, faults = self.flatten(layer.values)
        if faults:
            raise ConfigError(f"parameters of {layer.origin}: not in order", faults=faults)
        return Layer(layer.name, layer.origin, flat)

    def shown(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give a layer's values as they may be shown, whether they fit or not: without what is where a secret belongs.

        That is more than references: who writes a password there by mistake reads of it in the fault, not in a log.
        """
        return self._shown("", values)

    def _shown(self, prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, value in values.items():
            name = f"{prefix}{key}"
            if name in self._params:
                schema = {"writeOnly": True} if self._params[name].secret else self._params[name].schema
                shown[key] = _masked(schema, value)
            elif name in self._groups and isinstance(value, dict):
                shown[key] = self._shown(f"{name}.", value)
            else:  # nobody knows what it was to be
                shown[key] = HIDDEN
        return shown

    def resolve(self, layers: Sequence[Layer], below: Resolved | None = None) -> Resolved:
        """Combine layers that were `checked`, given from the most general to the most specific.

        `below` is what more general layers came to: where machines have them in common, that is done once.
        """
        below = below if below is not None else self._defaults
        flat = dict(below.flat)
        for layer in layers:
            for name, value in layer.values.items():
                param = self._params[name]
                flat[name] = _combine(param.merge, flat.get(name), value, param.default)
                if flat[name] is None:
                    del flat[name]
        secrets = {name: flat[name] for name in self._secret if flat.get(name)}
        said = [*below.layers, *((layer, layer.values) for layer in layers)]
        values = below.values
        for name in {name for layer in layers for name in layer.values}:
            values = _with(values, self._paths[name], flat.get(name))
        return Resolved(values, flat, said, secrets)

    @cached_property
    def _defaults(self) -> Resolved:
        """What nobody has said anything of: every declared name is there, null where it has no default."""
        flat = {name: param.default for name, param in self._params.items() if param.default is not None}
        nested: dict[str, Any] = {}
        for name, path in self._paths.items():
            at = nested
            for group in path[:-1]:
                at = at.setdefault(group, {})
            at[path[-1]] = flat.get(name)
        secrets = {name: flat[name] for name in self._secret if flat.get(name)}
        return Resolved(nested, flat, [(Layer("default", "default", flat), flat)], secrets)

    def _flatten(self, prefix: str, values: Mapping[str, Any], flat: dict[str, Any], faults: list[str]) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if name in self._params:
                if name in flat:
                    faults.append(f"{name}: given twice, nested and dotted")
                flat[name] = value
            elif name in self._groups and isinstance(value, dict):
                self._flatten(f"{name}.", value, flat, faults)
            else:
                faults.append(f"{name}: no such parameter{nearest(name, self._params)}")

    def _shape(self, name: str) -> Shape:
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = Shape(self._params[name].schema)
        return shape

    def _check(self, name: str, value: Any, purse: Purse) -> Iterator[str]:
        if value is None:
            return
        if self._params[name].merge is Merge.MERGE:
            value = _without_nulls(value)
        try:
            for error in self._shape(name).errors(value, purse):
                where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
                secret = self._params[name].secret or (_has_secret(error.schema) and error.validator not in _NAMES_ONLY)
                what = "wrong value of a secret" if secret else error.message[:300]
                yield f"{name}{where}: {what}"
        except TooMuch:
            yield f"{name}: takes too long to check, with the values before it: less of it, or a simpler schema"


_NAMES_ONLY = ("required", "additionalProperties")
"""Rules whose messages tell the names of keys and no values."""


def _has_secret(schema: Any) -> bool:
    """Say whether a schema has a place for a secret: a part of it that says `writeOnly`."""
    if isinstance(schema, dict):
        return schema.get("writeOnly") is True or any(_has_secret(part) for part in schema.values())
    return isinstance(schema, list) and any(_has_secret(part) for part in schema)


def _masked(schema: Any, value: Any) -> Any:
    """Give a value without what stands where its schema says `writeOnly`, and without what does not fit around it."""
    if value is None or not _has_secret(schema):
        return value
    if isinstance(value, list) and "items" in schema:
        return [_masked(schema["items"], item) for item in value]
    if isinstance(value, dict) and "properties" in schema:
        parts = schema["properties"]
        return {key: _masked(parts.get(key, {"writeOnly": True}), item) for key, item in value.items()}
    return HIDDEN


def _with(values: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Give nested values with one of them changed; only the mappings on the way to it are new."""
    first, *rest = path
    return {**values, first: _with(values[first], rest, value) if rest else value}


def _is_left(merge: Merge, value: Any, above: Sequence[Any], *, default: bool = False) -> bool:
    """Say whether something of a layer's value is left in what it and the layers above it are combined to."""
    taken_back = [at for at, each in enumerate(above) if each is None]
    if taken_back and not default:
        return False
    above = above[taken_back[-1] + 1 :] if taken_back else above
    if not above:
        return True
    if merge is Merge.MERGE and isinstance(value, dict) and all(isinstance(each, dict) for each in above):
        kept = [(item, [each[key] for each in above if key in each]) for key, item in value.items()]
        return any(_is_left(merge, item, said, default=default) for item, said in kept)
    return merge is Merge.APPEND and bool(value) and all(isinstance(each, list) for each in (value, *above))


def _without_nulls(value: Any) -> Any:
    """Give a mapping without the keys that take something back."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None}


def _frozen(value: Any) -> Any:
    """Give what equals as the value does, and can be looked up: lists of thousands are compared in no time."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _combine(merge: Merge, below: Any, above: Any, default: Any) -> Any:
    if above is None:
        return default
    if merge is Merge.MERGE and isinstance(above, dict):
        return _merged(below if isinstance(below, dict) else {}, above, default if isinstance(default, dict) else {})
    if merge is Merge.APPEND and isinstance(below, list) and isinstance(above, list):
        known = {_frozen(item) for item in below}
        return [*below, *(item for item in above if _frozen(item) not in known)]
    return above


def _merged(below: dict[str, Any], above: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    both = below | {key: _combine(Merge.MERGE, below.get(key), item, default.get(key)) for key, item in above.items()}
    return {key: item for key, item in both.items() if item is not None}

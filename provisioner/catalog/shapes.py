"""What a parameter's value looks like: the part of JSON Schema (2020-12) of which every check ends soon. No I/O.

Schemas come from a site, values from whoever may boot a machine, and both are looked at where DHCP is answered. So
nothing refers to anything (what is used twice is a YAML alias), regular expressions are RE2's, which take no longer
than the text is long, and a check has so many steps and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any
from zoneinfo import available_timezones

import re2
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import SchemaError, ValidationError

from provisioner.fields import nearest

MAX_SCHEMA = 2000
"""Words and values of one schema, written out; the largest of ours (net.bonds) has a hundred."""
MAX_STEPS = 100_000
"""What checking one layer may cost, some 2 us each; a machine with 64 bonded ports takes five thousand."""
MAX_FAULTS = 20
"""Of one parameter: who is told of twenty knows enough."""
TEXT_A_STEP = 64
"""Characters that are copied into a message, or looked at for each instruction of a pattern, in the time of a step."""
PATTERN_BYTES = 1 << 18
"""What RE2 may take for one pattern; ours need a tenth."""
MAX_PATTERNS = 512
"""Those that are kept compiled; ours are a hundred, of some 10 kB each."""
FORMATS = ("date", "email", "ipv4", "ipv6", "uuid", "time-zone")
"""Those that are checked; as the standard has it, others are said for people. `time-zone` is ours."""

_SCHEMA, _SCHEMAS, _NAMED, _PLAIN = "schema", "list of schemas", "schemas by name", "value"
KEYWORDS: Mapping[str, str] = {
    **dict.fromkeys(("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames"), _SCHEMA),
    "then": _SCHEMA,
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("dependentSchemas", "properties"), _NAMED),
    **dict.fromkeys(("const", "dependentRequired", "enum", "format", "pattern", "required", "type"), _PLAIN),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"), _PLAIN),
    **dict.fromkeys(("maxContains", "maxItems", "maxLength", "maxProperties", "uniqueItems"), _PLAIN),
    **dict.fromkeys(("minContains", "minItems", "minLength", "minProperties"), _PLAIN),
    **dict.fromkeys(("$comment", "default", "deprecated", "description", "examples", "title"), _PLAIN),
    **dict.fromkeys(("readOnly", "writeOnly"), _PLAIN),
}
"""Every keyword that is known, and what stands behind it."""
_INSTEAD = {
    "$ref": "write out what it refers to; a YAML alias (&name, *name) repeats it",
    "patternProperties": "propertyNames says which names there may be, additionalProperties what stands behind them",
}

Rule = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]
"""A keyword's, as jsonschema calls it: (validator, what stands behind the keyword, the value, the schema)."""


class TooMuch(Exception):
    """A check took all the steps that it had."""


@cache
def _zones() -> frozenset[str]:
    """The time zones that this machine knows, none where it has no data of them.

    Read once, when a catalogue is: that is in a thread.
    """
    return frozenset(available_timezones())


def _is_zone(value: object) -> bool:
    return not isinstance(value, str) or not _zones() or value in _zones()


class Purse(FormatChecker):
    """The steps that are left to a check. A `FormatChecker` is what jsonschema hands on from a caller to each rule."""

    checkers = {**FormatChecker.checkers, "time-zone": (_is_zone, ())}  # noqa: RUF012  as jsonschema declares it

    def __init__(self, steps: int = MAX_STEPS) -> None:
        super().__init__(FORMATS)
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take steps; raise `TooMuch` where there are not so many."""
        self._left -= steps
        if self._left < 0:
            raise TooMuch


class Shape:
    """One schema, ready to check values."""

    def __init__(self, schema: Any) -> None:
        self.faults = tuple(_faults(schema))
        """What is wrong with the schema itself; no value is checked by one that has any."""
        self._validator = _Bounded({} if self.faults else schema)

    def errors(self, value: Any, purse: Purse) -> Iterator[ValidationError]:
        """Say what is wrong with a value, the first `MAX_FAULTS` of it; raise `TooMuch`."""
        return islice(self._validator.evolve(format_checker=purse).iter_errors(value), MAX_FAULTS)


def _faults(schema: Any) -> Iterator[str]:
    if _weight(schema) > MAX_SCHEMA:
        yield f"more than {MAX_SCHEMA} words and values, written out"
        return
    faults = list(_unknown(schema, ""))
    yield from faults
    if not faults:
        try:
            Draft202012Validator.check_schema(schema, format_checker=FormatChecker(()))
        except SchemaError as error:
            yield error.message


def _unknown(schema: Any, where: str) -> Iterator[str]:
    """Say which keywords and patterns of a schema we do not go by."""
    for word, part in schema.items() if isinstance(schema, dict) else ():
        inside = KEYWORDS.get(word)
        if inside is None:
            yield f"{where}{word}: no keyword that is known here{_hint(word)}"
        elif word == "pattern" and isinstance(part, str):
            yield from (f"{where}{word}: {part!r}: {fault}" for fault in _of_pattern(part))
        elif inside is _SCHEMA:
            yield from _unknown(part, f"{where}{word}.")
        elif inside is _SCHEMAS and isinstance(part, list):
            for number, each in enumerate(part):
                yield from _unknown(each, f"{where}{word}[{number}].")
        elif inside is _NAMED and isinstance(part, dict):
            for name, each in part.items():
                yield from _unknown(each, f"{where}{word}.{name}.")


def _hint(word: str) -> str:
    return f": {_INSTEAD[word]}" if word in _INSTEAD else nearest(word, KEYWORDS)


def _of_pattern(pattern: str) -> Iterator[str]:
    try:
        _compiled(pattern)
    except re2.error as error:
        said = error.args[0]
        yield f"{said.decode() if isinstance(said, bytes) else said} (RE2's syntax: without look-around and references)"


@lru_cache(MAX_PATTERNS)
def _compiled(pattern: str) -> Any:
    """Compile a pattern; raise `re2.error`."""
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = PATTERN_BYTES, False, True
    return re2.compile(pattern, options)


def _pattern(validator: Any, pattern: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str):
        compiled = _compiled(pattern)
        validator.format_checker.spend(len(value) * compiled.programsize // TEXT_A_STEP)
        if not compiled.search(value.encode(errors="surrogatepass")):
            yield ValidationError(f"{value!r} does not match {pattern!r}")


def _unique(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        validator.format_checker.spend(len(value) * _weight(value))  # jsonschema compares each with each
    yield from Draft202012Validator.VALIDATORS["uniqueItems"](validator, wanted, value, schema) or ()


def _counted(rule: Rule) -> Any:
    """Have a rule of jsonschema's take its steps. A message holds the value, so it costs what that weighs."""

    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        purse = validator.format_checker
        purse.spend(1 + _breadth(wanted) + _breadth(value))
        for error in rule(validator, wanted, value, schema) or ():
            purse.spend(_weight(wanted) + _weight(value))
            yield error

    return check


def _breadth(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // TEXT_A_STEP
    return len(value) if isinstance(value, dict | list) else 0


def _weight(value: Any) -> int:
    """Count the words and values in a value, long text as several."""
    if isinstance(value, dict):
        return 1 + sum(1 + len(key) // TEXT_A_STEP + _weight(item) for key, item in value.items())
    if isinstance(value, list):
        return 1 + sum(_weight(item) for item in value)
    return 1 + _breadth(value)


_RULES = {word: rule for word, rule in Draft202012Validator.VALIDATORS.items() if word in KEYWORDS}
_Bounded = validators.create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={
        word: _counted(rule) for word, rule in (_RULES | {"pattern": _pattern, "uniqueItems": _unique}).items()
    },
    type_checker=Draft202012Validator.TYPE_CHECKER,
)

"""Renders every bootenv for every sample machine, and has every file validated. Needs no daemon.

A typo anywhere in a template is found: names that are not given at all when the catalogue is read, keys that no
machine has by comparing what templates read with what machines give, everything else when it is rendered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from provisioner.catalog.bounded import BoundedRenderer
from provisioner.catalog.context import Occasion, answer_context, subject_of
from provisioner.catalog.fleet import Sample, boot, samples
from provisioner.catalog.kernelargs import check_line
from provisioner.catalog.lint import Linter, Verdict, batch_size
from provisioner.catalog.load import Catalog, args_template
from provisioner.catalog.paths import EACH
from provisioner.catalog.samplesecrets import SECRETS
from provisioner.errors import CatalogError, RefusedError, RenderError
from provisioner.model.catalog import Bootenv

KERNEL_ARGS = "kernel arguments"
AT_ONCE = 4
"""Validators that run at once: each is a process that waits for the disk as much as it computes."""


@dataclass(frozen=True, slots=True)
class File:
    """One file as one machine gets it. `validator` is the bootenv's word for what it is; empty for kernel arguments."""

    name: str
    validator: str
    text: str


@dataclass(slots=True)
class Proof:
    """What was found of one bootenv: the sample machines that it takes, and why it does not take the others."""

    bootenv: Bootenv
    taken: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    files: int = 0


@dataclass(slots=True)
class Report:
    """What was found of a catalogue."""

    proofs: list[Proof] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    texts: int = 0
    """Different texts among the files: each is validated once."""

    @property
    def ok(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.verdict.faults


Tell = Callable[[int, int, str], None]
"""Told how far it is: done, of how many, with what."""


def arches(bootenv: Bootenv) -> Sequence[str]:
    """List the architectures to render a bootenv for."""
    return sorted(bootenv.arch) or ["amd64"]


Render = Callable[[str, Mapping[str, Any]], str]
"""Gives the text of a template for one context."""


def files(
    catalog: Catalog, bootenv: Bootenv, sample: Sample, arch: str = "amd64", render: Render | None = None
) -> Iterator[File]:
    """Render everything that one machine gets. Raises `RefusedError` where it cannot have it, else `RenderError`.

    Without `render` it is done here and now, which is for templates of ours: those of others may take for ever.
    """
    render = render or catalog.content.renderer.render
    in_the_open, for_the_ticket = contexts(catalog, bootenv, sample, arch)
    if (found := bootenv.arch.get(arch)) and found.args:
        yield File(KERNEL_ARGS, "", check_line(render(args_template(bootenv.name, arch), in_the_open)) + "\n")
    for answer in bootenv.answers:
        yield File(answer.id, answer.validator, render(answer.template, for_the_ticket))


def contexts(catalog: Catalog, bootenv: Bootenv, sample: Sample, arch: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build what templates see: of kernel arguments, and of files behind a ticket. Raises `RefusedError`."""
    one_boot, subject = boot(sample.machine, bootenv, arch), subject_of(sample.machine)
    try:
        resolved = catalog.resolve(bootenv, sample.layers)
        return (
            answer_context(Occasion(bootenv, subject, one_boot, {}), resolved),
            answer_context(Occasion(bootenv, subject, one_boot, {}, SECRETS), resolved),
        )
    except CatalogError as error:
        raise RefusedError(error.message.partition("\n")[0], faults=error.faults, hint=error.hint) from error


def prove(catalog: Catalog, linter: Linter, *, only: Sequence[str] = (), tell: Tell = lambda *_: None) -> Report:
    """Render and validate; raise `NotFoundError` where `only` names a bootenv that is not there."""
    report, seen = Report(), _Seen()
    texts: Texts = {}
    seen.add({"secrets": _secret_names(catalog)})
    names = [catalog.bootenv(name).name for name in only] or catalog.names()
    machines = samples(catalog.content.values)
    with BoundedRenderer(catalog.content.renderer.codes) as renderer:
        for number, name in enumerate(names):
            tell(number, len(names), f"rendering {name}")
            to = (report.verdict, texts, seen)
            report.proofs.append(_render(catalog, catalog.bootenv(name), machines, renderer.render, to))
            if not report.proofs[-1].taken and (why := list(report.proofs[-1].refused.values())):
                report.verdict.faults.append(f"{name}: suits none of {len(machines)} sample machines: {why[0]}")
    report.verdict.faults += _unknown(catalog, names, machines, seen)
    report.texts = len(texts)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = 0
        for batch, verdict in pool.map(lambda batch: _checked(linter, batch), _batches(texts)):
            tell(done, len(texts), f"validating {next(iter(batch.texts))}")
            done += len(batch.texts)
            report.verdict.faults += verdict.faults
            report.verdict.asked |= verdict.asked
            report.verdict.missing |= verdict.missing
    return report


Texts = dict[tuple[str, bytes], tuple[str, str]]
"""Different texts by validator and digest: where each came from first, and the text itself."""


class _Seen:
    """Everything that any template was ever given, as one nested mapping."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, *given: Mapping[str, Any]) -> None:
        for values in given:
            _merge(self.values, values)


def _render(
    catalog: Catalog,
    bootenv: Bootenv,
    machines: Sequence[Sample],
    render: Render,
    to: tuple[Verdict, Texts, _Seen],
) -> Proof:
    verdict, texts, seen = to
    proof = Proof(bootenv)
    for sample in machines:
        made: list[tuple[str, File]] = []
        refused: list[str] = []
        try:
            for arch in arches(bootenv):
                try:
                    seen.add(*contexts(catalog, bootenv, sample, arch))
                    made += [(arch, file) for file in files(catalog, bootenv, sample, arch, render)]
                except RefusedError as error:
                    refused.append("; ".join(error.faults) or error.message)
        except RenderError as error:
            verdict.faults.append(f"{bootenv.name} for {sample.name}: {error.message}")
            continue
        if len(refused) == len(arches(bootenv)):
            proof.refused[sample.name] = "; ".join(dict.fromkeys(refused))
            continue
        proof.taken.append(sample.name)
        proof.files += len(made)
        for arch, file in made:
            key = (file.validator, hashlib.sha256(file.text.encode()).digest())
            if file.validator:
                texts.setdefault(key, (f"{bootenv.name}/{arch}/{sample.name}/{file.name}", file.text))
    return proof


@dataclass(frozen=True, slots=True)
class _Batch:
    """Texts by name that one validator is asked of together."""

    validator: str
    texts: dict[str, str]


def _batches(texts: Texts) -> Iterator[_Batch]:
    open_ones: dict[str, _Batch] = {}
    for (validator, _), (name, text) in texts.items():
        batch = open_ones.setdefault(validator, _Batch(validator, {}))
        batch.texts[name] = text
        if len(batch.texts) >= batch_size(validator):
            yield open_ones.pop(validator)
    yield from open_ones.values()


def _checked(linter: Linter, batch: _Batch) -> tuple[_Batch, Verdict]:
    verdict = Verdict()
    linter.check(batch.validator, batch.texts, verdict)
    return batch, verdict


def _unknown(catalog: Catalog, names: Sequence[str], machines: Sequence[Sample], seen: _Seen) -> list[str]:
    """List what templates of these bootenvs read that no machine has.

    What other bootenvs are given is known to templates of all; asked where something is unknown, for it takes a second.
    """
    others = [bootenv for bootenv in map(catalog.bootenv, catalog.names()) if bootenv.name not in names]
    among = {template for name in names for template in _templates(catalog, catalog.bootenv(name))} if others else None
    found = list(unknown_paths(catalog, seen.values, among))
    if not found or not others:
        return found
    for bootenv in others:
        for sample in machines:
            with suppress(RefusedError):
                seen.add(*contexts(catalog, bootenv, sample, arches(bootenv)[0]))
    return list(unknown_paths(catalog, seen.values, among))


def _templates(catalog: Catalog, bootenv: Bootenv) -> Iterator[str]:
    """Name the templates that a bootenv's files are made of."""
    own = [args_template(bootenv.name, arch) for arch in arches(bootenv)]
    for template in (*own, *(answer.template for answer in bootenv.answers)):
        yield from catalog.content.renderer.reads(template).texts[::2]


def unknown_paths(catalog: Catalog, given: Mapping[str, Any], among: AbstractSet[str] | None = None) -> Iterator[str]:
    """Name what templates (those `among` them) read that no machine has, also in branches that no machine takes."""
    for template, line, path in catalog.content.renderer.paths():
        if among is not None and template not in among:
            continue
        at: Any = given
        for number, key in enumerate(path):
            if not isinstance(at, dict) or not at or (EACH in at) != (key == EACH):
                break  # a text, a method of a list, or a mapping that holds what a site puts there
            if key not in at:
                if key in ("get", "items", "keys", "values"):
                    break
                known, read = ", ".join(sorted(at)[:12]), ".".join(path[: number + 1]).replace(f".{EACH}", EACH)
                yield f"templates/{template}:{line}: {read}: no such value; there is {known}"
                break
            at = at[key]


def _secret_names(catalog: Catalog) -> dict[str, Any]:
    """Name every secret that a site may give, whether the sample site does or not."""
    names: dict[str, Any] = {}
    for param in catalog.content.params.values():
        *groups, last = param.name.split(".")
        at = names
        for group in groups if param.secret else ():
            at = at.setdefault(group, {})
        if param.secret:
            at[last] = ""
    return names


def _merge(into: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Add what is given; a list is a mapping, too, whose one value is what any of its items has."""
    for key, told in given.items():
        value: Any = told
        if isinstance(told, (list, tuple)):
            value = {EACH: {}}
            for item in told:
                _merge(value, {EACH: item})
        if isinstance(value, Mapping):
            kept = into.get(key)
            into[key] = kept if isinstance(kept, dict) else {}
            _merge(into[key], value)
        elif not isinstance(into.get(key), dict):
            into[key] = value

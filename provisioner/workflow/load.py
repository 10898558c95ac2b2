"""Workflows from catalogue directories: ours first; a site's replace those of the same name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from provisioner import yamlfile
from provisioner.bmc.arguments import NOT_HERE, arguments
from provisioner.bmc.table import VERBS
from provisioner.catalog.load import shipped
from provisioner.errors import CatalogError, ConfigError, LackingError, NotFoundError, WireError
from provisioner.fields import Faults
from provisioner.workflow.actions import placeholders
from provisioner.workflow.decode import Workflow, decode_workflow


class Library:
    """Every workflow, by name."""

    def __init__(self, workflows: Iterable[Workflow] = ()) -> None:
        self._known = {flow.name: flow for flow in workflows}
        self.lacking: LackingError | None = None
        """Raised instead of giving a workflow that a missing one of the site may stand for."""

    def adopt(self, other: Library) -> None:
        """Go by what another one knows from now on; runs keep the workflow that they began with."""
        self._known, self.lacking = other._known, other.lacking

    def all(self) -> list[Workflow]:
        """List workflows, by name."""
        return [self._known[name] for name in sorted(self._known)]

    def get(self, name: str) -> Workflow:
        """Find a workflow; raise `NotFoundError` with the nearest names, `LackingError`."""
        if self.lacking is not None:
            raise self.lacking
        if name not in self._known:
            near = difflib.get_close_matches(name, self._known, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "`provisionctl workflow list` lists them"
            raise NotFoundError(f"there is no workflow {name[:80]!r}", hint=hint)
        return self._known[name]


def load_workflows(paths: Sequence[Path] = (), *, ours: bool = True) -> Library:
    """Read `bootenvs/workflows/*.yaml` of our catalogue and of `paths`; raise `CatalogError` with every fault."""
    roots = (*((shipped(),) if ours else ()), *paths)
    faults, found = Faults(CatalogError), {}
    for file in (file for root in roots for file in sorted((root / "bootenvs" / "workflows").glob("*.yaml"))):
        try:
            document = yamlfile.load(file.read_bytes(), str(file))
        except ConfigError as error:
            faults.found.extend(error.faults or [str(error)])
            continue
        flow = decode_workflow(document, faults)
        if flow.name != file.stem:
            faults.add(document.where(("name",)), f"name: {flow.name!r} in a file that is called {file.name}")
        faults.found.extend(f"{document.where(('steps',))}: {fault}" for fault in _arguments(flow))
        found[flow.name] = flow
    faults.check("workflows")
    return Library(found.values())


def _arguments(flow: Workflow) -> list[str]:
    """Say what is wrong with the arguments of verbs; those with words in braces are known when a run begins."""
    faults = []
    for offer in flow.offers:
        step = offer.step
        if step.verb in NOT_HERE:
            faults.append(f"{step.name}: verb: {step.verb} gives or takes a stream; it is not for a workflow")
        elif step.verb in VERBS and not placeholders(step.given):
            try:
                arguments(step.verb, step.given)
            except WireError as error:
                faults.append(f"{step.name}: with: {error}")
        faults += [f"{step.name}: can: no verb {verb!r}" for verb in offer.can if verb not in VERBS]
    return faults

"""The catalogue as the conductor asks it: parameters and texts of one boot, rendered once while nothing changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from provisioner.catalog.context import Occasion, Subject, answer_context, subject_of
from provisioner.catalog.kept import Kept, Stamp
from provisioner.catalog.kernelargs import check_line
from provisioner.catalog.load import Catalog, answer_template, args_template
from provisioner.catalog.params import Resolved
from provisioner.catalog.system import references
from provisioner.errors import CatalogError, RenderError
from provisioner.model.catalog import AnswerFile, Bootenv
from provisioner.model.machine import Machine


class Rendering(Protocol):
    """What renders; `catalog.renderer.RenderProcess` is the real one."""

    async def render(self, template: str, context: Mapping[str, Any]) -> str: ...


class SiteCatalogue:
    """The catalogue as the conductor asks it."""

    def __init__(self, catalog: Catalog, renderer: Rendering, kept: Kept[bytes] | None = None) -> None:
        self._catalog = catalog
        self._renderer = renderer
        self._kept: Kept[bytes] = kept if kept is not None else Kept()
        self._references: Kept[list[str]] = Kept()

    def bootenv(self, name: str) -> Bootenv:
        """Find a bootenv by name or alias."""
        return self._catalog.bootenv(name)

    def names(self) -> Sequence[str]:
        """List the bootenvs."""
        return self._catalog.names()

    def params(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Resolved:
        """Resolve the parameters of one boot."""
        return self._catalog.resolve_for(bootenv, subject_of(machine), boot)

    def references(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Sequence[str]:
        """Name the secrets that the files of one boot need."""
        subject = subject_of(machine)
        name = (bootenv.name, subject.id if subject is not None else "")
        stamp = self._stamped(Stamp((bootenv, boot, *(subject or ()))))
        found = self._references.at_once(name, stamp)
        if found is None:
            made_from = (*self._parameters(bootenv, subject), subject.params if subject is not None else None, boot)
            found = self._references.find(name, made_from, stamp)
            if found is None:
                found = references(self._catalog.resolve_for(bootenv, subject, boot))
                self._references.keep(name, made_from, found, stamp)
        return found

    def _parameters(self, bootenv: Bootenv, subject: Subject | None) -> tuple[object, object]:
        """Give what parameters follow from beside the machine's own: declarations, and what machines have in common."""
        return self._catalog.content.params, self._catalog.common(bootenv, subject).flat

    def _stamped(self, stamp: Stamp) -> Stamp:
        """Add what everything follows from here: the catalogue, which is replaced whole."""
        return Stamp((self._catalog.content, *stamp.things), stamp.words)

    def context(self, occasion: Occasion) -> dict[str, Any]:
        """Build what templates see."""
        resolved = self._catalog.resolve_for(occasion.bootenv, occasion.subject, occasion.given)
        try:
            return answer_context(occasion, resolved)
        except RenderError as error:
            layout = resolved.values["disk"]["layout"]
            if layout in occasion.bootenv.supports.layouts:
                raise
            hint = f"disk.layout: {layout} can be had with {', '.join(self._able(layout)) or 'no bootenv'}"
            hints = "; ".join(filter(None, (error.hint, hint)))
            raise RenderError(error.message, faults=error.faults, hint=hints) from error

    def _able(self, layout: str) -> list[str]:
        """List the bootenvs whose installers can divide disks so."""
        return [name for name in self.names() if layout in self.bootenv(name).supports.layouts]

    async def kernel_args(self, occasion: Occasion) -> str:
        """Render the kernel's command line: one line that no boot loader can misread."""
        bootenv, arch = occasion.bootenv, occasion.boot.arch
        if arch not in bootenv.arch:
            raise CatalogError(f"{bootenv.name} has nothing for {arch}")
        return check_line((await self._rendered(args_template(bootenv.name, arch), occasion)).decode())

    def kept_answer(self, answer: AnswerFile, machine: Machine, stamp: Stamp) -> bytes | None:
        """Give an answer file that was asked for under this stamp before; None where `answer` has to look closer."""
        return self._kept.at_once((answer.template, machine.id), self._stamped(stamp))

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        """Render an answer file. `stamp` is what the occasion follows from, where that is known."""
        stamp = None if stamp is None else self._stamped(stamp)
        try:
            return await self._rendered(answer_template(occasion.bootenv, answer_id), occasion, stamp)
        except RenderError as error:
            said = occasion.secrets.unsaid(error.message) if occasion.secrets is not None else error.message
            if said == error.message:
                raise
            raise RenderError(said, hint=error.hint) from None  # nor does the log have it

    async def _rendered(self, template: str, occasion: Occasion, stamp: Stamp | None = None) -> bytes:
        """Render a template, unless what it gave last time was made from the very same."""
        subject, reads = occasion.subject, self._catalog.content.renderer.reads(template)
        made_from = (reads.texts, *self._parameters(occasion.bootenv, subject), occasion)
        name = (template, subject.id if subject is not None else occasion.boot.mac)
        text = self._kept.find(name, made_from, stamp)
        if text is None:
            context = self.context(occasion)
            named = {each: context[each] for each in reads.names if each in context}
            text = (await self._renderer.render(template, named)).encode()
            self._kept.keep(name, made_from, text, stamp)
        return text

"""The catalogue: bootenvs, templates and parameters read from directories, checked whole, replaced whole.

A catalogue directory holds `bootenvs/*.yaml`, below it `params/*.yaml` and `values/**/*.yaml`, and `templates/**/*.j2`.
Ours comes first (from the wheel or the source tree); a site's directory after it adds files, and replaces those of the
same name.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner import yamlfile
from provisioner.catalog import bytecode
from provisioner.catalog.compile import MAX_TEMPLATE_BYTES
from provisioner.catalog.context import Subject
from provisioner.catalog.decode import NAME, decode_bootenv, decode_param
from provisioner.catalog.params import LAYERS, Declarations, Layer, Resolved
from provisioner.catalog.render import Renderer
from provisioner.errors import CatalogError, ConfigError, LackingError, NotFoundError
from provisioner.fields import Faults, Fields, nearest
from provisioner.model.catalog import Bootenv, Kind, Param

MAX_FILES = 4000
"""Ours has some hundred; a directory with more is not a catalogue but somebody's home."""

MAX_SEEN = 1 << 15
"""Parameter layers that are remembered as checked: one a machine, some hundred octets each."""
MAX_COMMON = 1024
"""Combinations of bootenv, profile and roles that are remembered, some 15 kB each; a site has a few dozen."""
VALUES = {"global": "global", "site": "site", "profiles": "profile", "roles": "role"}
"""Files and directories below bootenvs/values/, and the layers that they are."""

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped() -> Path:
    """Find the catalogue that comes with the package: inside the wheel, or in the source tree."""
    inside = _PACKAGE / "data"
    return inside if (inside / "bootenvs").is_dir() else _PACKAGE.parent


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that was read, consistent in itself. A reload makes a new one."""

    bootenvs: Mapping[str, Bootenv]
    aliases: Mapping[str, str]
    params: Mapping[str, Param]
    declarations: Declarations
    templates: Mapping[str, str]
    renderer: Renderer
    values: Mapping[tuple[str, str], Layer]
    """What bootenvs/values/*.yaml set, by layer and name: ("site", ""), ("profile", "storage"), ("role", "web")."""


class Catalog:
    """All bootenvs that this daemon knows. Readers always see one whole state of it."""

    def __init__(self, roots: Sequence[Path], content: Content) -> None:
        self._roots = tuple(roots)
        self._content = content
        self._seen: OrderedDict[tuple[str, int], tuple[Mapping[str, Any], Layer]] = OrderedDict()
        self._common: dict[tuple[str, ...], tuple[Bootenv, Resolved]] = {}
        self.lacking: LackingError | None = None
        """Raised by whatever resolves parameters, where a layer of the site is known to be missing."""

    @classmethod
    def load(cls, paths: Sequence[Path] = (), *, ours: bool = True) -> Catalog:
        """Read our catalogue and those at `paths`; raise `CatalogError` with every fault that was found."""
        roots = (*((shipped(),) if ours else ()), *paths)
        return cls(roots, read(roots))

    def reload(self) -> None:
        """Read everything again. A broken catalogue raises `CatalogError`, and what was loaded before stays."""
        self.adopt(self._roots, read(self._roots))

    def adopt(self, roots: Sequence[Path], content: Content) -> None:
        """Go by what was read of these directories, ours among them, from now on (`read`)."""
        self._roots = tuple(roots)
        self._content = content
        self.lacking = None
        self._seen.clear()
        self._common.clear()

    @property
    def content(self) -> Content:
        """What is loaded now; a later reload does not change it."""
        return self._content

    def names(self) -> list[str]:
        """List the bootenvs, by name."""
        return sorted(self._content.bootenvs)

    def bootenv(self, name: str) -> Bootenv:
        """Find a bootenv by its name or one of its aliases."""
        content = self._content
        found = content.bootenvs.get(content.aliases.get(name, name))
        if found is None:
            if self.lacking is not None:  # it may be what is missing
                raise self.lacking
            known = (*content.bootenvs, *content.aliases)
            raise NotFoundError(
                f"no bootenv {name[:80]!r}{nearest(name, known)}", hint="`provisionctl bootenvs` lists them"
            )
        return found

    def resolve(self, bootenv: Bootenv, layers: Sequence[Layer] = ()) -> Resolved:
        """Combine parameters: defaults, the site's, the bootenv's, and `layers` (checked here), in their order."""
        content = self._whole()
        own = Layer("bootenv", f"bootenv {bootenv.name}", bootenv.params)
        given = [self._checked(content, layer) for layer in (own, *layers)]
        ours = [layer for name in ("global", "site") if (layer := content.values.get((name, "")))]
        return content.declarations.resolve(_in_order([*ours, *given]))

    def resolve_for(self, bootenv: Bootenv, machine: Subject | None, boot: Mapping[str, Any] | None = None) -> Resolved:
        """Combine the parameters of one boot: what machines have in `common`, then the machine's own and the boot's."""
        layers = [] if machine is None else [Layer("machine", f"machine {machine.name}", machine.params)]
        layers += [Layer("boot", "this boot", boot)] if boot else []
        content = self._whole()
        own = [self._checked(content, layer) for layer in layers]
        return content.declarations.resolve(own, self.common(bootenv, machine))

    def common(self, bootenv: Bootenv, machine: Subject | None) -> Resolved:
        """Combine what machines of one profile and the same roles (tags `role:NAME`) have in common, once for all."""
        content = self._whole()
        roles = [tag for tag in machine.tags if tag.startswith("role:")] if machine is not None else []
        key = (bootenv.name, machine.profile if machine is not None else "", *roles)
        known = self._common.get(key)
        if known is None or known[0] is not bootenv:
            names = [("profile", key[1]), *(("role", role.removeprefix("role:")) for role in roles)]
            layers = [layer for name in names if (layer := content.values.get(name))]
            if len(self._common) >= MAX_COMMON:
                self._common.clear()
            known = self._common[key] = bootenv, self.resolve(bootenv, layers)
        return known[1]

    def _whole(self) -> Content:
        if self.lacking is not None:
            raise self.lacking
        return self._content

    def _checked(self, content: Content, layer: Layer) -> Layer:
        """Check a layer's values once: whoever changes a machine's parameters puts a new mapping in their place."""
        key = (layer.name, id(layer.values))
        known = self._seen.pop(key, None)
        if known is None or known[0] is not layer.values:
            known = (layer.values, content.declarations.checked(layer))
            if len(self._seen) >= MAX_SEEN:
                self._seen.popitem(last=False)
        self._seen[key] = known
        return known[1]


def _in_order(layers: Sequence[Layer]) -> list[Layer]:
    """Sort layers from the most general to the most specific; those of one kind keep their order."""
    return sorted(layers, key=lambda layer: LAYERS.index(layer.name))


def args_template(bootenv: str, arch: str) -> str:
    """Name the template that a bootenv's kernel arguments are kept as."""
    return f"bootenvs/{bootenv}.{arch}.args.j2"


def answer_template(bootenv: Bootenv, answer_id: str) -> str:
    """Name the template of one answer file; raise `NotFoundError`."""
    answer = bootenv.answer(answer_id)
    if answer is None:
        raise NotFoundError(f"{bootenv.name} has no answer file {answer_id[:80]!r}")
    return answer.template


def read(roots: Sequence[Path]) -> Content:
    """Read catalogue directories, from the most general to the most specific."""
    faults = Faults(CatalogError)
    params = _params(roots, faults)
    declarations = Declarations(params)
    faults.found.extend(declarations.faults())
    values = _values(roots, declarations, faults)
    urls = {name: param.default for name, param in params.items() if isinstance(param.default, str)}
    for layer in (values.get(("global", "")), values.get(("site", ""))):
        said = (
            {name: params[name].default if url is None else url for name, url in layer.values.items()} if layer else {}
        )
        urls |= {name: url for name, url in said.items() if isinstance(url, str)}
    bootenvs: dict[str, Bootenv] = {}
    for path in _files(roots, "bootenvs", ".yaml", faults):
        document = _document(path, faults)
        if document is not None:
            bootenv = decode_bootenv(document, faults, urls)
            if bootenv.name != path.stem:
                faults.add(document.where(("name",)), f"name: {bootenv.name!r} in a file that is called {path.name}")
            _, wrong = declarations.flatten(bootenv.params)
            faults.found.extend(f"{document.where(('params',))}: params: {fault}" for fault in wrong)
            unknown = [name for name in bootenv.requires if name not in params]
            faults.found.extend(f"{document.where(('requires',))}: no parameter {name}" for name in unknown)
            bootenvs[bootenv.name] = bootenv
    templates = _templates(roots, faults)
    for bootenv in bootenvs.values():
        templates |= {args_template(bootenv.name, arch): files.args for arch, files in bootenv.arch.items()}
    renderer = Renderer(templates, known := bytecode.kept())
    for fault in renderer.check():
        faults.found.append(fault)
    aliases = _aliases(bootenvs, faults)
    _check_references(bootenvs, templates, faults)
    faults.check("catalogue")
    if renderer.parts != known and tuple(roots) == (shipped(),):
        bytecode.keep(renderer.parts)
    return Content(bootenvs, aliases, params, declarations, templates, renderer, values)


def _check_references(bootenvs: Mapping[str, Bootenv], templates: Mapping[str, str], faults: Faults) -> None:
    for bootenv in bootenvs.values():
        for answer in bootenv.answers:
            if answer.template not in templates:
                faults.add(bootenv.source, f"answers.{answer.id}: no template {answer.template}")
        if bootenv.installs_with:
            helper = bootenvs.get(bootenv.installs_with)
            if helper is None or helper.kind is not Kind.DISCOVERY:
                faults.add(bootenv.source, f"installs_with: {bootenv.installs_with!r} is no bootenv of kind discovery")


def _aliases(bootenvs: Mapping[str, Bootenv], faults: Faults) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for bootenv in bootenvs.values():
        for alias in bootenv.aliases:
            taken = alias if alias in bootenvs else aliases.get(alias)
            if taken is not None:
                faults.add(bootenv.source, f"aliases: {alias!r} is taken by {taken}")
            if not re.fullmatch(NAME, alias):
                faults.add(bootenv.source, f"aliases: {alias!r} does not match {NAME}")
            aliases[alias] = bootenv.name
    return aliases


def _params(roots: Sequence[Path], faults: Faults) -> dict[str, Param]:
    params: dict[str, Param] = {}
    for path in _files(roots, "bootenvs/params", ".yaml", faults):
        document = _document(path, faults)
        if document is None:
            continue
        fields = Fields(document, faults)
        for name in document.value if isinstance(document.value, dict) else ():
            param = decode_param(name, fields.part(name))
            taken = params.get(name)
            if taken is not None:
                faults.add(document.where((name,)), f"{name}: declared in {taken.source} too")
            params[name] = param
    return params


def _values(roots: Sequence[Path], declarations: Declarations, faults: Faults) -> dict[tuple[str, str], Layer]:
    """Read bootenvs/values/site.yaml, bootenvs/values/profiles/NAME.yaml and the like, with declared names as keys."""
    values: dict[tuple[str, str], Layer] = {}
    for root in roots:
        for path in _walk([root], "bootenvs/values", ".yaml", faults, deep=True):
            name = path.relative_to(root / "bootenvs/values").with_suffix("").as_posix()
            key = VALUES.get(name.partition("/")[0])
            document = _document(path, faults)
            if key is None or (key in ("global", "site")) is ("/" in name):
                faults.add(str(path), f"values are in {', '.join(VALUES)}; the last two are directories")
            elif document is not None and isinstance(document.value, dict):
                flat, wrong = declarations.flatten(document.value)
                faults.found.extend(f"{document.source}: {fault}" for fault in wrong)
                values[key, name.partition("/")[2]] = Layer(key, f"bootenvs/values/{name}.yaml", flat)
    return values


def _templates(roots: Sequence[Path], faults: Faults) -> dict[str, str]:
    templates: dict[str, str] = {}
    for root in roots:
        folder = root / "templates"
        for path in _walk([root], "templates", ".j2", faults, deep=True):
            name = path.relative_to(folder).as_posix()
            text = _text(path, MAX_TEMPLATE_BYTES, faults)
            if not all(re.fullmatch(NAME, part) for part in name.split("/")):
                faults.add(str(path), f"a template's path is made of names that match {NAME}")
            if text is not None:
                templates[name] = text
    return templates


def _files(roots: Sequence[Path], folder: str, ending: str, faults: Faults) -> list[Path]:
    """List the files of one kind; a later root's file takes the place of an earlier one of the same name."""
    return list({path.name: path for path in _walk(roots, folder, ending, faults, deep=False)}.values())


def _walk(roots: Sequence[Path], folder: str, ending: str, faults: Faults, *, deep: bool) -> Iterator[Path]:
    """List regular files below the roots. What a link points at outside its root is a fault, not followed."""
    count = 0
    for root in roots:
        top = root / folder
        search: Callable[[str], Iterator[Path]] = top.rglob if deep else top.glob
        for path in sorted(search(f"*{ending}")):
            count += 1
            if count > MAX_FILES:
                faults.add(str(top), f"more than {MAX_FILES} files")
                return
            if not path.is_file() or not path.resolve().is_relative_to(top.resolve()):
                faults.add(str(path), "not a regular file of this directory")
                continue
            yield path


def _document(path: Path, faults: Faults) -> yamlfile.Document | None:
    text = _text(path, yamlfile.MAX_BYTES, faults)
    if text is None:
        return None
    try:
        return yamlfile.load(text, path.name if path.is_relative_to(shipped()) else str(path))
    except ConfigError as error:
        faults.found.extend(error.faults or [str(error)])
        return None


def _text(path: Path, limit: int, faults: Faults) -> str | None:
    try:
        if path.stat().st_size > limit:
            faults.add(str(path), f"{path.stat().st_size} bytes, at most {limit} are read")
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        faults.add(str(path), f"cannot be read: {error}")
        return None

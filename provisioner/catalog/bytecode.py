"""The templates that we ship, compiled, kept beside Python's own bytecode of what compiles them.

Compiling them is most of the second that reading a catalogue takes. All is as with Python's: whoever can write there
can change our code as well, nothing is kept where we cannot write, and what another version made is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

from provisioner.catalog import escape
from provisioner.catalog.compile import Part

MAKERS = ("compile.py", "escape.py", "paths.py")
"""The modules that decide what is made of a template; a version that is worked on changes without a new number."""
DIGEST_BYTES = hashlib.sha256().digest_size


def where() -> Path:
    """Say which file they are kept in."""
    return Path(cache_from_source(escape.__file__)).with_name(f"templates.{sys.implementation.cache_tag}")


def kept() -> dict[str, Part]:
    """Read what is kept, by name; nothing where another version made it, or it is damaged. Blocks."""
    try:
        content = where().read_bytes()
        digest, found = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if digest != _digest(found):
            return {}
    except (OSError, NotImplementedError):  # not there, or a Python without bytecode
        return {}
    return {name: Part(*values) for name, values in marshal.loads(found).items()}  # noqa: S302 - see above


def keep(parts: Mapping[str, Part]) -> None:
    """Keep these, where we can. Blocks."""
    if sys.dont_write_bytecode:
        return
    found = marshal.dumps(
        {name: tuple(getattr(part, one.name) for one in fields(Part)) for name, part in parts.items()}
    )
    with contextlib.suppress(OSError, NotImplementedError):
        _replace(where(), _digest(found) + found)


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    scratch = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        scratch.chmod(0o644)
        scratch.replace(file)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _digest(found: bytes) -> bytes:
    """What stands before it: of its octets, and of all that they were made by."""
    digest = hashlib.sha256(MAGIC_NUMBER + version("jinja2").encode())
    for maker in MAKERS:
        digest.update(Path(escape.__file__).with_name(maker).read_bytes())
    digest.update(found)
    return digest.digest()

"""Rules, codecs and values are covered by tests: reads what coverage measured and says which modules are not.

    python .ci/covered.py --settings CONFIG
    python -m pytest --cov --cov-config=CONFIG --cov-report=json:FILE ... && python .ci/covered.py FILE

Lines and branches count. Shells are proven by tests with real peers, often in other processes, which this does not see:
they are not measured, as measuring more than doubles the time of a test.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from layers import layer_of
from lints import module_name

FLOOR_PERCENT = 90.0
"""Of lines and branches of each module. What is left are mostly arms that a type already rules out."""


def is_measured(path: str) -> bool:
    """Say whether the floor holds for this module."""
    return layer_of(module_name(path)) in ("rules", "ground")


def settings(paths: Iterable[str]) -> str:
    """What coverage.py is to be told: of the package's modules, leave out those for which there is no floor."""
    left_out = "".join(f"    {path}\n" for path in paths if not is_measured(path))
    return f"[run]\nbranch = true\nsource = provisioner\nomit =\n{left_out}"


def thin(report: Mapping[str, Any]) -> Iterator[str]:
    """The rules that are covered too little, with the first lines that no test runs."""
    for path, measured in sorted(report["files"].items()):
        percent = measured["summary"]["percent_covered"]
        if is_measured(path) and percent < FLOOR_PERCENT:
            lines = ", ".join(str(line) for line in measured["missing_lines"][:8])
            yield f"{path}: {percent:.0f} % covered, at least {FLOOR_PERCENT:.0f} %; no test runs lines {lines} ..."


def main(*arguments: str) -> int:
    """Print what is wrong; 0 where nothing is. With --settings, write those of a measurement."""
    file = arguments[-1]
    if arguments[0] == "--settings":
        Path(file).write_text(settings(str(path) for path in sorted(Path("provisioner").rglob("*.py"))))
        return 0
    found = list(thin(json.loads(Path(file).read_text())))
    print("\n".join(found) or f"every rule, codec and value is covered to {FLOOR_PERCENT:.0f} %")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Measures which lines and branches of rules the tests reach: `-p tests.measuring`, with the report's path in MEASURED.

Probes are put into a module while it is imported, and take themselves out again: the tests take an eighth longer,
and two thirds with tracing. Each worker measures for itself; who hands out the tests puts it together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.ci.load import load

ROOT = Path(__file__).parents[1]
REPORT = "MEASURED"
NOT_CODE = (r":\s*\.\.\.$", r"^\s*\.\.\.$")
"""Bodies that a protocol has."""


class Rules:
    """The modules that are measured, as slipcover asks for them."""

    covered = load("covered")

    def matches(self, file: str | Path | None) -> bool:
        path = Path(file or "")
        if path.suffix != ".py" or not path.is_relative_to(ROOT / "provisioner"):
            return False
        found: bool = self.covered.is_measured(str(path.relative_to(ROOT)))
        return found


class Measuring:
    """One process's part of it."""

    def __init__(self) -> None:
        if REPORT not in os.environ:
            raise pytest.UsageError(f"-p tests.measuring: no {REPORT}=FILE says where the report goes")
        import slipcover  # not earlier: pytest looks through its modules first, for their asserts

        self.found = slipcover.Slipcover(branch=True, exclude_also=list(NOT_CODE))
        self.merge = slipcover.merge_coverage
        slipcover.ImportManager(self.found, Rules()).__enter__()

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Write what was found, and who hands out the tests what all others have found."""
        try:
            return (yield)
        finally:
            report, worker = os.environ[REPORT], os.environ.get("PYTEST_XDIST_WORKER", "")
            found = self.found.get_coverage()
            for path in () if worker else sorted(Path(report).parent.glob(f"{Path(report).name}.gw*")):
                self.merge(found, json.loads(path.read_text()))
            Path(f"{report}.{worker}" if worker else report).write_text(json.dumps(found))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before the first module of ours is imported."""
    early_config.pluginmanager.register(Measuring())

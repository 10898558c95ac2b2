"""What each program of the daemon imports before it is asked for anything: what is not on the list creeps in unseen."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from provisioner.firstuse import at_hand

ROOT = Path(__file__).parents[1]
LIBRARIES = {
    re.split(r"[\[>]", line)[0]
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
}

AT_THE_START = {
    "provisioner.daemon": {
        "aiohttp": "its API, and what machines ask for",
        "cryptography": "secrets in the store",
        "google-re2": "patterns of parameters, when the catalogue is read",
        "jinja2": "templates are compiled when it is read",
        "jsonschema": "and parameters checked",
        "msgspec": "rows of the store",
        "pyyaml": "the configuration, the catalogue",
    },
    "provisioner.catalog.renderchild": {"jinja2": "it renders", "msgspec": "what it is asked"},
    "provisioner.netwatch.helper": {"scapy": "frames", "msgspec": "what it is asked", "cryptography": "scapy's"},
    "provisioner.bmc.ipmi.worker": {"pyghmi": "IPMI", "msgspec": "what it is asked", "cryptography": "pyghmi's"},
}


@pytest.mark.slow
@pytest.mark.parametrize(("program", "needed"), AT_THE_START.items(), ids=AT_THE_START.keys())
def test_a_start_imports_what_it_needs_and_no_more(program: str, needed: dict[str, str]) -> None:
    code = f"import sys, {program}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    homes = packages_distributions()
    assert {home.lower() for name in said.split() for home in homes.get(name, ())} & LIBRARIES == needed.keys()


async def test_a_module_is_there_when_it_was_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "few_need_it.py").write_text("import threading\nBY = threading.current_thread()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    await at_hand("few_need_it")
    import few_need_it  # type: ignore[import-not-found]

    assert few_need_it.BY is not threading.main_thread()

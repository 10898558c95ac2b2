"""`backup` works on a state directory, and says what it wrote."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.cli.conftest import Ctl
from tests.test_backups import site


def test_a_backup_is_made_and_told(ctl: Ctl, tmp_path: Path) -> None:
    config = asyncio.run(site(tmp_path))
    path = tmp_path / "provisioner.yaml"
    path.write_text(json.dumps({"store": {"state_dir": str(config.state_dir)}}))
    ran = ctl("backup", str(tmp_path / "b"), "--config", str(path))
    assert (ran.status, ran.out) == (0, ""), ran.err
    first, last = ran.err.splitlines()
    assert first.startswith(f"{tmp_path}/b: catalogue, secrets.key, state.db, tls; ")
    assert last == f"not in it: artifacts, mirror, consoles of {config.state_dir}"
    again = ctl("backup", str(tmp_path / "b"), "--config", str(path))
    assert (again.status, again.err) == (
        1, f"provisionctl: {tmp_path}/b: is there already (a backup is a folder of its own)\n"
    )  # fmt: skip
    ran = ctl("backup", str(tmp_path / "c"), "--config", str(path), "--without-key")
    assert ran.err.startswith(f"{tmp_path}/c: catalogue, state.db, tls; ")

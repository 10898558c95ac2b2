"""What `boot --plan` prints: everything that would happen, and what it would be refused for."""

from __future__ import annotations

import time
from collections.abc import Iterator

from provisioner.cli.text import Row, age, listing, printable, seconds_of, size

SHORT_HASH = 12
"""Digits of a SHA-256 that tell files apart; `-o json` has all of them."""


def plan_lines(plan: Row) -> Iterator[str]:
    """Tell what would happen to one machine."""
    yield printable(f"{plan['machine']}: {plan['verb']} {plan['bootenv']} ({plan['title']}); nothing was touched")
    if plan["untested"] or not plan["tested"]:
        yield printable(f"  untested: {plan['untested'] or 'nobody has booted it yet'}")
    sections = (
        ("steps", ", ".join(plan["steps"])),
        ("dhcp", "\n".join(_answer(each) for each in plan["dhcp"])),
        ("chain", "\n".join(plan["chain"])),
        ("boot script", plan["script"].rstrip()),
        ("files", "\n".join(_file(each) for each in plan["files"])),
        ("disks", "\n".join(_disks(plan))),
    )
    yield from listing([(name, text) for name, text in sections if text], "  ")
    for check in plan["checks"]:
        hint = f" ({check['hint']})" if check["hint"] and not check["ok"] else ""
        mark = "ok     " if check["ok"] else "refused"
        yield printable(f"  {mark} {check['name']}: {check['text']}{hint}")


def _answer(said: Row) -> str:
    if not said["answered"]:
        return f"{said['asker']}, {said['link']}: no answer: {said['reason']}"
    parts = [said["address"] or "no address of ours"]
    parts += [f"next server {said['next_server']}"] if said["next_server"] else []
    parts += [f"boot file {said['boot_file']}"] if said["boot_file"] else [said["plan"]]
    return f"{said['asker']}, {said['link']}: {', '.join(parts)}"


def _file(file: Row) -> str:
    if file["fault"]:
        return f"{file['kind']} {file['name']}: {file['fault']}"
    digest = f", sha256 {file['sha256'][:SHORT_HASH]}" if file["sha256"] else ""
    origin = f", {file['origin']}" if file["origin"] else ""
    return f"{file['kind']} {file['name']}: {size(file['size_bytes'])}{digest}{origin}"


def _disks(plan: Row) -> Iterator[str]:
    observed = seconds_of(plan["observed"])
    seen = f" ({age(time.time() - observed)} ago)" if observed is not None else ""
    for disk in plan["disks"]:
        about = " ".join(part for part in (size(disk["size_bytes"]), disk["model"], disk["serial"]) if part)
        holds = disk["holds"] or "blank"
        fate = {True: f"ERASED, it holds {holds}", False: f"kept, it holds {holds}", None: f"not decided, {holds}"}
        yield f"{disk['name']} {about}: {fate[disk['loses']]}{seen}"

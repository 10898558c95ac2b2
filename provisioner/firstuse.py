"""Modules that few daemons need, imported at their first use: most of a start would be for what nobody asks of it.

    await at_hand("asyncssh")
    import asyncssh

In this order, in one function: importing takes 50 to 200 ms, in a thread here, and `import` then only looks it up. That
is what type checkers and layers see (`.ci/lints.py` has it follow). Where a module of ours is all about a library, it
keeps that at its top, and is itself what is asked for. tests/test_firstuse.py says what every start brings.
"""

from __future__ import annotations

import asyncio
from importlib import import_module


async def at_hand(module: str) -> None:
    """Import a module, unless it is there."""
    await asyncio.to_thread(import_module, module)

"""What machines ask and say: boot scripts, answer files, and the calls of agents, installers and new systems.

Each call is checked by whom its token stands for; what follows from it is the conductor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.boot.script import Dialect
from provisioner.lifecycle.agents import Agents
from provisioner.lifecycle.answers import Answers
from provisioner.lifecycle.boots import Boots
from provisioner.lifecycle.firstboot import FailedHook
from provisioner.lifecycle.ports import Ports
from provisioner.model.net import Mac


@dataclass(frozen=True, slots=True)
class Booter:
    """The machines' door to the conductor: `web.ports.Booter` with everything that answers behind it."""

    ports: Ports
    boots: Boots
    answers: Answers
    agents: Agents

    def loader_fetched(self, mac: Mac, name: str) -> None:
        """Hear that a machine has a file of this name, whole: it may be its loader."""
        self.boots.loader_fetched(mac, name)

    async def boot_script(self, mac: Mac, address: str, dialect: Dialect) -> bytes:
        """Write a machine's boot script."""
        return await self.boots.script(mac, address, dialect)

    async def answer(self, ticket: str, answer: str, address: str) -> tuple[bytes, str]:
        """Give out an answer file, once, with its content type."""
        return await self.answers.fetch(ticket, answer, address)

    async def own_answer(self, answer: str, address: str) -> tuple[bytes, str]:
        """Give out the answer file of this name that is for whoever has this address, once."""
        return await self.answers.own(answer, address)

    def admit(self, token: str, address: str) -> None:
        """Refuse a token by which nobody may say anything."""
        self.agents.admit(token, address)

    async def agent_facts(self, token: str, address: str, raw: bytes) -> str:
        """Record facts; return a command."""
        return await self.agents.facts(self.ports, token, address, raw)

    async def agent_next(self, token: str, address: str, wait_s: float) -> str:
        """Return the agent's next command."""
        return await self.agents.next(token, address, wait_s)

    async def agent_job(self, token: str, address: str, job_id: str) -> bytes:
        """Give out a job, once."""
        return await self.agents.job(self.ports, token, address, job_id)

    async def agent_progress(self, token: str, address: str, phase: str, percent: float | None, message: str) -> None:
        """Hear how far a job is."""
        await self.agents.progress(token, address, phase, percent, message)

    async def agent_done(self, token: str, address: str, job_id: str, status: int, message: str) -> str:
        """Hear that a job ended; return a command."""
        return await self.agents.done(token, address, job_id, status, message)

    async def agent_log(self, token: str, address: str, text: str, up_s: float | None) -> None:
        """Keep lines of an agent's log."""
        await self.agents.log(token, address, text, up_s)

    async def agent_step(self, token: str, address: str, wait_s: float) -> str:
        """Return what an installer or a new system is to do for a workflow."""
        return await self.agents.step(token, address, wait_s)

    async def agent_output(self, token: str, address: str, job: str, place: int, text: bytes) -> None:
        """Keep a piece of what a step of a workflow prints."""
        await self.agents.output(token, address, job, place, text)

    async def hook_failed(self, token: str, address: str, hook: str, status: int, output: str) -> None:
        """Hear that a script of an installed system failed."""
        await self.agents.hook_failed(self.ports, token, address, FailedHook(hook, status, output))

    async def phone_home(
        self, token: str, address: str, hostname: str, os: str, uptime_s: float, addresses: Sequence[str]
    ) -> None:
        """Hear from an installed system."""
        await self.agents.home(token, address, hostname, f"{os} (up {uptime_s:.0f} s)", addresses)

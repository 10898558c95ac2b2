"""Who is being served, and who has to go when there is no room. No I/O of its own."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.tftp.options import GRANTED, Limits
from provisioner.tftp.packet import Request
from provisioner.tftp.session import Session
from provisioner.tftp.sockets import Reply, SocketAddress
from provisioner.tftp.trace import Client
from provisioner.tftp.transfer import Outcome


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is done at once. What is over is met with silence: firmware asks again, and an ERROR would end its boot.

    A transfer takes a file descriptor, a socket buffer while a window is out (at most 200 kB) and about 5 kB of ours.
    """

    transfers: int = 2048
    per_client: int = 32
    """Nobody's firmware opens more than two; the lab's and a NAT's share an address."""
    granted: Limits = GRANTED


DEFAULT = Bounds()


class Job:
    """One request that was granted a place."""

    __slots__ = ("began", "client", "raw", "reply", "request", "session")

    def __init__(self, request: Request, raw: bytes, reply: Reply, client: Client) -> None:
        self.request, self.raw, self.reply, self.client = request, raw, reply, client
        self.session: Session | None = None
        self.began = 0.0

    @property
    def half_open(self) -> bool:
        return self.session is None or self.session.transfer.half_open


class Places:
    """Who is being served, and who has to go when there is no room: the oldest that never showed it exists."""

    def __init__(self, bounds: Bounds) -> None:
        self.limit = bounds.transfers
        self._per_client = bounds.per_client
        self._jobs: dict[SocketAddress, Job] = {}
        self._by_client: dict[str, dict[SocketAddress, Job]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def holds(self, job: Job) -> bool:
        return self._jobs.get(job.reply.peer) is job

    def repeats(self, job: Job) -> bool:
        """Say whether this is the same request again, of a transfer that waits for its first answer."""
        old = self._jobs.get(job.reply.peer)
        return old is not None and old.raw == job.raw and old.half_open

    def take(self, job: Job) -> bool:
        """Give the job a place, if need be that of a half-open transfer. A client's new request ends its old one."""
        old = self._jobs.get(job.reply.peer)
        if old is not None:
            self._evict(old, "a new request from this port")
        mine = self._by_client.get(job.reply.host, {})
        if len(mine) >= self._per_client and not self._evict_half_open(mine):
            return False
        if len(self._jobs) >= self.limit and not self._evict_half_open(self._jobs):
            return False
        self._jobs[job.reply.peer] = job
        self._by_client.setdefault(job.reply.host, {})[job.reply.peer] = job
        return True

    def free(self, job: Job) -> None:
        if not self.holds(job):
            return
        del self._jobs[job.reply.peer]
        mine = self._by_client[job.reply.host]
        del mine[job.reply.peer]
        if not mine:
            del self._by_client[job.reply.host]

    def _evict_half_open(self, jobs: dict[SocketAddress, Job]) -> bool:
        oldest = next((job for job in jobs.values() if job.half_open), None)
        if oldest is None:
            return False
        self._evict(oldest, "busy")
        return True

    def _evict(self, job: Job, reason: str) -> None:
        if job.session is not None:
            job.session.stop(Outcome.STOPPED, reason)
        self.free(job)

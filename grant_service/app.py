"""The wiring: what is made from what, in which order it opens and in which it closes."""

import asyncio
import hashlib
import secrets
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import structlog

from grant_service.archive.archiver import Archiver
from grant_service.archive.files import ArchiveFiles
from grant_service.archive.reading import reading
from grant_service.archive.seals import Seals
from grant_service.core.clock import Clock, system_clock
from grant_service.core.store import Store
from grant_service.core.tools import Tools
from grant_service.core.verbs import Delegated, Extended, Issued
from grant_service.rpc import listener
from grant_service.rpc.action import ActionServicer
from grant_service.rpc.control import ControlServicer
from grant_service.rpc.decode import Decoder, NewId
from grant_service.rpc.following import Followers
from grant_service.rpc.grant import GrantServicer
from grant_service.rpc.guard import Guard, Slots
from grant_service.rpc.heads import HeadSigner
from grant_service.rpc.health import Health
from grant_service.rpc.journal import JournalServicer
from grant_service.rpc.line import Line
from grant_service.rpc.roles import Role
from grant_service.rpc.server import build_server
from grant_service.rpc.session import Sessions
from grant_service.rpc.tally import Tally
from grant_service.rpc.undo import UndoServicer
from grant_service.rpc.watching import Watching
from grant_service.rpc.works import Works
from grant_service.settings import Settings
from grant_service.store.lockfile import LockFile, Taken
from grant_service.store.memory import MemoryStore
from grant_service.store.sqlite import SqliteStore
from grant_service.tokens.claims import MAX_LIFE_MS
from grant_service.tokens.keys import Keyring, load_or_create
from grant_service.tokens.mint import mint
from grant_service.tokens.secret import SecretToken
from grant_service.tokens.verify import Verifier
from grant_service.tools_file import read_tools

_log = structlog.get_logger()
_OPERATORS = (Role.OPERATOR, Role.AUDITOR)
#: On each listener.
_REPORTS_AT_ONCE, _COUNTS_AT_ONCE = 2, 8


async def open_store(settings: Settings, clock: Clock = system_clock) -> Store:
    """Open the store the settings name, or say why it is not fit."""
    if settings.store == "memory":
        return MemoryStore(clock)
    if settings.store == "sqlite":
        return await SqliteStore.start(settings.home / "data" / "countermand.db", clock)
    from grant_service.store.redis import RedisStore

    return await RedisStore.connect(settings.store, accept_durability=settings.accept_durability)


def random_id(prefix: str) -> str:
    """Make an id nobody can guess: 96 bits."""
    return prefix + secrets.token_hex(12)


@dataclass(slots=True)
class _Listening:
    server: grpc.aio.Server
    slots: Slots
    followers: Followers
    address: str
    sessions: Sessions


class Sidecar:
    """A running sidecar. Start it, stop it."""

    def __init__(self, settings: Settings, store: Store, lock: LockFile, listening: dict[Role, _Listening]):
        self.settings = settings
        self.store = store
        self._lock = lock
        self._listening = listening
        self._health = Health(store)
        self._archive: ArchiveFiles | None = None
        self._watching, self._works = Watching(store.aside()), Works(store.neighbours(_name(settings.home)))
        self._tally, self.metrics_address = Tally(), ""
        self._at_work: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        settings: Settings,
        *,
        store: Store | None = None,
        clock: Clock = system_clock,
        new_id: NewId = random_id,
    ) -> "Sidecar":
        """Open everything in order; what was opened is closed again if a later step fails."""
        tools = read_tools(settings)
        run = listener.prepare_directory(settings.home)
        lock = _locked(settings.home, run)
        try:
            keyring = load_or_create(settings.home / "keys")
            opened = store or await open_store(settings, clock)
        except BaseException:
            lock.release()
            raise
        sidecar = cls(settings, opened, lock, {})
        try:
            await sidecar._listen(keyring, run, new_id, tools)
        except BaseException:
            await sidecar.stop()
            raise
        return sidecar

    async def _listen(self, keyring: Keyring, run: Path, new_id: NewId, tools: Tools) -> None:
        await self._health.look()
        self._at_work.append(asyncio.create_task(self._health.watch(), name="health"))
        if directory := self.settings.archive_path:
            seals = Seals(keyring)
            self._archive = await asyncio.to_thread(ArchiveFiles, directory, seals.doubt)
            archiver = self._archiver(self._archive, seals)
            self._at_work.append(asyncio.create_task(archiver.work(), name="archive"))
        self._at_work.append(asyncio.create_task(self._watching.work(), name="watching"))
        if self._works.neighbours:
            self._works.neighbours.answer_with(self._works.answer)
        verifier = Verifier(keyring, self.settings.token_cache)
        for offset, role in enumerate(Role):
            decode = Decoder(self.settings, role, verifier.verify, new_id, tools)
            self._listening[role] = await self._serve(role, decode, keyring, run, offset)
        if self.settings.metrics_listen:
            self._serve_metrics(self.settings.metrics_listen, run)

    def _serve_metrics(self, where: str, run: Path) -> None:
        # Loaded where it is asked for only.
        from grant_service.http.metrics import Metrics
        from grant_service.http.server import Served, bind

        listening, self.metrics_address = bind(where, run)
        metrics = Metrics(self._tally, self._health, self._watching, self._listening)
        served = Served(listening, lambda: metrics.snapshot().text)
        self._at_work.append(asyncio.create_task(served.work(), name="metrics"))

    def _archiver(self, files: ArchiveFiles, seals: Seals) -> Archiver:
        settings = self.settings
        after_ms, keep_ms = round(settings.archive_after * 1000), round(settings.archive_keep * 1000)
        return Archiver(self.store, files, seals.block, after_ms, keep_ms)

    async def _serve(
        self, role: Role, decode: Decoder, keyring: Keyring, run: Path, offset: int
    ) -> _Listening:
        settings, store = self.settings, self.store
        operators = role in _OPERATORS
        most = settings.max_operator_calls if operators else settings.max_calls
        longest = settings.operator_timeout
        slots, followers = Slots(most), Followers(most // 4, longest)
        # Half of the slots at the most are for what decides nothing; long reports take memory, too.
        reports, counts = (
            Line(longest, _REPORTS_AT_ONCE, most // 4),
            Line(longest, _COUNTS_AT_ONCE, most // 4),
        )
        signer = HeadSigner(keyring)
        told_from = reading(store, self._archive) if self._archive else store
        actions = ActionServicer(store, decode, self._tally)
        sessions = Sessions(decode, actions, self._watching, self._works)
        servicers: dict[str, object] = {
            "GrantService": GrantServicer(store, decode, partial(_mint, keyring), self._tally),
            "ActionService": actions,
            "ControlService": ControlServicer(told_from, decode, counts, signer, self._tally, longest),
            "JournalService": JournalServicer(told_from, reports, counts, followers, signer, self._works),
            "UndoService": UndoServicer(store, decode, settings.decision_timeout),
            "SessionService": sessions,
        }
        guard = Guard(
            role, slots, followers, self._tally, settings.decision_timeout, settings.operator_timeout
        )
        server = build_server(guard, servicers, self._health.servicer)
        try:
            address = self._bind(server, listener.socket_path(run, role), offset)
        except BaseException:
            await listener.discard(server)
            raise
        await server.start()
        return _Listening(server, slots, followers, address, sessions)

    def _bind(self, server: grpc.aio.Server, path: Path, offset: int) -> str:
        address = listener.bind(server, path)
        if self.settings.insecure_dev_tcp:
            address += f" and {listener.bind_tcp(server, self.settings.insecure_dev_tcp, offset)}"
        return address

    @property
    def addresses(self) -> dict[str, str]:
        """Where it listens, for whom."""
        return {role.value: one.address for role, one in self._listening.items()}

    async def stop(self) -> None:
        """Drain, then close in the reverse order: not ready, calls under way out, listeners, store, lock."""
        await self._health.drain()
        for one in self._listening.values():
            one.followers.end()
        drains = (one.slots.drain(self.settings.drain_timeout) for one in self._listening.values())
        left = sum(await asyncio.gather(*drains))
        await asyncio.gather(*(one.sessions.close() for one in self._listening.values()))
        await asyncio.gather(*(one.server.stop(grace=1) for one in self._listening.values()))
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        if self._archive:
            self._archive.close()
        if self._works.neighbours:
            await self._works.neighbours.close()
        await self.store.close()
        self._lock.release()
        _log.info("stopped", calls_left=left)


def _name(home: Path) -> str:
    """Answer the name by which other sidecars miss this one: that of its home, which stays over restarts."""
    return hashlib.sha256(f"{socket.gethostname()}:{home.resolve()}".encode()).hexdigest()[:16]


def _locked(home: Path, run: Path) -> LockFile:
    lock = LockFile(run / "lock")
    try:
        lock.take()
    except Taken as taken:
        cause = f"home {home} is in use by another sidecar ({taken}), and a home has one"
        remedy = "stop that one, or set COUNTERMAND_HOME to another directory"
        raise listener.Unlistenable(cause, remedy) from taken
    return lock


def _mint(keyring: Keyring, issued: Issued | Delegated | Extended) -> SecretToken:
    """Mint a grant's token: the same one as long as the grant ends at the same time."""
    grant = issued.grant
    return mint(
        keyring,
        grant_id=grant.grant_id,
        run_id=grant.run_id,
        ancestors=grant.ancestors,
        audience=grant.audience,
        subject=issued.subject,
        # One that was extended may have been issued longer ago than any token lasts.
        issue_time=max(grant.issue_time, grant.expire_time - MAX_LIFE_MS),
        expire_time=grant.expire_time,
        chain=grant.chain,
    )

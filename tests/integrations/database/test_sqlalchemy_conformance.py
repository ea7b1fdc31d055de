"""Guarded sessions keep every rule of the conformance suite, on both databases and in both worlds."""

from collections.abc import Iterator

import pytest

from countermand.testing.conformance import Conformance, Service, Stage
from tests.integrations.database.seams import Async, Blocking, FencedAsync, FencedBlocking, Postgres, Sqlite
from tests.support.postgres_server import PostgresServer


class OnSqlite(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def conformance_stage(cls, conformance_service: Service) -> Iterator[Stage]:
        with Stage(cls.seam(Sqlite()), conformance_service) as stage:
            yield stage


class OnPostgres(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def conformance_stage(cls, conformance_service: Service, postgres: PostgresServer) -> Iterator[Stage]:
        with Stage(cls.seam(Postgres(postgres)), conformance_service) as stage:
            yield stage


class TestSqlite(OnSqlite):
    seam = Blocking


class TestSqliteAsync(OnSqlite):
    seam = Async


class TestSqliteFenced(OnSqlite):
    seam = FencedBlocking


class TestSqliteFencedAsync(OnSqlite):
    seam = FencedAsync


class TestPostgres(OnPostgres):
    seam = Blocking


class TestPostgresAsync(OnPostgres):
    seam = Async


class TestPostgresFenced(OnPostgres):
    seam = FencedBlocking


class TestPostgresFencedAsync(OnPostgres):
    seam = FencedAsync

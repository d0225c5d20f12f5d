"""Lineage in one SQLite file, with the artifacts, executions and events of ML Metadata."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

_VERSION = 2
_TABLES = f"""
PRAGMA user_version = {_VERSION};
CREATE TABLE IF NOT EXISTS artifact (
  id INTEGER PRIMARY KEY, type TEXT NOT NULL, uri TEXT NOT NULL, digest TEXT NOT NULL, seal TEXT NOT NULL,
  created REAL NOT NULL, UNIQUE (uri, digest)
);
CREATE TABLE IF NOT EXISTS execution (
  id INTEGER PRIMARY KEY, node TEXT NOT NULL, component TEXT NOT NULL, key TEXT NOT NULL UNIQUE,
  parameters TEXT NOT NULL, state TEXT NOT NULL, seconds REAL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS event (
  artifact_id INTEGER NOT NULL REFERENCES artifact(id), execution_id INTEGER NOT NULL REFERENCES execution(id),
  type TEXT NOT NULL CHECK (type IN ('INPUT', 'OUTPUT')), name TEXT NOT NULL,
  UNIQUE (artifact_id, execution_id, type, name)
);
"""


class Stored(NamedTuple):
    """A row of the artifact table.

    Attributes:
      id: of the row.
      type: of the artifact.
      uri: its folder. In the file it is relative to the file's own folder, which may be moved.
      digest: of what later steps depend on. A folder that was made again with another one has a row for each.
      seal: SHA-256 of its manifest.
    """

    id: int
    type: str
    uri: str
    digest: str
    seal: str


class Made(NamedTuple):
    """An artifact that an execution has made, to be noted: name of the output, and as in `Stored`."""

    name: str
    type: str
    uri: str
    digest: str
    seal: str


class Read(NamedTuple):
    """An artifact that an execution has read, to be noted: name of the input, and as in `Stored`."""

    name: str
    uri: str
    digest: str


class Execution(NamedTuple):
    """A row of the execution table."""

    id: int
    node: str
    component: str
    key: str
    parameters: dict[str, Any]
    state: str
    seconds: float | None


class Lineage:
    """Which step made what from what."""

    def __init__(self, path: str):
        """
        Args:
          path: the file, made if need be.

        Raises:
          ValueError: the file is no lineage, or that of another version.
        """
        self._root, self._path = os.path.dirname(os.path.abspath(path)), path
        with self._stated():
            self._database = sqlite3.connect(path, timeout=60)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (tables,) = self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and version != _VERSION:
            raise ValueError(
                f"expected a lineage of version {_VERSION} in {path}, received one of version {version}; choose "
                "another --pipeline_root"
            )
        with self._stated():
            self._database.executescript(_TABLES)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def begin(self, node: str, component: str, key: str, parameters: dict[str, Any]) -> None:
        """Notes that an execution has begun, or begun again."""
        with self._stated(), self._database as database:
            database.execute(
                "INSERT INTO execution (node, component, key, parameters, state, created) "
                "VALUES (?, ?, ?, ?, 'RUNNING', ?) "
                "ON CONFLICT (key) DO UPDATE SET state = 'RUNNING', node = excluded.node",
                (node, component, key, json.dumps(parameters), time.time()),
            )

    def fail(self, key: str) -> None:
        """Notes that an execution has failed."""
        with self._stated(), self._database as database:
            database.execute("UPDATE execution SET state = 'FAILED' WHERE key = ?", (key,))

    def complete(self, key: str, inputs: list[Read], outputs: list[Made], seconds: float) -> None:
        """Notes what a completed execution read and made, all or nothing.

        Args:
          key: of the execution.
          inputs: each artifact read.
          outputs: each artifact made.
          seconds: it took.

        Raises:
          ValueError: an artifact that was read is not known here.
        """
        with self._stated(), self._database as database:
            (execution,) = database.execute("SELECT id FROM execution WHERE key = ?", (key,)).fetchone()
            for made in outputs:
                database.execute(
                    "INSERT INTO artifact (type, uri, digest, seal, created) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (uri, digest) DO UPDATE SET seal = excluded.seal, created = excluded.created",
                    (made.type, self._relative(made.uri), made.digest, made.seal, time.time()),
                )
                self._event(execution, "OUTPUT", made.name, made.uri, made.digest)
            for read in inputs:
                self._event(execution, "INPUT", read.name, read.uri, read.digest)
            database.execute("UPDATE execution SET state = 'COMPLETE', seconds = ? WHERE id = ?", (seconds, execution))

    def execution(self, key: str) -> Execution | None:
        """The execution with that key, if there was one."""
        rows = self._executions("WHERE key = ?", key)
        return next(rows, None)

    def find(self, what: str) -> list[Stored]:
        """Artifacts whose folder is `what`, or whose digest begins with it."""
        rows = self._rows(
            "SELECT id, type, uri, digest, seal FROM artifact WHERE uri = ? OR digest LIKE ? ORDER BY id",
            self._relative(what),
            f"{what}%",
        )
        return [self._stored(row) for row in rows]

    def sealed(self, uri: str, digest: str) -> str | None:
        """The seal of the artifact in a folder when it was made here with that digest; None if none was."""
        rows = self._rows("SELECT seal FROM artifact WHERE uri = ? AND digest = ?", self._relative(uri), digest)
        return rows[0][0] if rows else None

    def maker(self, artifact: int) -> Execution | None:
        """The execution that made an artifact."""
        return next(
            self._executions("JOIN event ON execution_id = id WHERE type = 'OUTPUT' AND artifact_id = ?", artifact),
            None,
        )

    def readers(self, artifact: int) -> list[Execution]:
        """The executions that read an artifact."""
        return list(
            self._executions(
                "JOIN event ON execution_id = id WHERE type = 'INPUT' AND artifact_id = ? GROUP BY id", artifact
            )
        )

    def artifacts(self, execution: int, kind: str) -> list[tuple[str, Stored]]:
        """(name, artifact) of what an execution read, kind INPUT, or made, OUTPUT."""
        rows = self._rows(
            "SELECT name, id, artifact.type, uri, digest, seal FROM event JOIN artifact ON artifact_id = id "
            "WHERE execution_id = ? AND event.type = ? ORDER BY name",
            execution,
            kind,
        )
        return [(row[0], self._stored(row[1:])) for row in rows]

    def mean_seconds(self) -> dict[str, float]:
        """Mean seconds of the completed executions of each component."""
        return dict(
            self._rows("SELECT component, AVG(seconds) FROM execution WHERE state = 'COMPLETE' GROUP BY component")
        )

    def _event(self, execution: int, kind: str, name: str, uri: str, digest: str) -> None:
        artifact = self._database.execute(
            "SELECT id FROM artifact WHERE uri = ? AND digest = ?", (self._relative(uri), digest)
        ).fetchone()
        if artifact is None:
            raise ValueError(f"the artifact in {uri} was not made here; remove the folder, and run the pipeline again")
        self._database.execute(
            "INSERT OR IGNORE INTO event (artifact_id, execution_id, type, name) VALUES (?, ?, ?, ?)",
            (artifact[0], execution, kind, name),
        )

    def _relative(self, uri: str) -> str:
        return os.path.relpath(uri, self._root) if os.path.isabs(uri) else uri

    def _stored(self, row: tuple) -> Stored:
        number, kind, uri, digest, seal = row
        return Stored(number, kind, os.path.join(self._root, uri), digest, seal)

    def _executions(self, where: str, value: Any) -> Iterator[Execution]:
        rows = self._rows(f"SELECT id, node, component, key, parameters, state, seconds FROM execution {where}", value)
        for row in rows:
            node, component, key = row[1:4]
            with self._stated():
                parameters = json.loads(row[4])
            yield Execution(row[0], node, component, key, parameters, row[5], row[6])

    def _rows(self, query: str, *values: Any) -> list[tuple]:
        with self._stated():
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _stated(self) -> Iterator[None]:
        """Errors of SQLite, and of what a damaged page holds, become sentences with the file's name."""
        try:
            yield
        except (sqlite3.Error, json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            passing = isinstance(error, sqlite3.OperationalError) and "decode" not in str(error).lower()
            remedy = (
                "give the same command again when that is over"
                if passing
                else "it is damaged: move it away, and the same command makes the steps again"
            )
            raise ValueError(
                f"cannot use the lineage {self._path}: {error}; {remedy}, or choose another --pipeline_root"
            ) from error

"""Lineage in one SQLite file: the artifacts, executions and events of ML Metadata."""

import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

_TABLES = """
CREATE TABLE IF NOT EXISTS artifact (
  id INTEGER PRIMARY KEY, type TEXT NOT NULL, uri TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, created REAL NOT NULL
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
    """A row of the artifact table."""

    id: int
    type: str
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
    """Who made what from what."""

    def __init__(self, path: str):
        self._database = sqlite3.connect(path, timeout=60)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def begin(self, node: str, component: str, key: str, parameters: dict[str, Any]) -> None:
        """Notes that an execution has begun, or begun again."""
        with self._database as database:
            database.execute(
                "INSERT INTO execution (node, component, key, parameters, state, created) "
                "VALUES (?, ?, ?, ?, 'RUNNING', ?) "
                "ON CONFLICT (key) DO UPDATE SET state = 'RUNNING', node = excluded.node",
                (node, component, key, json.dumps(parameters), time.time()),
            )

    def fail(self, key: str) -> None:
        """Notes that an execution has failed."""
        with self._database as database:
            database.execute("UPDATE execution SET state = 'FAILED' WHERE key = ?", (key,))

    def complete(
        self, key: str, inputs: list[tuple[str, str]], outputs: list[tuple[str, str, str, str]], seconds: float
    ) -> None:
        """Notes what a completed execution read and made, all or nothing.

        Args:
          key: of the execution.
          inputs: (name, uri) of each artifact read.
          outputs: (name, type, uri, digest) of each artifact made.
          seconds: it took.
        """
        with self._database as database:
            (execution,) = database.execute("SELECT id FROM execution WHERE key = ?", (key,)).fetchone()
            for name, kind, uri, digest in outputs:
                database.execute(
                    "INSERT INTO artifact (type, uri, digest, created) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (uri) DO UPDATE SET digest = excluded.digest, created = excluded.created",
                    (kind, uri, digest, time.time()),
                )
                self._event(execution, uri, "OUTPUT", name)
            for name, uri in inputs:
                self._event(execution, uri, "INPUT", name)
            database.execute("UPDATE execution SET state = 'COMPLETE', seconds = ? WHERE id = ?", (seconds, execution))

    def execution(self, key: str) -> Execution | None:
        """The execution with that key, if there was one."""
        rows = self._executions("WHERE key = ?", key)
        return next(rows, None)

    def find(self, what: str) -> list[Stored]:
        """Artifacts whose folder is `what`, or whose digest begins with it."""
        rows = self._database.execute(
            "SELECT id, type, uri, digest FROM artifact WHERE uri = ? OR digest LIKE ? ORDER BY id", (what, f"{what}%")
        )
        return [Stored(*row) for row in rows]

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
        rows = self._database.execute(
            "SELECT name, id, artifact.type, uri, digest FROM event JOIN artifact ON artifact_id = id "
            "WHERE execution_id = ? AND event.type = ? ORDER BY name",
            (execution, kind),
        )
        return [(row[0], Stored(*row[1:])) for row in rows]

    def mean_seconds(self) -> dict[str, float]:
        """Mean seconds of the completed executions of each component."""
        rows = self._database.execute(
            "SELECT component, AVG(seconds) FROM execution WHERE state = 'COMPLETE' GROUP BY component"
        )
        return dict(rows.fetchall())

    def _event(self, execution: int, uri: str, kind: str, name: str) -> None:
        self._database.execute(
            "INSERT OR IGNORE INTO event (artifact_id, execution_id, type, name) "
            "SELECT id, ?, ?, ? FROM artifact WHERE uri = ?",
            (execution, kind, name, uri),
        )

    def _executions(self, where: str, value: Any) -> Iterator[Execution]:
        rows = self._database.execute(
            f"SELECT id, node, component, key, parameters, state, seconds FROM execution {where}", (value,)
        )
        for row in rows.fetchall():
            node, component, key = row[1:4]
            yield Execution(row[0], node, component, key, json.loads(row[4]), row[5], row[6])

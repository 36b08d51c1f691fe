"""The user database: users, apps, and which apps run for whom. It outlives the process.

SQLite, one small file, written in less than a millisecond a statement, so the calls are plain ones.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.reference.cloud.settings import AppDocument

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (email TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS apps (
    packageName TEXT PRIMARY KEY, name TEXT, publicUrl TEXT, hashedApiKey TEXT, mayHear INTEGER
);
CREATE TABLE IF NOT EXISTS runningApps (email TEXT, packageName TEXT, PRIMARY KEY (email, packageName));
"""


@dataclass(frozen=True)
class StoredApp:
    """An app's document."""

    package_name: str
    name: str
    public_url: str
    hashed_api_key: str
    """SHA-256 of the key, in hex."""
    may_hear: bool

    def accepts(self, api_key: str) -> bool:
        """Compare a key with the stored hash."""
        return hmac.compare_digest(hash_key(api_key), self.hashed_api_key)


def hash_key(api_key: str) -> str:
    """Hash a key as the database keeps it."""
    return hashlib.sha256(api_key.encode()).hexdigest()


class Users:
    """The open database."""

    def __init__(self, path: str) -> None:
        """Open the file at `path`, making it and its folder when missing."""
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Two clouds may share one file, hence the write-ahead log and the wait for the other's lock.
        self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")  # the killed process's writes are in the kernel already
        self._db.executescript(SCHEMA)

    def __enter__(self) -> Self:
        """Give the open database."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._db.close()

    def put_apps(self, documents: Iterable[AppDocument]) -> None:
        """Insert or replace app documents."""
        self._db.executemany(
            "INSERT OR REPLACE INTO apps VALUES (?, ?, ?, ?, ?)",
            [
                (app.package_name, app.name, app.public_url, hash_key(app.api_key), int(app.may_hear))
                for app in documents
            ],
        )

    def app(self, package_name: str) -> StoredApp | None:
        """Find an app; None when there is none."""
        row = self._db.execute("SELECT * FROM apps WHERE packageName = ?", (package_name,)).fetchone()
        return None if row is None else StoredApp(row[0], row[1], row[2], row[3], bool(row[4]))

    def ensure_user(self, email: str) -> None:
        """Insert the user when missing."""
        self._db.execute("INSERT OR IGNORE INTO users VALUES (?)", (email,))

    def running_apps(self, email: str) -> list[str]:
        """List the packages that run for a user, oldest first."""
        rows = self._db.execute("SELECT packageName FROM runningApps WHERE email = ? ORDER BY rowid", (email,))
        return [row[0] for row in rows]

    def add_running(self, email: str, package_name: str) -> None:
        """Remember that an app runs."""
        self._db.execute("INSERT OR IGNORE INTO runningApps VALUES (?, ?)", (email, package_name))

    def remove_running(self, email: str, package_name: str) -> None:
        """Forget that an app runs."""
        self._db.execute("DELETE FROM runningApps WHERE email = ? AND packageName = ?", (email, package_name))

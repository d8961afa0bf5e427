"""One run at a time in an output folder: a lock that a killed run does not leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import WriteError

LOCK, OWNER = ".lock", ".running.json"
HEARTBEAT = 15.0
"""Seconds between two signs of life of the run that holds the folder."""
SILENCE = 4 * HEARTBEAT
"""Seconds without a sign of life after which a run on another machine counts as dead."""


class FolderInUse(BodyfitError):
    """Another run is writing into the folder."""


class FolderLock:
    """Holds an output folder for one run, as a context manager.

    The operating system's file lock decides; it ends with its process, however that ends. OUT/.running.json names the
    owner and is touched every 15 s: where machines do not see each other's file locks, a fresh one of another machine
    refuses, too. One that is still there when the lock is free was left by a run that was killed.

    Raises:
        FolderInUse: when another run holds the folder.
        WriteError: when the folder cannot be written to.
    """

    def __init__(self, folder: Path):
        self.folder, self.after_a_kill = folder, False
        self._stop = threading.Event()
        self._lock = filelock.FileLock(folder / LOCK, timeout=0)

    def __enter__(self) -> FolderLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(NotImplementedError):  # a file system without locks: the owner's file must do
                self._lock.acquire()
            owner = self._owner()
            if self._alive_elsewhere(owner):
                self._lock.release()
                raise FolderInUse(self._refusal(owner))
            self.after_a_kill = (self.folder / OWNER).exists()
            mine = {"host": socket.gethostname(), "process": os.getpid(), "began": time.time()}
            (self.folder / OWNER).write_text(json.dumps(mine))
        except filelock.Timeout:
            raise FolderInUse(self._refusal(self._owner())) from None
        except OSError as error:
            reason = error.strerror or error
            raise WriteError(f"{self.folder}: cannot be written: {reason}. Choose another folder.") from error
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):  # the folder may have vanished
            (self.folder / OWNER).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._lock.release()

    def check(self) -> None:
        """Raise FolderInUse when another run holds the folder now, and leave everything as it is."""
        if not (self.folder / LOCK).exists():
            return
        try:
            with contextlib.suppress(NotImplementedError), self._lock:
                pass
        except filelock.Timeout:
            raise FolderInUse(self._refusal(self._owner())) from None
        except OSError:  # a run that tries to write says why it cannot
            return
        if self._alive_elsewhere(owner := self._owner()):
            raise FolderInUse(self._refusal(owner))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                os.utime(self.folder / OWNER)

    def _owner(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / OWNER).read_text())
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError, RecursionError):
            return {}

    def _alive_elsewhere(self, owner: dict[str, Any]) -> bool:
        if owner.get("host") in (None, socket.gethostname()):
            return False
        try:
            return time.time() - (self.folder / OWNER).stat().st_mtime < SILENCE
        except OSError:
            return False

    def _refusal(self, owner: dict[str, Any]) -> str:
        who = f" (process {owner['process']} on {owner['host']})" if {"process", "host"} <= owner.keys() else ""
        return (
            f"{self.folder}: another run is writing into it{who}. Wait for it to end, or choose another folder. "
            f"A run that was killed on another machine counts as ended after {SILENCE:.0f} s."
        )

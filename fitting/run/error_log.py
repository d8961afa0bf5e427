"""Errors that nobody foresaw: one failed item each, with the traceback in a file, never the end of a run."""

from __future__ import annotations

import logging
import traceback
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)

FILE_NAME = "errors.log"
_MOST_BYTES = 10_000_000


class ErrorLog:
    """OUT/errors.log: written when there is something to say, appended to by later runs."""

    def __init__(self, out: Path):
        self.path = out / FILE_NAME

    def reason(self, what: str, error: Exception) -> str:
        """Write down where an error came from; what to say of the item that failed by it.

        `what` names the item. Call within the `except` block.
        """
        kind = f"{type(error).__name__}: {error!s:.200}" if str(error) else type(error).__name__
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() or self.path.stat().st_size < _MOST_BYTES:
                with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                    stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {what}\n{traceback.format_exc()}\n")
        except OSError as cause:
            log.warning("%s: cannot be written: %s", self.path, cause)
        return f"unexpected error ({kind}). This is a mistake in bodyfit; its traceback is in {self.path}."

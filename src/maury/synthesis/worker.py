"""Worker process that runs functions for its parent, so that a crash or a hang costs one spectrum only."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
from typing import Any, BinaryIO

from maury.errors import MauryError
from maury.memory import keep_freed_memory

LENGTH = 8
"""Bytes of the number before each message that is its length."""


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(LENGTH, "big") + data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Read one pickled message.

    Raises:
        EOFError: the other process has closed the stream.
    """
    data = stream.read(LENGTH)
    message = stream.read(int.from_bytes(data, "big")) if len(data) == LENGTH else b""
    if not message:
        raise EOFError
    return message


def answer(message: bytes, kept: list[Any]) -> tuple[bool, Any]:
    """Run the function in a message; return True and the result, or False and the error.

    A message is a pickled function (None for the object in ``kept``, a list of one), its arguments, and whether to keep
    the result in that list.
    """
    try:
        function, arguments, keep = pickle.loads(message)
        result = (kept[0] if function is None else function)(*arguments)
        if keep:
            kept[:] = [result]
        return True, None if keep else result
    except MauryError as error:
        return False, error
    except Exception as error:  # the parent decides on errors of the synthesis code
        return False, f"{type(error).__name__}: {error}"


def main(home: str) -> None:
    """Answer messages from stdin on stdout until the parent closes them or dies, then remove the private home."""
    keep_freed_memory()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the replies
    kept: list[Any] = [None]
    try:
        while True:
            send(replies, answer(receive(sys.stdin.buffer), kept))
    except (EOFError, BrokenPipeError):
        shutil.rmtree(home, ignore_errors=True)
        with contextlib.suppress(OSError):  # the last of the workers of a parent that was killed
            os.rmdir(os.path.dirname(home))


if __name__ == "__main__":
    main(sys.argv[1])

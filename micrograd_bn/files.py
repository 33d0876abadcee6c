"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]


def write_whole(path: AnyPath, content: bytes) -> Path:
    """Write ``content`` to ``path`` by way of a file beside it: an interruption leaves what was there before.

    Raises OSError, about ``path`` and not about the file beside it.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))  # through a link, as open() would
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {(target if path.is_symlink() else path).parent}")
    try:
        if target.exists() and not target.is_file():  # a pipe, or /dev/stdout: there is nothing to replace
            target.write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return path


def write_by_ending(path: AnyPath, what: str, writers: Mapping[str, Callable[[], str | bytes]]) -> Path:
    """``write_whole`` what the ending of ``path`` stands for. ValueError, which says how ``what`` is saved, for another."""
    ending = Path(path).suffix.lower()
    if ending not in writers:
        raise ValueError(f"{path} ends with {ending or 'nothing'}: {what} is saved as {', '.join(writers)}")
    content = writers[ending]()
    return write_whole(path, content.encode() if isinstance(content, str) else content)


def _replace(target: Path, content: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content is on the disk before the name is
        os.chmod(beside, stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask())
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

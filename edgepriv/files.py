"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgepriv.errors import UserError

UNREADABLE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What numpy raises of a file that holds no arrays, or is damaged."""


def refuse_existing(paths: Iterable[Path], force: bool) -> None:
    """Refuse to write where something stands.

    Args:
        paths: that are to be written.
        force: whether files may be replaced.

    Raises:
        UserError: for a folder of that name, and for a file unless ``force``.
    """
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path} is a folder, but a file is to be written there: choose another -o")
        if path.exists() and not force:
            raise UserError(f"{path} exists already: choose another -o, or pass --force to replace it")


def refuse_overwriting(read: Iterable[Path | None], written: Iterable[Path]) -> None:
    """Refuse to write over what is read. Nothing permits that: it may be the only copy.

    Args:
        read: files and folders, by whatever name.
        written: files.

    Raises:
        UserError: if one of them is read, or lies deep in a folder that is read.
    """
    sources = [path for path in read if path is not None and path.exists()]
    for path in written:
        if not path.exists():
            continue
        for source in sources:
            inside = source.is_dir() and source.resolve() in path.resolve().parent.parents
            if inside or path.samefile(source):
                where = f"lies in {source}" if inside else f"is {source}" if path != source else "is a file"
                raise UserError(
                    f"{path} would be written, but {where} that this command reads: choose another -o (--force replaces no "
                    "input)"
                )


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which becomes ``path`` only if the block succeeds.

    Args:
        path: of the file; folders above it are made.

    Returns:
        A context manager that gives the temporary path.

    Raises:
        UserError: where it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        with aside.open("rb+") as handle:
            os.fsync(handle.fileno())
        aside.replace(path)
    except OSError as error:
        raise _as_user_error(error, path) from error
    except RuntimeError as error:
        # torch.save reports a full disk as a RuntimeError of its zip writer, without an errno.
        if "PytorchStreamWriter" in str(error) or "inline_container" in str(error):
            raise UserError(f"cannot write {path}: the disk is full or the file cannot be written") from error
        raise
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written there is nothing to remove
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """An empty folder beside a path for the duration of the block, in place of one that a killed run has left.

    Args:
        path: beside which it stands.

    Returns:
        A context manager that gives the folder.

    Raises:
        UserError: where it cannot be made.
    """
    aside = path.with_name(f".{path.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise _as_user_error(error, path) from error
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _as_user_error(error: OSError, path: Path) -> UserError:
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "permission denied",
        errno.EROFS: "the file system is read-only",
        errno.ENOTDIR: "a part of that path is a file, not a folder",
        errno.EEXIST: "a part of that path is a file, not a folder",
        errno.EFBIG: "the file would be larger than the limit",
    }
    return UserError(f"cannot write {path}: {reasons.get(error.errno or 0, error.strerror or str(error))}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Args:
        path: of the file.
        content: of the file.

    Raises:
        UserError: where it cannot be written.
    """
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Args:
        path: of the file.
        content: of the file.

    Raises:
        UserError: where it cannot be written.
    """
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all; NaN and infinity are refused (they are not JSON).

    Args:
        path: of the file.
        value: of the file.

    Raises:
        UserError: where it cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_bytes(path: Path, what: str) -> bytes:
    """The whole of a file.

    Args:
        path: of the file.
        what: its role, for the message.

    Returns:
        Its bytes.

    Raises:
        UserError: where it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no such file: {path} ({what})") from None
    except OSError as error:
        raise UserError(f"{path} is not a readable {what}: {error.strerror or error}") from error


def read_json(path: Path, what: str) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        what: its role, for the message.

    Returns:
        Its content.

    Raises:
        UserError: where it is not there, or no JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"no such file: {path} ({what})") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a readable {what}: {error}") from error


def sha256_of(path: Path) -> str:
    """The digest of a file.

    Args:
        path: of the file.

    Returns:
        Hex sha256 of its bytes.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

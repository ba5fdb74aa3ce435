"""Files that are written whole or not at all, however the writing ends."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from banach.ir.diagnostic import Code, Diagnostic, RunError

UNWRITABLE = Code(
    "B705",
    "unwritable-output",
    """A file could not be written. Nothing is left behind: a file that was there before stays as it was, and
where several belong together none of them is new.

The usual causes are a full disk, and a folder that is not there or is closed to you.
""",
)


def write(files: Mapping[Path, bytes], folder: Path | None = None) -> None:
    """Writes files that belong together, all or none; `folder` is made if it is not there.

    RunError (B705): they cannot be written.
    """
    made: list[Path] = []
    beside = {path: path.with_name(f".{path.name}.{token_hex(4)}.part") for path in files}
    try:
        if folder is not None:
            made = list(_missing(folder))
            folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            if path.exists() and not path.is_file():  # a device or a folder is not to be replaced
                raise _refusal(path, "it is no file", "give the name of a file")
            with open(beside[path], "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, partial in beside.items():
            os.replace(partial, path)
    except OSError as wrong:
        full = wrong.errno in _FULL
        fix = "make room, or give another place" if full else f"give another {'folder' if folder else 'file'}"
        target = folder or next(iter(files))
        raise _refusal(target, wrong.strerror or str(wrong), fix) from None
    finally:
        for partial in beside.values():
            with suppress(OSError):
                partial.unlink()
        for path in made:
            with suppress(OSError):
                path.rmdir()  # it stays if the files are in it


_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


def _missing(folder: Path) -> Iterator[Path]:
    """The folders that have to be made, innermost first."""
    while not folder.exists():
        yield folder
        folder = folder.parent


def _refusal(target: Path, reason: str, fix: str) -> RunError:
    return RunError(Diagnostic(UNWRITABLE, f"`{target}` cannot be written: {reason}", fix=fix))

"""How a command speaks: results on standard output, one sentence and an exit code where it fails."""

import errno
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from edgepriv.errors import GateFailed, UserError

INTERRUPTED = 130
RESUME = "interrupted: run the same command again to go on where it stopped"
UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.ENOENT,
    errno.EROFS,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}


def run(app: Callable[..., Any]) -> None:
    """Run a command; bad input is one sentence on standard error and exit code 2."""
    try:
        sys.exit(app(standalone_mode=True))
    except SystemExit as ended:
        if ended.code != INTERRUPTED:
            raise
        code, message = INTERRUPTED, RESUME  # typer turns Ctrl-C into this exit, without a word
    except UserError as error:
        code, message = 2, f"error: {_one_line(error)}"
    except GateFailed as error:
        code, message = 3, f"limit exceeded: {_one_line(error)}"
    except KeyboardInterrupt:
        code, message = INTERRUPTED, RESUME
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        code, message = 2, f"error: {error.strerror}: {error.filename or 'while writing'}"
    except MemoryError:
        code, message = 2, "error: not enough memory for this model or data set"
    print(message, file=sys.stderr)
    sys.exit(code)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def console_for_progress() -> Console:
    return Console(stderr=True, highlight=False)


def print_result(as_json: bool, result: Any, readable: Callable[[], Any]) -> None:
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    console = Console(highlight=False)
    shown = readable()
    for part in shown if isinstance(shown, list) else [shown]:
        console.print(part, soft_wrap=isinstance(part, str))

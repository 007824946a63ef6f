"""How a command speaks: results on standard output, one sentence and an exit code where it fails."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

import typer

from edgepriv.errors import GateFailed, UserError, nearest

UsageError: Any = typer.BadParameter.__base__
"""What typer raises for a command line that it cannot read; it exports no name for it."""

INTERRUPTED = 130
RESUME = "interrupted: run the same command again to go on where it stopped"
NO_MEMORY = "error: not enough memory for this model or data set: smaller batches (batch_size in the recipe) take less"
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


_UNALLOCATED = ("can't allocate memory", "out of memory", "failed to allocate memory", "bad_alloc", "bad allocation")
"""What torch, CUDA and onnxruntime say, each in an error of its own."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a library gave up for lack of memory.

    Args:
        error: that it raised.

    Returns:
        By its text.
    """
    return any(each in str(error).lower() for each in _UNALLOCATED)


def run(app: Callable[..., Any]) -> None:
    """Run a command and end the process.

    Bad input is one sentence on standard error and exit code 2; an exceeded limit is exit code 3, an interruption 130.

    Args:
        app: the command line, called with ``standalone_mode=False``; it returns an exit code, or None for 0.

    Raises:
        SystemExit: always, unless an error is a fault of edgepriv's own, which is raised as it is.
    """
    try:
        code = app(standalone_mode=False) or 0
        if code != INTERRUPTED:  # which is what typer makes of Ctrl-C, without a word
            sys.exit(code)
        message = RESUME
    except UsageError as error:
        code, message = 2, _usage(error)
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
        code, message = 2, NO_MEMORY
    except Exception as error:  # torch and onnxruntime have no class for it in common
        if not is_out_of_memory(error):
            raise
        code, message = 2, NO_MEMORY
    if message:
        print(message, file=sys.stderr)
    sys.exit(code)


def _usage(error: Any) -> str:
    """One sentence of what typer has to say of a command line; empty where it has shown the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    command = error.ctx.command_path if error.ctx else "edgepriv"
    if hasattr(error, "possibilities"):
        sentence = f"no such option: {error.option_name}{nearest(error.option_name, error.possibilities or ())}"
    else:
        message = _one_line(error.format_message()).removesuffix(".")
        sentence = f"{message[:1].lower()}{message[1:]}"
    return f"error: {sentence} ({command} --help shows what there is)"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def note(line: str) -> None:
    """Say on standard error what was made of the options.

    Args:
        line: of text.
    """
    print(f"note: {line}", file=sys.stderr)


def warn(line: str) -> None:
    """Say on standard error what stands in the results too, where a program that reads them does not look.

    Args:
        line: of text.
    """
    print(f"warning: {line}", file=sys.stderr)


class Printable(Protocol):
    """What a verb returns."""

    def json(self) -> str:
        """One line."""

    def readable(self) -> list[Any]:
        """Strings and tables of rich."""


def print_result(as_json: bool, result: Printable) -> None:
    """Print a result on standard output, for a program or for a reader.

    Args:
        as_json: whether to print one line of JSON.
        result: what a verb returned.
    """
    if as_json:
        print(result.json())
        return
    from rich.console import Console

    console = Console(highlight=False)
    for part in result.readable():
        console.print(part, soft_wrap=isinstance(part, str))

"""What the kit's commands share: an error that is one sentence, and how a command ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class KitError(Exception):
    """Bad input; the message is one sentence. Exit code 2."""


def run_command(command: Callable[[], None]) -> None:
    """Run ``command``; a KitError is printed as one line (exit 2), an interrupt ends quietly (exit 130).

    Args:
        command: takes nothing and returns nothing.
    """
    try:
        command()
    except KitError as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: KitError) -> int:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2

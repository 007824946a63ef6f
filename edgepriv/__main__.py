"""``python -m edgepriv``: the command line."""

from edgepriv.cli import main

main()

"""The command line as a whole. A command is built when it is called: its options are those of the recipe, and reading
the recipe's fields takes a moment that ``edgepriv --help`` has no use for."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from edgepriv.cli.commands import COMMANDS
from edgepriv.errors import nearest


class Commands(TyperGroup):
    """The group of COMMANDS, each built on demand."""

    _brief = False

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order in which they are used.

        Args:
            ctx: click's context, which is not read.

        Returns:
            The keys of ``COMMANDS``.
        """
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command with its options; for the help of the group, its name and summary.

        Args:
            ctx: click's context, which is not read.
            cmd_name: name of the command.

        Returns:
            A click command, None for an unknown name.
        """
        if cmd_name not in COMMANDS:
            return None
        if self._brief:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name].summary)
        from edgepriv.cli.verbs import command

        return command(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group itself, for which no command is built.

        Args:
            ctx: click's context.
            formatter: click's, which takes the text.
        """
        self._brief = True
        super().format_help(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed. An unknown one ends in an error that names the nearest.

        Args:
            ctx: click's context.
            args: what was typed after ``edgepriv`` and its own options.

        Returns:
            Name, command and the arguments left for it, as click gives them.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command: {args[0]}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From a PyTorch classifier to one small, robust, private and audited ONNX file.",
)


@app.callback(invoke_without_command=True)
def _root(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show_version:
        from importlib.metadata import version

        typer.echo(f"edgepriv {version('edgepriv')}")
        raise typer.Exit()

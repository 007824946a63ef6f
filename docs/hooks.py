"""Reference pages, generated from the code when the documentation is built: commands, recipe, attacks and defences."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperOption

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.knowledge import PHRASES, attacker_of
from edgepriv.cli import app
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import DEFENCES
from edgepriv.report.defences import markdown

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that are written by hand."""
    pages = {
        "reference/commands.md": commands(),
        "reference/recipe.md": recipe(),
        "reference/attacks.md": attacks(),
        "reference/defences.md": defences(),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    for result in sorted(RESULTS.rglob("*")):
        if result.suffix in (".svg", ".json"):
            path = (Path("results") / result.relative_to(RESULTS)).as_posix()
            files.append(File.generated(config, path, abs_src_path=str(result)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to results, which lie outside the documentation's folder in the repository, lead to their copies on the site."""
    in_root = "/" not in page.file.src_uri
    return markdown.replace("](../benchmarks/results/", "](results/") if in_root else markdown


def commands() -> str:
    """One section for each command: its help, usage and options, by group."""
    group = typer.main.get_command(app)
    context = group.make_context("edgepriv", [], resilient_parsing=True)
    built = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return "\n\n".join(["# Commands", *(section(name, command) for name, command in built.items())]) + "\n"


def section(name: str, command: TyperCommand) -> str:
    context = command.make_context(f"edgepriv {name}", [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    description = inspect.cleandoc(command.help or "").replace("\b", "")
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        if parameter.name != "help" and not parameter.hidden:
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "", []).append(row(parameter))
    tables = []
    for panel, rows in panels.items():
        tables += [f"**{panel}**"] if panel else []
        tables.append("\n".join(["| option | default | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join([f"## {name}", description, f"```\nedgepriv {name} {usage}\n```", *tables])


def row(parameter: TyperArgument | TyperOption) -> str:
    if isinstance(parameter, TyperOption):
        names = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
    else:
        names = f"`{parameter.metavar or parameter.name}`"
    description, _, default = (parameter.help or "").replace("\\[", "[").partition(" [default: ")
    return f"| {names} | {cell(default.removesuffix(']'))} | {cell(description)} |"


def recipe() -> str:
    """One section for each table of a recipe file: its fields, their types and defaults."""
    text = (
        "# Recipe\n\nEvery option can stand in a TOML file (`--recipe FILE`); options on the command line win. A recipe "
        "lists only what differs from the defaults. What a run really used is stored with its results.\n\n"
        '```toml\nseed = 0\n\n[data]\nname = "fashion_mnist"\n\n[quantize]\nbits = 4\n```\n'
    )
    top = {name: field for name, field in Recipe.model_fields.items() if not is_section(field)}
    parts = [text, "## At the top", fields_table(top)]
    for name, field in Recipe.model_fields.items():
        if is_section(field):
            section_class = field.annotation
            assert isinstance(section_class, type)
            parts += [f"## [{name}]", paragraphs(section_class), fields_table(section_class.model_fields)]
    return "\n\n".join(parts) + "\n"


def paragraphs(section_class: type) -> str:
    """A class's docstring as Markdown: what stands in double backticks stands in single ones."""
    return inspect.cleandoc(section_class.__doc__ or "").replace("``", "`")


def is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def fields_table(fields: dict[str, FieldInfo]) -> str:
    rows = ["| field | type | default | what it says |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is PydanticUndefined else f"`{written(default)}`"
        rows.append(f"| `{name}` | {cell(kind(field.annotation))} | {shown} | {cell(field.description or '')} |")
    return "\n".join(rows)


def written(default: Any) -> str:
    """A default as TOML has it; TOML has no word for None."""
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return str(default).lower()
    return f'"{default}"' if isinstance(default, str) else str(default)


def kind(annotation: Any) -> str:
    """A type as a reader of TOML would say it."""
    return ", ".join(dict.fromkeys(_kinds(annotation)))


def _kinds(annotation: Any) -> Iterator[str]:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): ""}
    if annotation in names:
        yield from filter(None, [names[annotation]])
    elif get_origin(annotation) is tuple:
        yield "list of " + kind(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        yield "table"
    elif all(isinstance(value, str) for value in get_args(annotation)) and get_args(annotation):
        yield from (f"`{value}`" for value in get_args(annotation))
    else:
        for part in get_args(annotation) or ():
            yield from _kinds(part)


def attacks() -> str:
    """The table of ``edgepriv attacks``."""
    rows = ["| attack | attacker | needs | queries for each candidate, at most | paper |", "|---|---|---|---|---|"]
    for name, attack in ATTACKS.items():
        attacker, needs = PHRASES[attacker_of(name, "none")], ", ".join(sorted(attack.needs)) or "nothing"
        rows.append(f"| `{name}` | {attacker} | {needs} | {attack.queries} | {attack.paper} |")
    return "\n".join(
        [
            "# Attacks",
            "",
            "Choose with `edgepriv audit --attacks NAME,NAME`. `quick` runs those that need nothing trained, `all` every one.",
            "",
            *rows,
            "",
        ]
    )


def defences() -> str:
    """The table of ``edgepriv defences``, and why some exclude each other."""
    parts = ["# Defences", "What each is worth is in [Findings](../findings.md).", markdown()]
    for defence in DEFENCES.values():
        own = ", ".join(f"`{name}`" for name in defence.fields)
        training = "stand in one stack" if defence.stacked else "are trained one at a time"
        parts += [
            f"## {defence.title}",
            f"`{defence.option}`; in a recipe: {own}. Reference models with it {training}.",
            *(f"- {conflict.reason}" for conflict in defence.conflicts),
        ]
    return "\n\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Text that does not end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")

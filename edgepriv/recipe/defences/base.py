"""What a defence is: which fields of a recipe are its own, when it acts, what it conflicts with, and how it is reported."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from edgepriv.recipe.section import Section
from edgepriv.recipe.stages import STAGES, Stage

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe

EVERY_STAGE = "*"
"""Stands for each stage of training in the name of a field: ``*.relax``."""

Met = Callable[["Recipe"], bool]


def never(recipe: "Recipe") -> bool:
    """Whatever the recipe, it is not so.

    Args:
        recipe: any.

    Returns:
        False.
    """
    return False


def nothing(facts: Mapping[str, Any]) -> list[str]:
    """There is nothing to say.

    Args:
        facts: any.

    Returns:
        No sentence.
    """
    return []


@dataclass(frozen=True)
class Conflict:
    """What makes a recipe impossible. ``reason``: the sentence that says why and what to do instead.

    ``details``: settings (``"dp.clip"``, or a whole section) that do nothing where ``without`` is so: to change one of them,
    or to give one of them as an option at whatever value, is then what makes it impossible.

    ``beside``: names of other defences that must not act in the same recipe. ``met``: when it is so, for what is more
    particular than that; None where any two that act exclude each other.
    """

    reason: str
    beside: tuple[str, ...] = ()
    met: Met | None = None
    details: tuple[str, ...] = ()
    without: Met = never

    def ignored(self, recipe: "Recipe") -> set[tuple[str, str]]:
        """The ``details`` that do nothing in a recipe.

        Args:
            recipe: settings of a run.

        Returns:
            (section, field) for each; none where they act.
        """
        return paths_of(self.details, recipe) if self.details and self.without(recipe) else set()


@dataclass(frozen=True)
class Defence:
    """A defence as a recipe asks for it.

    name: its key in ``DEFENCES``. title: for people. option: how the command line asks for it. source: the paper. what: one or
    two sentences on what it does. place: where it stands in tables, the lowest first.

    asked(recipe): of one with a stage of its own, whether the recipe asks for it, with or without epochs of that stage.
    sub_models(recipe): how many more networks it trains for each model.

    section: its section of the recipe, which bears the defence's name; None without one of its own, or for one that ``Recipe``
    lists itself.

    fields: of the recipe that are the defence's own and nobody else's: a whole section (``"noise"``) or one field
    (``"model.dropout"``, ``"*.relax"`` for that of every stage). To undo the defence is to give them
    their defaults, and while it does not act they have no effect on any weight. stage: of training, that is there for this
    defence and goes with it. anew: whether that stage trains new weights.

    acts_in(recipe, stage): whether it acts while the stage of that name trains, when that stage has epochs. acts_after(recipe):
    whether it acts on the finished weights or on the answers. unused: fields of its own -> when they change no weight although
    it acts (``"adversary.steps"``: of FGSM).

    trained_as(recipe): a key of ``OBJECTIVES`` in ``edgepriv.training.objectives``; what it
    does in training; default is its name. It is looked up for the stages that the defence acts in.

    conflicts: what makes a recipe with it impossible. idle: the sentence for an option that asks for it where no stage trains
    that it acts in; empty for one that does not depend on stages. stacked: whether reference models trained with it can be
    trained many at a time, in one stack. done: what it did to the float weights, in words, empty for nothing or for what has a
    proof of its own.

    facts: the key under which checkpoint and manifest keep what it measured. terminal_lines(facts): what the
    terminal shows of it.
    """

    name: str
    title: str
    option: str
    source: str
    what: str
    fields: tuple[str, ...]
    section: type[Section] | None = None
    stage: str | None = None
    anew: bool = False
    asked: Met = never
    sub_models: Callable[["Recipe"], int] = lambda recipe: 0
    acts_in: Callable[["Recipe", str], bool] = lambda recipe, stage: False
    acts_after: Met = never
    unused: Mapping[str, Met] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    idle: str = ""
    stacked: bool = True
    done: str = ""
    facts: str = ""
    terminal_lines: Callable[[Mapping[str, Any]], list[str]] = nothing
    trained_as: Callable[["Recipe"], str] | None = None
    place: int = 100

    def objective(self, recipe: "Recipe") -> str:
        """What the defence does in training.

        Args:
            recipe: which may choose between several.

        Returns:
            A key of ``OBJECTIVES`` in ``edgepriv.training.objectives``.
        """
        return self.name if self.trained_as is None else self.trained_as(recipe)

    def stages_in(self, recipe: "Recipe") -> list[str]:
        """The stages during which the defence acts.

        Args:
            recipe: settings of a run.

        Returns:
            Names of stages that have epochs, in order.
        """
        return [name for name in recipe.stages() if self.acts_in(recipe, name)]

    def active(self, recipe: "Recipe") -> bool:
        """Whether the defence acts at all.

        Args:
            recipe: settings of a run.

        Returns:
            True if it acts in a stage, or on the finished weights or answers.
        """
        return bool(self.stages_in(recipe)) or self.acts_after(recipe)

    def paths(self, recipe: "Recipe") -> set[tuple[str, str]]:
        """The defence's ``fields``, one by one.

        Args:
            recipe: whose sections they are of.

        Returns:
            (section, field) for each.
        """
        return paths_of(self.fields, recipe)


def paths_of(fields: Iterable[str], recipe: "Recipe") -> set[tuple[str, str]]:
    """Fields as a defence writes them, one by one.

    Args:
        fields: a whole section (``"noise"``) or one field (``"model.dropout"``, ``"*.relax"`` for that of every stage).
        recipe: whose sections they are of.

    Returns:
        (section, field) for each.
    """
    paths = set()
    for written in fields:
        section, _, name = written.partition(".")
        for own in STAGES if section == EVERY_STAGE else (section,):
            paths |= {(own, each) for each in ([name] if name else type(getattr(recipe, own)).model_fields)}
    return paths


def undone(recipe: "Recipe", defences: Iterable[Defence]) -> "Recipe":
    """A recipe without some defences; what is not a defence's own stays as it is, where the run is computed included.

    Args:
        recipe: settings of a run.
        defences: to undo.

    Returns:
        A copy in which their own fields are at their defaults, and stages that are there for them have no epochs.
    """
    plain = type(recipe)()
    changes: dict[str, dict[str, Any]] = {}
    for defence in defences:
        for section, name in defence.paths(recipe):
            changes.setdefault(section, {})[name] = getattr(getattr(plain, section), name)
        if defence.stage is not None:
            changes.setdefault(defence.stage, {})["epochs"] = 0
    sections = {name: getattr(recipe, name).model_copy(update=change) for name, change in changes.items()}
    return recipe.model_copy(update=sections)


def in_one_stage(recipe: "Recipe", first: Defence, second: Defence) -> bool:
    """Whether two defences act in the same stage.

    Args:
        recipe: settings of a run.
        first: a defence.
        second: another.

    Returns:
        True if there is such a stage.
    """
    return any(first.acts_in(recipe, name) and second.acts_in(recipe, name) for name in recipe.stages())


@cache
def defaults_of(kind: "type[Recipe]") -> dict[str, Any]:
    """The default of every field.

    Args:
        kind: the class of recipes.

    Returns:
        Section -> field -> default, as JSON. It is shared: do not change it.
    """
    return kind().model_dump(mode="json")


def in_stage(asked: Callable[[Stage], bool]) -> Callable[["Recipe", str], bool]:
    """``acts_in`` of a defence that a stage's own fields ask for.

    Args:
        asked: whether the fields of a stage ask for it.

    Returns:
        The same of a recipe and the name of one of its stages.
    """
    return lambda recipe, stage: asked(getattr(recipe, stage))

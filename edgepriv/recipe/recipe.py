"""The recipe as a whole: its sections, what is derived from them, its hash, and the check of what users write."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, create_model

from edgepriv.errors import UserError, nearest
from edgepriv.recipe.defences import DEFENCES, Defence
from edgepriv.recipe.defences.base import undone
from edgepriv.recipe.option import BUILDING, Option
from edgepriv.recipe.section import Section
from edgepriv.recipe.sections import Adversary, Audit, Bench, Data, Dp, Export, Head, Model, Noise, Pipeline, Quantize
from edgepriv.recipe.stages import STAGES, Distilled, Noisy, Qat, Robust, Stage, Train
from edgepriv.recipe.starting import Start
from edgepriv.recipe.training_hash import training_hash

Own = TypeVar("Own", bound=Section)


class Recipe(Section):
    """The whole of a run. Two recipes with equal ``training_hash`` on equal data give the same model, up to rounding, but for
    what private training draws from the operating system.

    ``device``: where it is computed, see ``training.device``; of this machine and this run, as ``start.path`` is, so neither
    is ever stored.
    """

    seed: Annotated[
        int,
        Option("Seed of the split, the weights and the order of examples.", "Training", BUILDING),
    ] = Field(0, ge=0)
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Option("Arithmetic of training: auto, float32 or bfloat16.", "Training", ("train", "harden")),
    ] = "auto"
    device: Annotated[
        str,
        Option("Where it is computed: auto, cpu, cuda, cuda:N or mps.", "Training", ("train", "harden", "audit")),
    ] = Field("auto", exclude=True)
    data: Data = Data()
    model: Model = Model()
    start: Start = Start()
    train: Train = Train()
    noisy: Noisy = Noisy()
    distilled: Distilled = Distilled()
    robust: Robust = Robust()
    qat: Qat = Qat()
    pipeline: Pipeline = Pipeline()
    adversary: Adversary = Adversary()
    noise: Noise = Noise()
    dp: Dp = Dp()
    head: Head = Head()
    quantize: Quantize = Quantize()
    export: Export = Export()
    audit: Audit = Audit()
    bench: Bench = Bench()

    def own(self, section: type[Own]) -> Own:
        """The section of a type, of a defence that declares it itself, so that this class does not name it.

        Args:
            section: the type.

        Returns:
            The section.
        """
        return next(value for name in type(self).model_fields if isinstance(value := getattr(self, name), section))

    def with_changes(self, **sections: Any) -> "Recipe":
        """Copy with changed fields: ``recipe.with_changes(seed=1, quantize={"bits": 4})``.

        Another norm of the adversary forgets ``eps`` and ``step``: they were lengths in the old one.

        Args:
            sections: fields of each section by name, or a field of the recipe itself; ``None`` changes nothing.

        Returns:
            The changed recipe.

        Raises:
            UserError: for fields and values that no recipe has.
        """
        content = self.model_dump() | {"device": self.device}
        content["start"]["path"] = self.start.path
        if (sections.get("adversary") or {}).get("norm") not in (None, self.adversary.norm):
            content["adversary"] |= {"eps": None, "step": None}
        for name, change in sections.items():
            if isinstance(change, dict):
                content[name] |= {key: value for key, value in change.items() if value is not None}
            elif change is not None:
                content[name] = change
        return parse(content, _OPTIONS)

    def undefended(self) -> "Recipe":
        """The same training without any defence: what an oblivious attacker's reference models are trained by."""
        return undone(self, DEFENCES.values())

    def stages(self) -> dict[str, Stage]:
        """The stages that have epochs, by name, in order."""
        return {name: stage for name in STAGES if (stage := getattr(self, name)).epochs > 0}

    def dropout_in(self, stage: str) -> float:
        """Dropout of a stage.

        Args:
            stage: its name.

        Returns:
            The share of inputs that it drops, 0 to 1: its own, or the model's where it has none.
        """
        own: float | None = getattr(self, stage).dropout
        return self.model.dropout if own is None else own

    def as_run(self, stages: Iterable[str]) -> "Recipe":
        """The recipe without the stages that have not run: a checkpoint may stop short of what its recipe goes on to.

        Args:
            stages: names of those that have.

        Returns:
            A copy in which the others have no epochs.
        """
        return self.with_changes(**{name: {"epochs": 0} for name in STAGES if name not in stages})

    def undefended_start(self) -> "Recipe | None":
        """``undefended()`` if that is how this recipe begins before it goes on to other stages, else None: training by
        either then makes the same weights up to the end of the stage ``train``."""
        if len(self.stages()) < 2 or self.train.epochs == 0:
            return None
        defended = any(defence.acts_in(self, "train") for defence in DEFENCES.values())
        return None if defended else self.undefended()

    def training_hash(self) -> str:
        """Hex sha256 of every field that the trained, quantized weights depend on; fields without effect do not count."""
        return training_hash(self)


def extended(recipe: type[Recipe], defences: Iterable[Defence]) -> type[Recipe]:
    """A class of recipes with more sections.

    Args:
        recipe: the class.
        defences: some of which declare a section themselves.

    Returns:
        The class with these sections, each under the name of its defence; ``recipe`` itself where there are none.
    """
    new: dict[str, Any] = {
        each.name: (each.section, each.section())
        for each in defences
        if each.section is not None and each.name not in recipe.model_fields
    }
    if not new:
        return recipe
    return create_model(recipe.__name__, __base__=recipe, __module__=recipe.__module__, __doc__=recipe.__doc__, **new)


if not TYPE_CHECKING:  # a checker sees the sections that are written above; of others ``Recipe.own`` tells it the type
    Recipe = extended(Recipe, DEFENCES.values())


_OPTIONS = "the options"


def parse(content: dict[str, Any], where: str) -> Recipe:
    """Validate a nested dictionary.

    Args:
        content: sections and fields by name; what is left out keeps its default.
        where: its origin, for the message.

    Returns:
        The recipe.

    Raises:
        UserError: for the first field that is not known, with the nearest that is, or whose value is wrong.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        asked = _asked_as(first["loc"]) if where == _OPTIONS else ""
        place = asked or f"{where}: {field}"
        reason = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
        if first["type"] == "extra_forbidden":
            known = _known_beside(first["loc"])
            raise UserError(f"{where}: there is no {field}{nearest(str(first['loc'][-1]), known)}") from error
        if first["type"] == "literal_error":
            meant = nearest(str(first["input"]), re.findall("'([^']*)'", first["ctx"]["expected"]))
            reason += f", not {first['input']!r}{meant}"
            raise UserError(f"{place}: {reason[:1].lower()}{reason[1:]}") from error
        raise UserError(f"{place}: {reason[:1].lower()}{reason[1:]} (got {first['input']!r})") from error


def _asked_as(place: tuple[int | str, ...]) -> str:
    """The option that sets a field, as it is spelled on the command line; empty where there is none."""
    section = Recipe.model_fields[str(place[0])].annotation if len(place) > 1 else Recipe
    if not (isinstance(section, type) and issubclass(section, Section)):
        return ""
    field = str(place[min(1, len(place) - 1)])
    metadata = section.model_fields[field].metadata if field in section.model_fields else []
    for option in (each for each in metadata if isinstance(each, Option)):
        return option.flags[0] if option.flags else f"--{(option.name or field).replace('_', '-')}"
    return ""


def _known_beside(place: tuple[int | str, ...]) -> list[str]:
    """The fields of the section, or the sections, among which a name was not found."""
    if len(place) == 1:
        return list(Recipe.model_fields)
    section = Recipe.model_fields[str(place[0])].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []

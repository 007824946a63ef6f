"""Whether two releases of a model come from one training, as far as their manifests tell."""

from collections.abc import Sequence
from typing import Literal

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.manifest import Manifest, path_beside
from edgepriv.recipe import parse
from edgepriv.recipe.training_hash import first_training_hash

Relation = Literal["one training", "separate trainings", "not known"]

IN_WORDS: dict[Relation, str] = {
    "one training": "of one training with the audited file, and scores of both are fitted together",
    "separate trainings": "of a training of its own on the same members, and log-likelihood ratios are summed",
    "not known": "not known to be of the same training, and log-likelihood ratios are summed, as of a training of its own",
}
SECRET = "the operating system"
SAME_FILE = "it is the same file, byte for byte"


def related(one: DeployedModel, other: DeployedModel) -> tuple[Relation, str]:
    """Whether two releases, trained on the same members, come from one training.

    Args:
        one: a file.
        other: another.

    Returns:
        The relation, and what it is read from.
    """
    if one.sha256 == other.sha256:
        return "one training", SAME_FILE
    known = one.manifest, other.manifest
    if known[0] is None or known[1] is None:
        return "not known", "there are no manifests that tell how both were trained"
    if _floats(one, known[0]) & _floats(other, known[1]):
        return "one training", "both were made of one float model, as the sha256 in the manifests shows"
    if any(each.elsewhere or "train" not in each.stages for each in (known[0], known[1])):
        return (
            "not known",
            "edgepriv did not do the first training, and the manifests name no float model that both share",
        )
    if _first_training(one, known[0]) == _first_training(other, known[1]):
        if _noise(known[0]) != _noise(known[1]) or _noise(known[0]) == SECRET:
            return (
                "separate trainings",
                "both were trained by one recipe, each with noise of its own that nobody can draw again",
            )
        return "one training", "the manifests tell of the same first training: recipe, seed and data"
    return "separate trainings", "the manifests tell of two trainings, by other recipes or seeds"


def training_of(relations: Sequence[tuple[Relation, str]], trainings: Sequence[int]) -> int:
    """The number of the training that a release comes from.

    Args:
        relations: to each of the releases before it, as ``related`` tells.
        trainings: the numbers of those.

    Returns:
        The number of one that it shares its training with, else a new one.
    """
    shared = [own for own, (relation, _) in zip(trainings, relations, strict=True) if relation == "one training"]
    return shared[0] if shared else max(trainings) + 1


def _floats(model: DeployedModel, known: Manifest) -> set[str]:
    """The digests of the file and of the float model that it was exported with."""
    return {model.sha256} | ({known.float_twin["sha256"]} if known.float_twin else set())


def _first_training(model: DeployedModel, known: Manifest) -> str:
    """A hash of what the weights were before any later stage."""
    return first_training_hash(parse(known.recipe, str(path_beside(model.path))))


def _noise(known: Manifest) -> str:
    """What the noise of private training can be drawn again from; empty where there is none."""
    facts = known.defences.get("dp")
    if facts is None:
        return ""
    return next((part for part in facts.get("not_covered", ()) if "the seed of the noise" in part), SECRET)

"""What the training of a recipe starts from: new weights, or public ones and a new head."""

import random

import numpy as np
import torch

from edgepriv.errors import UserError
from edgepriv.models import Classifier, build_classifier, zoo
from edgepriv.models.group_norm import with_group_norm
from edgepriv.models.starting import start_from
from edgepriv.models.tensor_names import some
from edgepriv.recipe import Recipe
from edgepriv.training.held import held_by, layers_of


def new_classifier(recipe: Recipe, num_classes: int, input_shape: tuple[int, ...]) -> Classifier:
    """The recipe's architecture with weights drawn from its seed, but for those that it takes of public ones.

    Args:
        recipe: model, public weights and seed.
        num_classes: K.
        input_shape: of one example.

    Returns:
        The classifier.

    Raises:
        UserError: for public weights that are not at hand, or do not fit.
    """
    _seed(recipe.seed)
    classifier = build_classifier(recipe.model, num_classes, input_shape)
    if recipe.start.active:
        start_from(classifier.network, recipe.start, recipe.model.name)
    return classifier


def _seed(seed: int) -> None:
    """All generators that a network of the user's own may draw its first weights from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def normalised_for_dp(recipe: Recipe, num_classes: int, input_shape: tuple[int, ...]) -> tuple[Recipe, list[str]]:
    """Group normalization for a network that is made for differentially private training, which batch normalization mixes.

    Trained weights rely on the statistics of their batch normalization, so it stays where the user's own code brings some.

    Args:
        recipe: of a run that starts from random weights, or from public ones, whose normalization stays as it is.
        num_classes: K.
        input_shape: of one example.

    Returns:
        The recipe, with ``model.norm`` "group" where that changes the network; and sentences that say so.

    Raises:
        UserError: for an architecture that does not fit, and where group normalization would replace what trained weights
            rely on.
    """
    asked = recipe.model.norm == "group"
    if recipe.start.active or not (recipe.dp.active or asked):
        return recipe, []
    own = recipe.with_changes(model={"norm": "own"})
    with torch.random.fork_rng(devices=[]):
        network = build_classifier(own.model, num_classes, input_shape).network
    still = held_by(network, recipe.train).modules
    replaced = with_group_norm(network)
    trained = trained_tensors(own, num_classes, input_shape) if replaced else []
    if trained and not asked and still.issuperset(replaced):
        return recipe, []  # which stays in eval mode, and mixes nothing
    if trained:
        remedy = (
            "leave out --norm group"
            if asked
            else "freeze these layers (--freeze, --train-last), which differential privacy cannot train"
        )
        raise UserError(
            f"{recipe.model.name} brings weights along that are not drawn at random ({some(trained)}), and trained weights "
            f"rely on their batch normalization ({some(replaced)}), in whose place group normalization cannot be put: "
            f"{remedy}, or build the network without trained weights"
        )
    if asked or not replaced:
        return recipe, []
    note = (
        f"group normalization stands in place of batch normalization ({some(replaced)}), which mixes the examples of a batch "
        "and cannot be trained with differential privacy"
    )
    return recipe.with_changes(model={"norm": "group"}), [note]


def trained_tensors(recipe: Recipe, num_classes: int, input_shape: tuple[int, ...]) -> list[str]:
    """Weights that a network of the user's own code has whatever the seed: it has read them from somewhere.

    Args:
        recipe: model and public weights; what those bring is not looked at.
        num_classes: K.
        input_shape: of one example.

    Returns:
        Names of the parameters; none of one of our own architectures, and none that is constant, such as a zero bias.
    """
    if ":" not in recipe.model.name:
        return []
    with torch.random.fork_rng(devices=[]):
        drawn = []
        for seed in (0, 1):
            _seed(seed)
            drawn.append(dict(build_classifier(recipe.model, num_classes, input_shape).network.named_parameters()))
    one, other = drawn
    return [
        name
        for name, value in one.items()
        if value.numel() > 1 and bool((value != value.flatten()[0]).any()) and torch.equal(value, other[name])
    ]


def start_notes(recipe: Recipe, num_classes: int, input_shape: tuple[int, ...]) -> list[str]:
    """What training starts from, and what nobody can see in a file of weights.

    Args:
        recipe: model and public weights.
        num_classes: K.
        input_shape: of one example.

    Returns:
        Sentences; none without public weights.

    Raises:
        UserError: see ``new_classifier``.
    """
    if not recipe.start.active:
        return []
    network = build_classifier(recipe.model, num_classes, input_shape).network
    file = recipe.start.file or "the file"
    taken = start_from(network, recipe.start, recipe.model.name)
    notes = [taken.summary(file)]
    last = list(layers_of(network))[-1]
    random = [name for name in taken.fresh if name.rpartition(".")[0] != last]
    if random:
        stem = (
            "; --model-arg stem=plain keeps torchvision's own first layer" if recipe.model.name in zoo.names() else ""
        )
        notes.append(f"beside the last layer, {some(random)} start from random weights{stem}")
    fed, own = recipe.model, taken.fed
    if own is not None and (own.mean, own.std, own.input_range) != (fed.mean, fed.std, fed.input_range):
        notes.append(
            f"{file} was trained with mean {_numbers(own.mean)} and std {_numbers(own.std)}, and this model is fed by "
            f"{_numbers(fed.mean)} and {_numbers(fed.std)}: --mean and --std say otherwise"
        )
    elif own is None and fed.mean is None and fed.std is None and len(input_shape) == 3:
        notes.append(
            f"{file} does not say how its network is fed: images are normalised by mean 0.5 and std 0.25 of their range; pass "
            "--mean and --std as it was trained (ImageNet: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)"
        )
    return notes


def _numbers(values: tuple[float, ...] | None) -> str:
    return "the default" if values is None else ",".join(f"{value:g}" for value in values)


def refuse_random_held(recipe: Recipe, stage: str, num_classes: int, input_shape: tuple[int, ...]) -> None:
    """Refuse to hold layers at weights that are drawn at random.

    Args:
        recipe: of which two new networks are made, by different seeds.
        stage: that starts from new weights.
        num_classes: K.
        input_shape: of one example.

    Raises:
        UserError: where a held layer differs between the two.
    """
    settings = getattr(recipe, stage)
    if not settings.freeze and settings.train_last is None:
        return
    one, other = (new_classifier(recipe.with_changes(seed=seed), num_classes, input_shape).network for seed in (0, 1))
    held = held_by(one, settings).parameters
    drawn, again = dict(one.named_parameters()), dict(other.named_parameters())
    random = [name for name, value in drawn.items() if name in held and not torch.equal(value, again[name])]
    layers = [layer for layer, names in layers_of(one).items() if set(names) & set(random)]
    if layers:
        of_file = f", which {recipe.start.file} has none for" if recipe.start.active else ""
        remedy = "do not freeze them" if recipe.start.active else "name public ones with --start-weights"
        raise UserError(f"the stage {stage} would keep {some(layers)} at random weights{of_file}: {remedy}")

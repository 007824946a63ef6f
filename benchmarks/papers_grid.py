"""The rows of ``papers.py best``: defences alone and together, on three data sets."""

from collections.abc import Sequence

from papers_rows import UNDEFENDED, Changes, Experiment, joined

from edgepriv.recipe import FULL_WIDTH

FOUR_BITS: Changes = {"quantize": {"bits": 4}, "qat": {"epochs": 5}}
FLOAT: Changes = {"quantize": {"bits": FULL_WIDTH}, "qat": {"epochs": 0}}
RANK: Changes = {"head": {"method": "rank"}}
EARLY: Changes = {"train": {"select": "best", "patience": 3}}
BASE: Changes = {"adversary": {"method": "none"}, "robust": {"epochs": 0}}


def grid(
    relax: Sequence[float], epsilons: Sequence[float], dp_epochs: int, augment: str = "", epochs: int = 0
) -> dict[str, Changes]:
    """The defences that are compared, alone and together. ``relax``: RelaxLoss's alphas, in nats. ``augment``: of images,
    which is no defence by intent and overfits less all the same; it learns more slowly, so it is given the recipe's
    ``epochs`` twice as well."""
    augmented: Changes = {"train": {"augment": augment}}
    longer: Changes = {"train": {"augment": augment, "epochs": 2 * epochs}}
    images = {
        "augment": augmented,
        "augment-rank": joined(augmented, RANK),
        "augment-2x": longer,
        "augment-2x-rank": joined(longer, RANK),
    }
    alone: dict[str, Changes] = {
        "undefended": {},
        "early": EARLY,
        "dropout": {"model": {"dropout": 0.5}},
        "flatten": {"train": {"flatten": 1.0}},
        **{f"relax-{alpha:g}": {"train": {"relax": alpha}} for alpha in relax},
        **{f"dp-{epsilon:g}": {"dp": {"epsilon": epsilon}, "train": {"epochs": dp_epochs}} for epsilon in epsilons},
        "rank": RANK,
        **(images if augment else {}),
    }
    rows = {name: joined(UNDEFENDED, FLOAT, changes) for name, changes in alone.items()}
    together = {
        "qat4": {},
        "early-qat4": EARLY,
        "rank-qat4": RANK,
        "early-rank-qat4": joined(EARLY, RANK),
        **({"augment-2x-rank-qat4": joined(longer, RANK, {"qat": {"augment": augment}})} if augment else {}),
        **{f"relax-{a:g}-qat4": {"train": {"relax": a}, "qat": {"relax": a}} for a in relax},
    }
    rows |= {name: joined(BASE, FOUR_BITS, changes) for name, changes in together.items()}
    return rows


BEST: dict[str, Experiment] = {
    "best-fashion_mnist": Experiment("../fashion_lenet", grid((0.3, 0.6), (8.0, 2.0), 20, "crop", 20), 1.3),
    "best-cifar10": Experiment("../cifar_cnn", grid((0.5, 1.0), (8.0, 2.0), 20, "crop_flip", 25), 2.0),
    "best-location30": Experiment("../location_mlp", grid((0.5, 1.0), (8.0, 2.0), 30), 0.6),
}

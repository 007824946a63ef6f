"""What benchmarks/papers.py runs: experiments of rows, each a recipe of recipes/papers with changes, and their scale."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from papers_grid import BEST
from papers_rows import UNDEFENDED, Changes, Experiment, joined

from edgepriv import recipe as recipes
from edgepriv.recipe import FULL_WIDTH, Recipe

RECIPES = Path(__file__).parents[1] / "recipes" / "papers"

BEST_ATTACKS = "quick,shadow-mlp,ml-leaks,three-subnet,lira-online,lira-offline,rmia-online,rmia-offline"

SCALES: dict[str, dict[str, Any]] = {
    # Batches as much smaller as the members are fewer: about as many steps as the paper's, on which memorising depends.
    "001-lenet": {
        "data": {"members": 3_000, "non_members": 3_000, "reference": 6_000},
        "train": {"batch_size": 32},
        "audit": {"references": 4},
    },
    "001-resnet20": {
        "data": {"members": 1_000, "non_members": 1_000, "reference": 2_000, "holdout": 200, "validation": 200},
        "train": {"epochs": 16, "batch_size": 32},
        "audit": {"references": 0},
    },
    "000-lenet": {
        "data": {"members": 3_000, "non_members": 3_000, "reference": 6_000},
        "train": {"epochs": 20},
        "adversary": {"steps": 3, "step": 0.05},
        "robust": {"epochs": 8},
        "qat": {"epochs": 4},
        "audit": {"references": 8, "robust_examples": 500, "robust": "quick"},
    },
    "003-cifar100": {
        "data": {"members": 1_500, "non_members": 1_500, "reference": 3_000, "holdout": 500, "validation": 200},
        "model": {"args": {"width": 16}},
        "audit": {"references": 0},
    },
    "003-location": {"audit": {"references": 8}},
    "004-location": {"train": {"epochs": 50}, "noisy": {"epochs": 50}, "audit": {"references": 4}},
    "004-adult": {
        "data": {"members": 1_000, "non_members": 1_000, "reference": 2_000, "holdout": 200, "validation": 200},
        "train": {"epochs": 50},
        "noisy": {"epochs": 50},
        "audit": {"references": 0},
    },
    "best-fashion_mnist": {
        "data": {"members": 3_000, "non_members": 3_000, "reference": 4_000, "holdout": 1_000, "validation": 1_000},
        "train": {"batch_size": 32},
        "audit": {"references": 8, "attacks": BEST_ATTACKS, "threat_models": ("adaptive",)},
    },
    "best-cifar10": {
        "data": {"members": 1_000, "non_members": 1_000, "reference": 2_000, "holdout": 500, "validation": 500},
        "model": {"args": {"width": 16}},
        "audit": {"references": 8, "attacks": BEST_ATTACKS},
    },
    "best-location30": {"audit": {"attacks": BEST_ATTACKS, "threat_models": ("adaptive",)}},
}
"""What two processor cores can do in an hour, by experiment: these fields of its recipe are changed unless ``--full``."""


FLOAT: Changes = {"train": {"quantized": False}, "quantize": {"bits": FULL_WIDTH, "quantizer": "minmax"}}


NOT_AUGMENTED: Changes = {"train": {"augment": "none"}}


def _widths(*bits: int) -> dict[str, Changes]:
    return {f"{width}-bit": {"quantize": {"bits": width}} for width in bits}


EPOCHS_EARLY = (3, 6)
"""Of a full-width ResNet-20: is 4 bits worth more than to stop earlier?"""
EPOCHS_003 = (5, 12, 30)
"""Ding et al.'s growing overfitting: the epochs of the target in Table 7 and Figures 9 to 11."""
HEADS = ("none", "member", "nonmember", "rank")
DROPOUT = 0.5
EPOCHS_004 = (5, 12, 25)
"""Kassa, Adi & Bouhaddi's Figure 2: epochs before the last, which is the recipe's, or the scale's."""
UNTRAINED: Changes = {"attacks": "quick,blindmi-diff"}
"""Attacks of a row that stands in a curve only: the attacker trains nothing."""


def _heads_by_epochs() -> dict[str, Changes]:
    rows: dict[str, Changes] = {}
    for epochs in EPOCHS_003:
        audit = {} if epochs == EPOCHS_003[-1] else {"audit": UNTRAINED}
        for head in HEADS:
            rows[f"{head}-{epochs}"] = {"head": {"method": head}, "train": {"epochs": epochs}, **audit}
        rows[f"dropout-{epochs}"] = {"model": {"dropout": DROPOUT}, "train": {"epochs": epochs}, **audit}
    return rows


NOISES = ("none", "uniform", "shapley")


def _noise_by_epochs() -> dict[str, Changes]:
    rows: dict[str, Changes] = {
        "none": {"noise": {"method": "none"}, "noisy": {"epochs": 0}},
        "uniform": {"noise": {"method": "uniform"}},
        "shapley": {"noise": {"method": "shapley"}},
    }
    for epochs in EPOCHS_004:
        rows[f"none-{epochs}"] = {**rows["none"], "train": {"epochs": epochs}, "audit": UNTRAINED}
        for method in NOISES[1:]:
            rows[f"{method}-{epochs}"] = {**rows[method], "noisy": {"epochs": epochs}, "audit": UNTRAINED}
    return rows


EXPERIMENTS: dict[str, Experiment] = {
    "001-lenet": Experiment(
        "001_lenet",
        {
            **_widths(4, 8, 16),
            "full": FLOAT,
            "plain-4-bit": {"quantize": {"bits": 4}} | NOT_AUGMENTED,
            "plain-full": joined(FLOAT, NOT_AUGMENTED),
        },
        2.6,
    ),
    "001-resnet20": Experiment(
        "001_resnet20",
        {
            **_widths(4, 8, 16),
            "full": FLOAT,
            **{f"full-{n}-epochs": joined(FLOAT, {"train": {"epochs": n}}) for n in EPOCHS_EARLY},
            "dorefa-4": {"quantize": {"quantizer": "dorefa", "bits": 4}},
            "dorefa-16": {"quantize": {"quantizer": "dorefa", "bits": 16}},
            "last-5": {"quantize": {"bits": 4, "last_k": 5}},
        },
        1.5,
    ),
    "000-lenet": Experiment(
        "000_lenet",
        {
            "undefended": UNDEFENDED,
            "float": {"qat": {"epochs": 0}, "quantize": {"bits": FULL_WIDTH}},
            **_widths(4, 8),
            "4-bit-flatten": {"qat": {"flatten": 1.0}},
        },
        5.3,
    ),
    "003-cifar100": Experiment("003_cifar100", _heads_by_epochs(), 0.3),
    "003-location": Experiment(
        "003_location",
        {
            **{head: {"head": {"method": head}} for head in (*HEADS, "memguard")},
            "dropout": {"model": {"dropout": DROPOUT}},
        },
        0.5,
    ),
    "004-location": Experiment("004_location", _noise_by_epochs(), 0.5),
    "004-adult": Experiment("004_adult", _noise_by_epochs(), 0.3),
}


def experiment_of(name: str) -> Experiment:
    """Of the papers, or of ``papers.py best``."""
    return EXPERIMENTS[name] if name in EXPERIMENTS else BEST[name]


@cache
def paper_recipe(name: str) -> Recipe:
    """A recipe of recipes/papers by its stem, at the paper's own setting."""
    return recipes.load(RECIPES / f"{name}.toml")


def recipe_of(experiment: str, row: str, seed: int, full: bool) -> Recipe:
    """What one cell trains. A row's changes win over the scale where both name a field: it is what the row is about."""
    described = experiment_of(experiment)
    scaled = {} if full else SCALES[experiment]
    return paper_recipe(described.recipe).with_changes(**scaled).with_changes(seed=seed, **described.rows[row])


def scale_factors(experiment: str) -> dict[str, dict[str, Any]]:
    """Field -> ``full`` and ``ours``, and ``factor`` where both are numbers: how much smaller our runs are."""
    base = paper_recipe(experiment_of(experiment).recipe).model_dump(mode="json")
    factors: dict[str, dict[str, Any]] = {}
    for section, fields in SCALES[experiment].items():
        for name, ours in fields.items():
            whole = base[section][name]
            if ours == whole:
                continue
            factors[f"{section}.{name}"] = {"full": whole, "ours": ours}
            if ours and isinstance(ours, int | float) and isinstance(whole, int | float):
                factors[f"{section}.{name}"]["factor"] = whole / ours
    plain: dict[str, dict[str, Any]] = json.loads(json.dumps(factors))
    return plain

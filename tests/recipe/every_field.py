"""A walk over every field of a recipe: each, by itself, at a valid value that it does not have."""

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from edgepriv.errors import UserError
from edgepriv.recipe import STAGES, Recipe

WORDS = {
    "data.name": ["digits"],
    "data.label": ["outcome"],
    "model.name": ["cnn", "mlp"],
    "quantize.quantizer": ["famili", "minmax"],
    "quantize.granularity": ["tensor", "channel"],
    "audit.attacks": ["quick"],
    "audit.engine": ["dask:tcp://127.0.0.1:8786"],
    "audit.output_name": ["scores"],
    "extra.file": ["npz:synthetic.npz", "npz:other.npz"],
    "extra.labels": ["model", "given"],
    "extra.sha256": ["11", "22"],
    "dmp.file": ["npz:other.npz"],
    "dmp.sha256": ["11", "22"],
    "model.args": [{"widths": [7, 5]}, {}],
    "dp.delta": [1e-3],
    "start.sha256": ["0" * 64],
    "quantize.last_k": [2, 1],
    **{f"{stage}.relax": [1.5, 0.9] for stage in STAGES},
    **{f"{stage}.patience": [1] for stage in STAGES},
    **{f"{stage}.freeze": [("layers.0",)] for stage in STAGES},
    **{f"{stage}.train_last": [2, 1] for stage in STAGES},
    **{f"{stage}.layer_rates": ["layers.0=0.5"] for stage in STAGES},
}
"""Fields whose type alone does not tell what is valid."""


def fields(recipe: Recipe) -> Iterator[str]:
    """``seed``, ``data.name``, ...: every field of every section."""
    for name in type(recipe).model_fields:
        value = getattr(recipe, name)
        if isinstance(value, BaseModel):
            yield from (f"{name}.{own}" for own in type(value).model_fields)
        else:
            yield name


def values(annotation: Any, value: Any) -> Iterator[Any]:
    """What a field of that type might have instead of ``value``."""
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind in (Union, types.UnionType):
        for own in inner:
            yield from values(own, value)
    elif kind is Literal:
        yield from reversed([other for other in inner if other != value])
    elif kind is tuple:
        if get_origin(inner[0]) is Literal:
            yield value[:1]
        yield from ((0.0, 2.0), (0.25, 3.0)) if len(inner) == 2 and inner[1] is not Ellipsis else ((0.4,), (2,))
        yield (2, 3)
    elif annotation is bool:
        yield not value
    elif annotation is int:
        yield from (value + 1, value - 1) if isinstance(value, int) else (8, 2, 1)
    elif annotation is float:
        yield from (value / 2, value + 0.25, 0.25) if isinstance(value, float | int) else (0.25,)


def elsewhere(recipe: Recipe, path: str) -> Recipe | None:
    """``recipe`` with another value of that field alone; None where every other value needs another field too."""
    section, _, name = path.rpartition(".")
    owner = getattr(recipe, section) if section else recipe
    value, info = getattr(owner, name), type(owner).model_fields[name]
    for other in WORDS.get(path) or values(info.annotation, value):
        if other == value or other is None:
            continue
        try:
            changed = recipe.with_changes(**({section: {name: other}} if section else {name: other}))
        except UserError:
            continue
        if getattr(getattr(changed, section) if section else changed, name) != value:
            return changed
    return None


def everywhere(recipe: Recipe) -> dict[str, Recipe]:
    """By field, ``recipe`` with another value of that field alone."""
    found = {path: elsewhere(recipe, path) for path in fields(recipe)}
    return {path: changed for path, changed in found.items() if changed is not None}


def of_stages(*names: str) -> set[str]:
    return {f"{stage}.{name}" for stage in STAGES for name in names}


HOW_A_STAGE_TRAINS = ("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule", "augment")
HOW_A_STAGE_TRAINS += ("select", "patience", "ema", "freeze", "train_last", "layer_rates")
SHARED = {"seed", "precision", *(f"train.{name}" for name in HOW_A_STAGE_TRAINS)}
SHARED |= {f"data.{name}" for name in ("name", "members", "non_members", "reference", "holdout", "validation")}
SHARED |= {
    f"model.{name}" for name in ("name", "args", "features", "norm", "mean", "std", "input_range", "batch_dependent")
}
SHARED |= {"start.sha256"}
"""What an attacker who knows of no defence trains his models by. A field that is not here belongs to a defence, or to no
training at all: a new one fails the tests of the table until somebody has decided."""

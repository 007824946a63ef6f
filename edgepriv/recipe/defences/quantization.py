"""Quantization of the weights, in training or after it."""

from typing import TYPE_CHECKING

from edgepriv.recipe.defences.base import Conflict, Defence

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


def _in_training(recipe: "Recipe", stage: str) -> bool:
    return recipe.quantize.active and getattr(recipe, stage).quantized


def _layers_without_bits(recipe: "Recipe") -> bool:
    quantize = recipe.quantize
    return not quantize.active and (quantize.last_k or quantize.first_last) is not None


QUANTIZATION = Defence(
    name="quantization",
    title="weights of few bits",
    option="--bits 4 --quantizer minmax",
    source="Drif & Berrabah 2025; Famili & Lao 2023; Zhou et al. 2016; Esser et al. 2020",
    what="integer weights in the loop (`--ptq`: rounded after training, for comparison); also `famili`, `famili-printed`, "
    "`dorefa`, `lsq`; `--granularity tensor`, `channel`, `block:N`; `--last-k 5` for the last layers only; 9 to 16 bits are "
    "kept as uint16",
    fields=("quantize", "*.quantized"),
    stage="qat",
    acts_in=_in_training,
    acts_after=lambda recipe: recipe.quantize.active,
    conflicts=(
        Conflict(
            "--last-k and --first-last say which layers are quantized how, and no bits are asked for: give --bits as well",
            met=_layers_without_bits,
        ),
    ),
)

"""Heads behind the softmax: output regenerators, and MemGuard, the baseline that they are compared with."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section


class Head(Section):
    """The head behind the softmax, trained by the owner when the model is done.

    ``member``, ``nonmember``: the two masks of Ding et al. 2023; ``rank``: fixed values placed by rank; ``memguard``: Jia et
    al. 2019, an optimisation for each query that the device kit runs, not the graph. ``epsilon``: of MemGuard, the expected
    L1 distance of what is shown from what the model answers, at most 2.
    """

    method: Annotated[
        Literal["none", "member", "nonmember", "rank", "memguard"],
        Option(
            "Head behind the softmax: member, nonmember or rank.",
            "Defences",
            ("harden",),
            name="regenerate",
            kind=Literal["none", "member", "nonmember", "rank"],
            noun="head",
        ),
        Option(
            "A known defence to compare with.",
            "Defences",
            ("harden",),
            name="baseline",
            kind=str,
            choices={"train": ("dropout",), "harden": ("dropout", "memguard")},
            default="none",
            sets=lambda value: {"method": "memguard" if value == "memguard" else None},
        ),
    ] = "none"
    epsilon: float = Field(1.0, ge=0, le=2)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)


REGENERATORS = ("member", "nonmember", "rank")
"""Methods of a head that is part of the graph."""
MEMGUARD_METHOD = "memguard"
_OF_DATA = ("member", "nonmember", MEMGUARD_METHOD)


def trained_on_members(head: Head) -> bool:
    """Whether a head is trained on what the model answers to its members, beside a privacy holdout.

    Args:
        head: the section of a recipe.

    Returns:
        True for heads that see the data, False for those that are computed.
    """
    return head.method in _OF_DATA


def _mask_lines(facts: Mapping[str, Any]) -> list[str]:
    if facts["method"] == MEMGUARD_METHOD:
        return []
    sides = {"members": "labels_changed_members", "holdout examples": "labels_changed_holdout"}
    changed = " and ".join(f"{facts[key]:.2%} of the {side}" for side, key in sides.items() if key in facts)
    given = ", trained for another model" if "trained" in facts else ""
    return [
        f"head {facts['method']}{given}: it changes the label of {changed}; edgepriv audit --cut-head shows what it hides"
    ]


def _guard_lines(facts: Mapping[str, Any]) -> list[str]:
    if facts["method"] != MEMGUARD_METHOD:
        return []
    return [
        f"MemGuard: mean L1 distance of the answers {facts['mean_l1_distance']:.3g} (budget {facts['epsilon']:g}), its own "
        f"attack {facts['attack_accuracy_plain']:.1%} -> {facts['attack_accuracy_guarded']:.1%}",
        "warning: MemGuard is not in the .onnx: ship model.memguard.npz with it and answer through device/predict.py; the "
        "kits for Node and the browser refuse, and any other program shows the model's own probabilities",
    ]


def _without_logits(methods: Sequence[str]) -> Conflict:
    return Conflict(
        "a head turns probabilities into other probabilities, and there are no logits of those: leave --returns at "
        "probabilities",
        met=lambda recipe: recipe.head.method in methods and recipe.export.output == "logits",
    )


REGENERATOR = Defence(
    name="regenerator",
    place=70,
    title="output regenerator",
    option="--regenerate rank",
    source="Ding et al. 2023; `rank` is ours",
    what="a head behind the softmax, in the file: `member` and `nonmember` are masks learnt from the model's answers, `rank` "
    "puts the same values into every answer, by rank, so no label changes. `model.head.pt` can be put on another model with as "
    "many classes (`--head`)",
    fields=("head",),
    acts_after=lambda recipe: recipe.head.method in REGENERATORS,
    unused={
        "head.epsilon": lambda recipe: recipe.head.method in REGENERATORS,
        **{f"head.{name}": lambda recipe: recipe.head.method == "rank" for name in ("epochs", "batch_size", "lr")},
    },
    conflicts=(_without_logits(REGENERATORS),),
    facts="head",
    terminal_lines=_mask_lines,
)

MEMGUARD = Defence(
    name="memguard",
    place=80,
    title="MemGuard",
    option="--baseline memguard",
    source="Jia et al. 2019",
    what="what heads are compared with: searches noise for each query. The kit's `predict.py` runs it beside the file, and the "
    "audit asks through it",
    fields=("head",),
    acts_after=lambda recipe: recipe.head.method == MEMGUARD_METHOD,
    conflicts=(
        _without_logits([MEMGUARD_METHOD]),
        Conflict(
            "MemGuard changes the probabilities and never the label: a file that returns the label has nothing for it to "
            "change",
            met=lambda recipe: recipe.head.method == MEMGUARD_METHOD and recipe.export.output == "label",
        ),
    ),
    facts="head",
    terminal_lines=_guard_lines,
)

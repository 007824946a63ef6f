"""Written by ``python -m edgepriv.api.stub`` from the options of the recipe: change those, not this file."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from edgepriv.api.quickstart import Finished
from edgepriv.api.results import Attacks, Audited, Benched, Compared, Defences, Exported, Hardened, Shown, Trained
from edgepriv.errors import GateFailed as GateFailed
from edgepriv.errors import UserError as UserError
from edgepriv.progress import Step
from edgepriv.recipe import Recipe as Recipe

__all__: list[str]

def attacks(
    *,
    progress: bool | Callable[[Step], object] = False,
) -> Attacks:
    """The membership attacks that an audit knows, and what each needs."""

def audit(
    path: str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    model: str | None = None,
    members: str | os.PathLike[str] | None = None,
    non_members: str | os.PathLike[str] | None = None,
    float_twin: bool = True,
    cut_head: bool = False,
    accept_accuracy_loss: bool = False,
    trainer: str | None = None,
    defence_free: str | None = None,
    reference_models: str | os.PathLike[str] | None = None,
    reference_scores: str | os.PathLike[str] | None = None,
    fail_if: str | Sequence[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force: bool = False,
    label: str | int | None = None,
    groups: str | int | None = None,
    split_column: str | int | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    norm: Literal["linf", "l2"] | None = None,
    eps: float | None = None,
    attacks: str | Sequence[str] | None = None,
    references: int | None = None,
    threat_model: Literal["adaptive", "oblivious", "both"] | None = None,
    robust: Literal["autoattack", "quick", "none"] | None = None,
    perturb: Literal["all", "continuous"] | None = None,
    robust_examples: int | None = None,
    steps: int | None = None,
    queried_examples: int | None = None,
    engine: str | None = None,
    accept_weak_references: bool | None = None,
    input_range: str | tuple[float, float] | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
    output_name: str | None = None,
    batch_dependent: bool | None = None,
    device: str | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Audited:
    """Attack a deployed model: what it leaks about its training data, how perturbed inputs break it."""

def bench(
    path: str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str] | None = None,
    *,
    against: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    imports: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    batch: int | Sequence[int] | None = None,
    threads: int | Sequence[int] | None = None,
    runs: int | None = None,
    seconds: float | None = None,
    rounds: int | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Benched:
    """Measure size, latency and memory beside the float twin, each in a fresh process."""

def compare(
    *models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    recipe: Recipe | str | os.PathLike[str] | None = None,
    runs: int | None = None,
    seconds: float | None = None,
    rounds: int | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Compared:
    """One table: size, latency, memory, accuracy, robust accuracy, leakage."""

def defences(
    *,
    progress: bool | Callable[[Step], object] = False,
) -> Defences:
    """The defences that a recipe knows, how each is asked for, and which exclude each other."""

def export(
    checkpoint: str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str] = "model.onnx",
    members: str | os.PathLike[str] | None = None,
    non_members: str | os.PathLike[str] | None = None,
    max_drop: float = 5.0,
    accept_accuracy_loss: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    force: bool = False,
    data: str | None = None,
    label: str | int | None = None,
    groups: str | int | None = None,
    split_column: str | int | None = None,
    input_range: str | tuple[float, float] | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    model: str | None = None,
    widths: str | Sequence[int] | None = None,
    model_arg: Sequence[str] | Mapping[str, Any] | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
    batch_dependent: bool | None = None,
    bits: int | str | None = None,
    first_last: int | None = None,
    last_k: int | None = None,
    quantizer: Literal["minmax", "famili", "famili-printed", "dorefa", "lsq"] | None = None,
    granularity: str | None = None,
    profile: Literal["latency", "memory", "portable"] | None = None,
    compute: Literal["float32", "int8"] | None = None,
    input: Literal["float32", "uint8"] | None = None,
    returns: Literal["probabilities", "logits", "label"] | None = None,
    ort: bool | None = None,
    seed: int | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Exported:
    """Export a checkpoint to ONNX with integer weights, and prove parity."""

def harden(
    checkpoint: str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str] = "out",
    head: str | os.PathLike[str] | None = None,
    members: str | os.PathLike[str] | None = None,
    non_members: str | os.PathLike[str] | None = None,
    max_drop: float = 5.0,
    accept_accuracy_loss: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    force: bool = False,
    data: str | None = None,
    label: str | int | None = None,
    groups: str | int | None = None,
    split_column: str | int | None = None,
    input_range: str | tuple[float, float] | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    model: str | None = None,
    widths: str | Sequence[int] | None = None,
    model_arg: Sequence[str] | Mapping[str, Any] | None = None,
    baseline: Literal["dropout", "memguard"] | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
    batch_dependent: bool | None = None,
    noise_epochs: int | None = None,
    relax: float | None = None,
    patience: int | None = None,
    epochs: int | None = None,
    ptq: bool | None = None,
    qat_epochs: int | None = None,
    flatten: float | None = None,
    adv: Literal["none", "fgsm", "pgd", "pgd-l2"] | None = None,
    eps: float | None = None,
    steps: int | None = None,
    noise: Literal["none", "shapley", "uniform"] | None = None,
    noise_tau: float | None = None,
    noise_eps: float | None = None,
    noise_beta: float | None = None,
    noise_alpha: float | None = None,
    dp_epsilon: float | None = None,
    regenerate: Literal["none", "member", "nonmember", "rank"] | None = None,
    bits: int | str | None = None,
    first_last: int | None = None,
    last_k: int | None = None,
    quantizer: Literal["minmax", "famili", "famili-printed", "dorefa", "lsq"] | None = None,
    granularity: str | None = None,
    profile: Literal["latency", "memory", "portable"] | None = None,
    compute: Literal["float32", "int8"] | None = None,
    input: Literal["float32", "uint8"] | None = None,
    returns: Literal["probabilities", "logits", "label"] | None = None,
    ort: bool | None = None,
    mixup: float | None = None,
    seed: int | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    device: str | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Hardened:
    """Harden a trained model: adversarial training, quantization-aware fine-tuning, export."""

def quickstart(
    *,
    out: str | os.PathLike[str] = "quickstart",
    force: bool = False,
    progress: bool | Callable[[Step], object] = False,
) -> Finished:
    """The whole pipeline on scikit-learn's digits: train, harden, export, audit, bench, report."""

def show(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Shown:
    """What a file is: weights by layer and bits, profile, recipe."""

def train(
    recipe: Recipe | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str] = "model.pt",
    members: str | os.PathLike[str] | None = None,
    non_members: str | os.PathLike[str] | None = None,
    accept_accuracy_loss: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    force: bool = False,
    data: str | None = None,
    label: str | int | None = None,
    groups: str | int | None = None,
    split_column: str | int | None = None,
    input_range: str | tuple[float, float] | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    model: str | None = None,
    widths: str | Sequence[int] | None = None,
    model_arg: Sequence[str] | Mapping[str, Any] | None = None,
    baseline: Literal["dropout"] | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
    batch_dependent: bool | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    augment: Literal["none", "crop", "crop_flip"] | None = None,
    flatten: float | None = None,
    relax: float | None = None,
    patience: int | None = None,
    adv: Literal["none", "fgsm", "pgd", "pgd-l2"] | None = None,
    eps: float | None = None,
    steps: int | None = None,
    dp_epsilon: float | None = None,
    dp_delta: float | None = None,
    dp_clip: float | None = None,
    bits: int | str | None = None,
    first_last: int | None = None,
    last_k: int | None = None,
    quantizer: Literal["minmax", "famili", "famili-printed", "dorefa", "lsq"] | None = None,
    granularity: str | None = None,
    mixup: float | None = None,
    seed: int | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    device: str | None = None,
    progress: bool | Callable[[Step], object] = False,
) -> Trained:
    """Train a model from scratch."""

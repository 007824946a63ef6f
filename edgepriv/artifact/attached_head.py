"""A checkpoint and the head behind its softmax: trained, taken from another model, or stored beside it."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.data import Dataset, Split
from edgepriv.device import memguard
from edgepriv.errors import UserError
from edgepriv.files import sha256_of, write_bytes
from edgepriv.heads import trained_head
from edgepriv.heads.kinds import facts_of
from edgepriv.heads.masks import IN_GRAPH, Mask, from_record, load, save
from edgepriv.heads.regenerate import refuse_without_holdout
from edgepriv.models import Checkpoint, Classifier
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences.heads import MEMGUARD_METHOD
from edgepriv.training import load_quantized, quantize_weights


def transferred(file: Path | None, recipe: Recipe, dataset: Dataset, split: Split) -> dict[str, Any] | None:
    """The head in a file, checked before anything is trained.

    Args:
        file: model.head.pt, None when a head is to be trained.
        recipe: which asks for a head.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        Its record; None when one is to be trained.

    Raises:
        UserError: when neither is possible.
    """
    method = recipe.head.method
    if file is None:
        refuse_without_holdout(recipe, split)
        return None
    if method not in IN_GRAPH:
        raise UserError(f"--head {file} needs --regenerate {', '.join(IN_GRAPH[:-1])} or {IN_GRAPH[-1]}")
    return load(file, method, dataset.num_classes)


def with_head(checkpoint: Checkpoint, given: dict[str, Any] | None, dataset: Dataset, split: Split) -> Checkpoint:
    """Copy of a finished checkpoint with the head that its recipe asks for.

    Args:
        checkpoint: with the weights that ship.
        given: record of a head that exists; None to train one on what will ship.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        The copy; the checkpoint itself where no head is asked for.
    """
    if checkpoint.recipe.head.method == "none":
        return checkpoint
    classifier = quantized_classifier(checkpoint)
    record = given or trained_head(checkpoint.recipe, classifier, dataset, split)
    assert record is not None
    facts = facts_of(record, classifier, dataset, split) | ({"trained": "for another model"} if given else {})
    return replace(checkpoint, head=record, defences=checkpoint.defences | {"head": facts})


def quantized_classifier(checkpoint: Checkpoint) -> Classifier:
    """The classifier with the quantized weights of its recipe.

    Args:
        checkpoint: finished.

    Returns:
        The classifier.
    """
    classifier = checkpoint.classifier()
    load_quantized(classifier.network, quantize_weights(classifier.network, checkpoint.recipe.quantize))
    return classifier


def save_head(path: Path, record: dict[str, Any] | None) -> None:
    """Write model.head.pt, or remove the one of an earlier run: it belongs to another model.

    Args:
        path: of the file.
        record: of a head; None for none.
    """
    if record is None or record["method"] not in IN_GRAPH:
        path.unlink(missing_ok=True)
    else:
        save(path, record)


def mask_of(checkpoint: Checkpoint) -> Mask | None:
    """The head that the graph gets.

    Args:
        checkpoint: finished.

    Returns:
        The head; None without one.

    Raises:
        UserError: when the checkpoint lacks what its recipe asks for.
    """
    method = checkpoint.recipe.head.method
    if method not in IN_GRAPH:
        return None
    if checkpoint.head is None:
        raise UserError(f"the checkpoint has no head, though its recipe asks for {method!r}: harden the model again")
    return from_record(checkpoint.head, len(checkpoint.class_names), "the checkpoint")


def write_memguard(onnx_path: Path, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Write model.memguard.npz beside the file if its answers are to be guarded.

    Args:
        onnx_path: of the file.
        checkpoint: finished.

    Returns:
        What the manifest says of it; None without a guard.

    Raises:
        UserError: when the checkpoint lacks the guard that its recipe asks for.
    """
    if checkpoint.recipe.head.method != MEMGUARD_METHOD:
        return None
    if checkpoint.head is None:
        raise UserError("the checkpoint has no MemGuard, though its recipe asks for it: harden the model again")
    path, archive = memguard.beside(onnx_path), io.BytesIO()
    np.savez(archive, **{name: value.numpy() for name, value in checkpoint.head["state_dict"].items()})
    write_bytes(path, archive.getvalue())
    return {"method": MEMGUARD_METHOD, "file": path.name, "sha256": sha256_of(path)}

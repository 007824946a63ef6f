"""What a verb works on: a checkpoint with its data and split, and the names of the files that belong to a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgepriv import data, progress
from edgepriv.data import Dataset, Split, Subgroups
from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, checkpoint
from edgepriv.models.reading import load_tensors
from edgepriv.models.stems import compared, read_with_its_stem
from edgepriv.preprocessing import refuse_unlike
from edgepriv.recipe import Data, Model, Recipe, eps_for

_PREPROCESSING = {"mean", "std", "input_range"}


@dataclass(frozen=True)
class Trained:
    """A trained classifier with the examples that it was trained on. ``warnings``: what was accepted about it."""

    checkpoint: Checkpoint
    dataset: Dataset
    split: Split
    warnings: tuple[str, ...] = ()


_printed: ContextVar[set[str] | None] = ContextVar("printed", default=None)


def say(note: str) -> None:
    """Say one line to the user, above the progress bar if one is shown; inside ``each_note_once``, once.

    Args:
        note: the line.
    """
    printed = _printed.get()
    if printed is not None and note in printed:
        return
    if printed is not None:
        printed.add(note)
    progress.note(note)


def warn(sentence: str) -> None:
    """Say what needs a decision, as a warning.

    Args:
        sentence: one line.
    """
    progress.note(sentence, "warning")


@contextmanager
def each_note_once() -> Iterator[None]:
    """For a command that runs several verbs on the same data: no note is said twice inside."""
    token = _printed.set(set())
    try:
        yield
    finally:
        _printed.reset(token)


def beside(model: Path, ending: str) -> Path:
    """The name of a file that belongs to a model: ``out/model.onnx``, ``audit.json`` -> ``out/model.audit.json``.

    Args:
        model: the model's file.
        ending: what replaces its suffix, without the first dot.

    Returns:
        A path in the same folder.
    """
    return model.with_suffix(f".{ending}")


def resolved(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Fill in what a recipe leaves to the data, as it is stored: their name, eps, and the normalisation of an encoded table.

    Args:
        recipe: with ``adversary.eps`` or ``model.mean`` None where they were left open.
        dataset: that it is used with.

    Returns:
        The whole recipe.
    """
    eps = recipe.adversary.eps
    if eps is None:
        eps = eps_for(dataset.input_shape, recipe.adversary.norm)
    model = {} if dataset.encoding is None or recipe.model.mean is not None else dataset.encoding.normalisation
    fixed = () if dataset.encoding is None else dataset.encoding.fixed
    return recipe.with_changes(data={"name": dataset.name}, adversary={"eps": eps, "fixed": fixed}, model=model)


def refuse_bytes(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a file that takes bytes where its inputs are made of the rows of a table.

    Args:
        recipe: of which ``export.input`` counts.
        dataset: that the model is for.

    Raises:
        UserError: for "uint8" with such a table.
    """
    if dataset.encoding is not None and recipe.export.input == "uint8":
        raise UserError(
            "--input uint8 is for pictures: the inputs that are made of a table's rows are finer than bytes"
        )


def data_record(dataset: Dataset, split: Split, asked: Data) -> dict[str, Any]:
    """What checkpoints and manifests keep of the data.

    Args:
        dataset: the data.
        split: who plays which role.
        asked: how the data were read.

    Returns:
        ``name``, ``sha256`` (of the data as they are read, before any canary) and ``split``; ``reading``, ``encoding`` and
        ``canaries`` where there is something to say. JSON-ready.
    """
    reading = {"reading": asked.reading()} if asked.reading() else {}
    encoding = {} if dataset.encoding is None else {"encoding": dataset.encoding.record}
    planted = dataset.canaries
    digest = dataset.sha256 if planted is None else planted.before
    canaries = {} if planted is None else {"canaries": planted.record}
    return {"name": dataset.name, **reading, **encoding, "sha256": digest, "split": split.record(), **canaries}


def split_of(
    recipe: Recipe, data_dir: Path | None, download: bool = False, *, trained_elsewhere: bool = False
) -> tuple[Dataset, Split]:
    """The recipe's data and who plays which role in them; both are said in notes.

    Args:
        recipe: of which ``data`` and ``seed`` count.
        data_dir: folder with data sets; None for the user's cache folder.
        download: whether data that are missing may be downloaded.
        trained_elsewhere: whether the model was trained outside edgepriv: then the whole training part of a file with parts is
            its members, unless their number is given.

    Returns:
        The data, with the rows of a table encoded by what is learnt from the members and with the canaries that are asked for,
        and the split.
    """
    dataset = data.load(recipe.data.name, data_dir, download, asked=recipe.data)
    sizes = data.trained_elsewhere(dataset, recipe.data) if trained_elsewhere else recipe.data
    split = data.make_split(dataset, sizes, recipe.seed)
    dataset = data.with_canaries(data.fitted(dataset, split.members), split, recipe.data)
    for line in data_notes(dataset, split):
        say(line)
    return dataset, split


def data_notes(dataset: Dataset, split: Split) -> list[str]:
    """What was understood of the data, and how many examples play which role.

    Args:
        dataset: the data.
        split: who plays which role.

    Returns:
        Lines to be said.
    """
    return [
        f"{dataset.name}: {data.described(dataset)}",
        *dataset.notes,
        *data.notes_on_split(dataset, split),
        *data.canary_notes(dataset),
    ]


def files_notes(examples: Dataset) -> list[str]:
    """What was understood of members and non-members in two files, of which all are asked.

    Args:
        examples: of both files, members first.

    Returns:
        Lines to be said.
    """
    known = examples.known_members or 0
    return [
        f"{known:,} members and {len(examples) - known:,} non-members: {data.described(examples)}",
        *examples.notes,
        *data.notes_on_resolution(len(examples) - known),
    ]


def recorded_data(
    record: dict[str, Any] | None, data_dir: Path | None, what: str, *, quiet: bool = False
) -> tuple[Dataset, Split]:
    """The data and the split that a model was trained on, read again and proved to be the same; both are said in notes.

    Args:
        record: of ``data_record``; None where nothing is known.
        data_dir: folder with data sets; None for the user's cache folder.
        what: name of the model, for messages.
        quiet: say nothing of them.

    Returns:
        The data and the split.

    Raises:
        UserError: without a record, or where the data are gone or have changed.
    """
    if record is None:
        raise UserError(f"{what} does not say what data it was trained on: pass --members A.npz --non-members B.npz")
    asked = Data(**record.get("reading", {}))
    refused: list[UserError] = []
    for reading in (asked, *data.earlier_readings(asked, record["split"].get("version", 1))):
        try:
            dataset, split = _as_recorded(record, reading, data_dir, what)
            break
        except UserError as error:
            refused.append(error)
    else:
        raise refused[0]
    for line in [] if quiet else data_notes(dataset, split):
        say(line)
    return dataset, split


def _as_recorded(record: dict[str, Any], asked: Data, data_dir: Path | None, what: str) -> tuple[Dataset, Split]:
    """The same, where the file is read as ``asked``."""
    encoding = data.TableEncoding(record["encoding"]) if "encoding" in record else None
    dataset = data.load(record["name"], data_dir, asked=asked, encoding=encoding)
    if dataset.sha256 != record["sha256"]:
        other = data.counted_from_zero(dataset)
        if other is None or other.sha256 != record["sha256"]:
            raise UserError(
                f"{what} was trained on another version of {dataset.name}: its content has changed since, or an earlier "
                "edgepriv read it in another way"
            )
        dataset = other
    split = data.remake_split(dataset, record["split"])
    if "canaries" in record:
        planting = asked.model_copy(update={"canaries": record["canaries"]["asked"]})
        dataset = data.with_canaries(dataset, split, planting)
        data.refuse_other_canaries(dataset, record["canaries"])
    return dataset, split


def recorded_subgroups(record: dict[str, Any], data_dir: Path | None, column: str) -> Subgroups | None:
    """The subgroups of recorded data by a column, which does not change the inputs.

    Args:
        record: of ``data_record``.
        data_dir: folder with data sets; None for the user's cache folder.
        column: that holds the subgroup of each record.

    Returns:
        Subgroups [N] of all records; None where not every file of the data names them.
    """
    reading = Data(**record.get("reading", {}))
    if "encoding" in record:
        reading = data.TableEncoding(record["encoding"]).reading(reading)
    return data.load(record["name"], data_dir, asked=reading.model_copy(update={"subgroups": column})).subgroups


def open_checkpoint(
    path: Path,
    recipe: Recipe | None,
    data_dir: Path | None,
    download: bool = False,
    *,
    accept: bool = False,
    batch_dependent: bool = False,
) -> Trained:
    """Read a checkpoint or a bare state_dict, with the data that it was trained on.

    Args:
        path: of the file.
        recipe: of a bare state_dict, its architecture, preprocessing, data and seed; of a checkpoint, None or what confirms it.
        data_dir: folder with data sets; None for the user's cache folder.
        download: whether data of a bare state_dict that are missing may be downloaded.
        accept: whether a bare state_dict that does not know its members is used all the same (``preprocessing.refuse_unlike``).
        batch_dependent: whether its answers depend on the batch, whatever it says itself: then it is asked for one input at
            a time.

    Returns:
        The classifier with its data, split and warnings.

    Raises:
        UserError: where ``recipe`` contradicts a checkpoint, or a bare state_dict comes without a recipe or with a table
            that is not encoded yet; and for whatever cannot be read.
    """
    alone = batch_dependent or (recipe is not None and recipe.model.batch_dependent)
    content = load_tensors(path)
    if checkpoint.is_checkpoint(content):
        opened = checkpoint.load(path, recipe.model if recipe else None)
        # Without data, --model confirms the user's own module and says no more.
        named = recipe.data.name if recipe else None
        if named and opened.data and data.canonical_name(named) != opened.data["name"]:
            raise UserError(
                f"{path} was trained on {opened.data['name']}, not {named}: --data, --members and --non-members "
                "describe a bare state_dict"
            )
        _refuse_other_canaries(path, opened, recipe)
        _refuse_other_normalisation(path, opened.recipe.model, recipe.model if recipe else Model())
        reading = recipe.data.reading() if recipe else {}
        if reading and opened.data and reading != opened.data.get("reading", {}):
            raise UserError(
                f"{path} keeps how its data are read: --label, --groups, --split-column, --subgroups, --image-size, "
                "--channels and --input-range are for a bare state_dict"
            )
        if alone:
            opened = opened.with_recipe(opened.recipe.with_changes(model={"batch_dependent": True}))
        return Trained(opened, *recorded_data(opened.data, data_dir, str(path)))
    if recipe is None:
        raise UserError(f"{path} is a bare state_dict: say what it is with --model and --data, or in a --recipe")
    if recipe.data.canaries is not None:
        raise UserError(
            f"{path} is a bare state_dict, which was trained without canaries ({recipe.data.canaries}): what it knows of these "
            "records is their true form; train with edgepriv train --canaries"
        )
    recipe = recipe.with_changes(model={"batch_dependent": alone})
    dataset, split = split_of(recipe, data_dir, download, trained_elsewhere=True)
    if dataset.encoding is not None:
        raise UserError(
            f"{path} is a bare state_dict, and {dataset.name} holds rows as they are: only your own preprocessing makes of "
            "them the numbers that it was trained on; save these, such as in an .npz of x and y, and pass them with --data"
        )
    try:
        opened = _from_elsewhere(path, recipe, dataset, split)
    except UserError:
        with_gaps = data.counted_from_zero(dataset)
        if with_gaps is None:
            raise
        opened, dataset = _from_elsewhere(path, recipe, with_gaps, split), with_gaps
        say(
            f"the network has an output for every label from 0 to {dataset.num_classes - 1}, those without examples too"
        )
    for note in opened.notes:
        say(f"{path.name}: {note}")
    return Trained(opened, dataset, split, tuple(refuse_unlike(path, opened, dataset, split, accept=accept)))


def _from_elsewhere(path: Path, recipe: Recipe, dataset: Dataset, split: Split) -> Checkpoint:
    record, described = data_record(dataset, split, recipe.data), resolved(recipe, dataset)

    def read(model: Model) -> Checkpoint:
        own = described.model_copy(update={"model": model})
        return checkpoint.from_state_dict(path, own, dataset.class_names, dataset.input_shape, record)

    some = np.sort(np.random.default_rng([split.seed, 8]).permutation(split.members)[: compared(dataset.input_shape)])
    x, y = torch.from_numpy(dataset.inputs(some)), torch.from_numpy(dataset.y[some])
    return read_with_its_stem(read, described.model, x, y)


def _refuse_other_canaries(path: Path, opened: Checkpoint, recipe: Recipe | None) -> None:
    """Canaries are trained on from the first stage on: a recipe may only repeat those of the checkpoint."""
    asked, own = recipe.data.canaries if recipe else None, opened.recipe.data.canaries
    if asked is not None and asked != own:
        raise UserError(
            f"{path} was trained {'without canaries' if own is None else f'with the canaries {own}'}, and canaries are learnt "
            f"from the first stage on: train with edgepriv train --canaries {asked}"
        )


def _refuse_other_normalisation(path: Path, own: Model, asked: Model) -> None:
    """A checkpoint of ours carries its normalisation; what is asked beside it may only repeat it."""
    known, stated = own.model_dump(include=_PREPROCESSING), asked.model_dump(include=_PREPROCESSING)
    if stated not in (known, Model().model_dump(include=_PREPROCESSING)):
        raise UserError(
            f"{path} carries its own normalisation: --mean, --std and --input-range say how a bare state_dict is fed"
        )

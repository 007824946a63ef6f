"""Reference models of a file that edgepriv did not make, by the user's own training function.

The recipe of such a target is that function. What it makes is asked in torch (or, of an .onnx, in onnxruntime), fed as the
target is or with the inputs as the user's files have them: whichever it knows its own records by.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgepriv import progress
from edgepriv.audit.existing import Existing, of_models
from edgepriv.audit.feeding import Fed, Feeding
from edgepriv.audit.memberships import plan
from edgepriv.audit.processes import done_by_processes
from edgepriv.audit.trainer import Trainer, key_of, made
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.files import read_bytes, write_bytes
from edgepriv.models import Classifier
from edgepriv.training.answers import softmax_of
from edgepriv.training.device import PROCESSOR
from edgepriv.training.resume import code_version

_BATCH = 256


@dataclass(frozen=True, eq=False)
class OwnJob:
    """One model: the ``name`` of its file without an ending, the places of its records, its seed. ``feeding``: makes
    what the target is fed of the user's inputs. ``alone``: one input is asked at a time, as the target is."""

    name: str
    trainer: Trainer
    members: np.ndarray
    seed: int
    feeding: Feeding
    device: str
    alone: bool = False


# By whom, on what, how many, where they are kept and how they are asked: one argument each.
def trained_by(
    trainer: Trainer,
    dataset: Dataset,
    split: Split,
    *,
    count: int,
    cache_dir: Path,
    feeding: Feeding,
    device: torch.device,
    jobs: int,
    alone: bool = False,
) -> tuple[Existing, Path]:
    """Reference models by the user's function, trained or read from ``cache_dir``.

    Answers of an .onnx that the trainer returned are not known here: it stands in the folder, ``NAME.onnx``. Each file is
    written as it is finished, under a hash of the script, the data, who is trained on what, and the code of training.

    The first model is made by itself. If it is a file, whose path may be the same each time, so are the others; networks are
    made by ``jobs`` processes.

    Args:
        trainer: the user's function.
        dataset: the user's own numbers, the target's members first.
        split: of it.
        count: how many models.
        cache_dir: for models of all audits.
        feeding: makes what the target is fed of the user's inputs.
        device: that models are trained on.
        jobs: processes at a time, on the processor alone.
        alone: ask the models one input at a time.

    Returns:
        The models with their members, and the folder that they are in.

    Raises:
        UserError: for persons with more records than a model takes, a folder that cannot be written, and whatever ``made``
            raises it for.
    """
    planned = plan(split, split.seed, dataset.groups)
    planned.refuse_too_large()
    memberships = np.stack(planned.memberships(count))
    made_of = [*key_of(trainer, dataset), dataset.sha256, split.record(), planned.digest(), code_version()]
    made_of += [str(device.type), "alone" if alone else "in batches"]
    made_of += [hashlib.sha256(part.tobytes()).hexdigest() for part in (feeding.scale, feeding.shift)]
    folder = cache_dir / hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]
    names = [f"own-{r:04d}" for r in range(count)]
    work = [
        OwnJob(
            name,
            trainer,
            np.sort(planned.candidates[member]),
            int(np.random.SeedSequence([split.seed, 7, r + 1]).generate_state(1)[0]),
            feeding,
            str(device),
            alone,
        )
        for r, (name, member) in enumerate(zip(names, memberships, strict=True))
    ]
    missing = [
        job for job in work if not (zipfile.is_zipfile(folder / f"{job.name}.npz") or _file(folder, job).is_file())
    ]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write reference models to {folder}: {error.strerror}") from error
        threads = torch.get_num_threads()
        with progress.shown(f"reference models ({trainer.title})", unit="model", total=len(missing)) as bar:
            try:
                bar.update(make(missing[:1], dataset, folder))
                rest = [[job] for job in missing[1:]]
                several = device == PROCESSOR and not _file(folder, missing[0]).is_file()
                processes = min(jobs, len(rest)) if several else 1
                for done in done_by_processes(rest, dataset, folder, processes, make) if rest else ():
                    bar.update(done)
            finally:
                torch.set_num_threads(threads)
    answers = partial(_answers, folder, names)
    member = np.zeros((count, len(dataset)), dtype=bool)
    member[:, planned.candidates] = memberships
    return replace(of_models(Path(trainer.title), names, answers, member), trained=True), folder


def _file(folder: Path, job: OwnJob) -> Path:
    return folder / f"{job.name}.onnx"


def _answers(folder: Path, names: Sequence[str], r: int) -> np.ndarray:
    with np.load(folder / f"{names[r]}.npz", allow_pickle=False) as archive:
        answers: np.ndarray = archive["probabilities"]
        return answers


def make(group: Sequence[OwnJob], dataset: Dataset, folder: Path) -> int:
    """Train each model of a group, and write its answers or its file.

    Args:
        group: of models.
        dataset: the user's own numbers.
        folder: in which to write.

    Returns:
        How many were made.
    """
    torch.set_num_threads(1)
    for job in group:
        model = made(job.trainer, dataset, job.members, seed=job.seed, device=torch.device(job.device))
        if isinstance(model, Path):
            write_bytes(_file(folder, job), read_bytes(model, "model"))
            continue
        classifier = _fed_rightly(job, model, dataset)
        inputs = (
            torch.from_numpy(dataset.inputs(part).copy()) for part in _parts(job, len(dataset))
        )  # they are mapped
        file = io.BytesIO()
        np.savez(file, probabilities=softmax_of(classifier, inputs))
        write_bytes(folder / f"{job.name}.npz", file.getvalue())
    return len(group)


def _parts(job: OwnJob, count: int) -> list[slice]:
    size = 1 if job.alone else _BATCH
    return [slice(start, start + size) for start in range(0, count, size)]


def _fed_rightly(job: OwnJob, network: nn.Module, dataset: Dataset) -> nn.Module:
    """The network behind what it takes: the inputs as they are, or as the target is fed, by its loss on its own records."""
    plain = Classifier(network, [0.0], [1.0])
    if job.feeding.idle:
        return plain
    fed = nn.Sequential(Fed(job.feeding), network)
    return min((plain, fed), key=lambda classifier: _loss(job, classifier, dataset))


def _loss(job: OwnJob, classifier: nn.Module, dataset: Dataset) -> float:
    some = job.members[:: max(1, len(job.members) // 2_000)]
    parts = [some[part] for part in _parts(job, len(some))]
    probabilities = softmax_of(classifier, (torch.from_numpy(dataset.inputs(part)) for part in parts))
    own = probabilities[np.arange(len(some)), dataset.y[some]].astype(np.float64)
    return float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())

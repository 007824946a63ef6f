"""Where reference models are trained: by processes on this machine, or on a Dask cluster.

Perceptrons are trained several at a time (``training.stacked``), other networks one by one, each on one thread; on a GPU,
where there is one, all of our own networks several at a time (written without a GPU, and never run on one). Where the
recipe's precision is ``auto`` and the processor multiplies bfloat16, wide perceptrons are trained in it, the target is not:
on Location-30 the references' accuracy and LiRA's AUC stayed the same, in two thirds of the time.
"""

import hashlib
import io
import itertools
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from edgepriv import progress
from edgepriv.artifact.activation_places import activation_places
from edgepriv.audit.processes import done_by_processes
from edgepriv.audit.trainer import Trainer, load_trained, made
from edgepriv.data import Dataset, Split, ordinary
from edgepriv.errors import UserError
from edgepriv.files import write_bytes
from edgepriv.heads import answering, trained_head
from edgepriv.models import Classifier, build_classifier
from edgepriv.models.bake import bake
from edgepriv.models.lsq_steps import load_state
from edgepriv.recipe import Recipe
from edgepriv.recipe.training_hash import first_training_hash
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
from edgepriv.training.answers import probabilities_of
from edgepriv.training.device import PROCESSOR, device_of
from edgepriv.training.quantization import load_quantized, quantize_weights
from edgepriv.training.resume import code_version
from edgepriv.training.stacked import stackable, worth_stacking

LOCAL, DASK = "local", "dask"
_MOST_STACKED = 10  # beyond, nothing is gained, and a killed audit loses more
_MOST_PARAMETERS = 4_000_000  # of a whole stack; larger networks keep a processor busy by themselves
_MOST_ON_GPU = 64
_CONNECT_SECONDS = 10


@dataclass(frozen=True, eq=False)
class Job:
    """One model to train: ``name`` of its file, the split to train on, the examples to answer for.

    ``start``: the file (or its bytes) of a model by the same recipe cut after its first stage, to go on from, or after all
    stages where ``bare``, when the head alone is missing; None trains all stages. ``trainer``: makes the weights of the stage
    ``train`` in place of the recipe.
    """

    name: str
    recipe: Recipe
    split: Split
    answers_for: np.ndarray
    start: Path | bytes | None = None
    trainer: Trainer | None = None
    bare: bool = False


def check_engine(engine: str) -> None:
    """Refuse an unknown engine.

    Args:
        engine: ``local`` or ``dask:ADDRESS``.

    Raises:
        UserError: for anything else.
    """
    kind, _, address = engine.partition(":")
    if engine != LOCAL and not (kind == DASK and address):
        raise UserError(f"unknown engine {engine!r}: known are 'local' and 'dask:tcp://HOST:PORT'")


def processors() -> int:
    """How many of this machine's this process may use."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else sys.maxsize  # not on macOS or Windows
    return min(own, os.cpu_count() or 1)


def train_jobs(
    jobs: Sequence[Job], dataset: Dataset, folder: Path, *, label: str, engine: str, processes: int | None
) -> None:
    """Train models whose recipes are equal but for the seed.

    A file is written here as soon as its model, or its stack of models, is trained.

    Args:
        jobs: the models.
        dataset: the examples.
        folder: in which they are written.
        label: of the bar.
        engine: ``local`` or ``dask:ADDRESS``.
        processes: of engine ``local``; None for one for each processor.

    Raises:
        UserError: for a cluster that cannot be reached, and a training that diverges.
    """
    title = f"reference models ({label})"
    with progress.shown(title, unit="model", total=len(jobs)) as bar:
        processes = min(processes or processors(), len(jobs))
        device = computed_on(jobs[0].recipe, engine)
        if device != PROCESSOR:
            trained = _trained_on(device, jobs, dataset, folder, processes)
        elif engine == LOCAL:
            trained = _trained_here(jobs, dataset, folder, processes)
        else:
            trained = _trained_there(jobs, dataset, folder, engine.partition(":")[2])
        threads = torch.get_num_threads()
        try:
            for count in trained:
                bar.update(count)
        finally:
            torch.set_num_threads(threads)


def _trained_here(jobs: Sequence[Job], dataset: Dataset, folder: Path, processes: int) -> Iterator[int]:
    """The number of models just written, again and again."""
    yield from done_by_processes(groups_of(jobs, dataset, processes), dataset, folder, processes, _train_here)


def computed_on(recipe: Recipe, engine: str) -> torch.device:
    """Where models are trained: a cluster's workers use their processors.

    Args:
        recipe: of the models.
        engine: ``local`` or ``dask:ADDRESS``.

    Returns:
        The device.
    """
    return device_of(recipe.device) if engine == LOCAL else PROCESSOR


def _trained_on(
    device: torch.device, jobs: Sequence[Job], dataset: Dataset, folder: Path, processes: int
) -> Iterator[int]:
    """As ``_trained_here``, in this process and on a GPU; in smaller stacks when its memory is too small, and with the
    processors after all when it fails otherwise."""
    waiting = deque(groups_of(jobs, dataset, 1, device))
    while waiting:
        group = waiting.popleft()
        try:
            count = _train_here(group, dataset, folder, device)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) and len(group) > 1:
                waiting.extendleft([group[len(group) // 2 :], group[: len(group) // 2]])
                continue
            progress.note(f"the GPU failed ({str(error).splitlines()[0]}): going on without it")
            yield from _trained_here([*group, *itertools.chain(*waiting)], dataset, folder, processes)
            return
        yield count


def _train_here(group: Sequence[Job], dataset: Dataset, folder: Path, device: torch.device = PROCESSOR) -> int:
    for job, content in zip(group, train_group(group, dataset, device), strict=True):
        write_bytes(folder / job.name, content)
    return len(group)


def _trained_there(jobs: Sequence[Job], dataset: Dataset, folder: Path, address: str) -> Iterator[int]:
    """As ``_trained_here``; the workers send the files' bytes, since they may not share this machine's disk."""
    with _cluster(address) as client:
        groups = groups_of(jobs, dataset, len(client.ncores()))
        with joblib.parallel_config(backend=DASK, client=client, scatter=[dataset]):
            finished: Iterable[list[tuple[str, bytes]]] = joblib.Parallel(
                n_jobs=-1, return_as="generator_unordered", batch_size=1
            )(joblib.delayed(_train_there)(_sent(group), dataset, code_version()) for group in groups)
            for models in finished:
                for name, content in models:
                    write_bytes(folder / name, content)
                yield len(models)


def _sent(group: Sequence[Job]) -> list[Job]:
    return [replace(job, start=job.start.read_bytes()) if isinstance(job.start, Path) else job for job in group]


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
        from distributed.comm.addressing import get_address_host_port
    except ImportError:
        raise UserError(f"engine 'dask:{address}' needs Dask: pip install 'edgepriv[dask]'") from None
    try:
        get_address_host_port(address)  # a client of an address that cannot be read hangs as it is thrown away
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address!r}: check the address, or use engine 'local'"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        except TimeoutError as error:
            raise UserError(
                f"the Dask scheduler at {address!r} has no workers: start some, then run this again"
            ) from error
        yield client


# Seeds are drawn from torch's global generator, which the threads of a worker share; nor may two threads parse code at once.
_one_at_a_time = threading.Lock()


def _train_there(group: Sequence[Job], dataset: Dataset, code: str) -> list[tuple[str, bytes]]:
    with _one_at_a_time:
        if code_version() != code:
            raise UserError(
                "a Dask worker would train other models than this machine (another edgepriv, another torch, or a processor "
                "with other bfloat16 instructions): install the same versions, or set precision = 'float32'"
            )
        return [(job.name, content) for job, content in zip(group, train_group(group, dataset), strict=True)]


def groups_of(jobs: Sequence[Job], dataset: Dataset, workers: int, device: torch.device = PROCESSOR) -> list[list[Job]]:
    """What is trained together: models that gain from it, with equally many members and stages to go.

    Args:
        jobs: the models.
        dataset: the examples.
        workers: that are to be kept busy.
        device: of the training.

    Returns:
        As many equal groups as keep the workers busy.
    """
    recipe = jobs[0].recipe
    if not _stacked(recipe, device) or any(job.trainer is not None for job in jobs):
        return [[job] for job in jobs]
    most = _MOST_ON_GPU
    if device == PROCESSOR:
        probe = build_classifier(recipe.model, dataset.num_classes, dataset.input_shape)
        parameters = sum(parameter.numel() for parameter in probe.parameters())
        most = max(1, min(_MOST_STACKED, _MOST_PARAMETERS // parameters))
    groups: list[list[Job]] = []
    for alike in dict.fromkeys(_alike(job) for job in jobs):
        equal = [job for job in jobs if _alike(job) == alike]
        count = min(len(equal), workers * -(-len(equal) // (workers * most)))
        bounds = [-(-part * len(equal) // count) for part in range(count + 1)]
        groups += [equal[start:stop] for start, stop in itertools.pairwise(bounds)]
    return groups


def _alike(job: Job) -> tuple[int, bool, bool]:
    return len(job.split.members), job.start is None, job.bare


def _stacked(recipe: Recipe, device: torch.device) -> bool:
    return stackable(recipe) and worth_stacking(recipe, device)


def train_group(group: Sequence[Job], dataset: Dataset, device: torch.device = PROCESSOR) -> Iterator[bytes]:
    """Train the models of a group together.

    Args:
        group: of models.
        dataset: the examples.
        device: where to.

    Returns:
        The file of each as .npz: its answers, its weights, and those of the head that the recipe asks for, trained on the
        model's own answers.
    """
    torch.set_num_threads(1)
    classifiers = [_untrained(job, dataset) for job in group]
    for job, classifier in zip(group, classifiers, strict=True):
        if job.start is not None:
            load_state(classifier.network, stored_weights(job.start))
        elif job.trainer is not None:
            _train_by(job.trainer, job, classifier, dataset, device)
    done = 0 if group[0].start is None else 1
    if group[0].trainer is not None:  # which stands for the stage ``train``, where there is one
        done = int("train" in group[0].recipe.stages())
    whole = group[0].bare
    stacked = _stacked(group[0].recipe, device) and group[0].trainer is None
    if stacked and not whole:
        with warnings.catch_warnings():
            # The processes share one copy of the data, which training only reads.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            recipes, splits = [job.recipe for job in group], [job.split for job in group]
            run_stages_stacked(classifiers, recipes, dataset, splits, done_before=done, device=device)
    for job, classifier in zip(group, classifiers, strict=True):
        if not stacked and not whole:
            stages = tuple(job.recipe.stages())
            placed = job.recipe.with_changes(device=str(device), dp={"seed": _noise_seed(job.recipe)})
            script = None if job.trainer is None else job.trainer.script
            run_stages(
                classifier,
                placed,
                stages,
                dataset,
                job.split,
                quiet=True,
                done_before=done,
                script=script,
                places=activation_places,
            )
        if not whole:
            bake(classifier.network)
            load_quantized(classifier.network, quantize_weights(classifier.network, job.recipe.quantize))
        weights = {f"weights/{name}": _array(value) for name, value in classifier.network.state_dict().items()}
        probabilities = probabilities_of(classifier, dataset, job.answers_for)
        head = trained_head(job.recipe.with_changes(device=str(device)), classifier, dataset, job.split)
        show = answering(head, job.name)
        if head is not None and show is not None:
            weights |= {f"head/{name}": value.numpy() for name, value in head["state_dict"].items()}
            probabilities = show(probabilities, dataset.inputs(job.answers_for))
        file = io.BytesIO()
        np.savez(file, probabilities=probabilities, **weights)  # type: ignore[arg-type]
        yield file.getvalue()


def _noise_seed(recipe: Recipe) -> int | None:
    """The attacker's own noise is no secret, and an audit is to be repeatable. All that is made of one training shares its
    noise, and separate trainings do not: so do the models that stand for them. None without differential privacy."""
    if not recipe.dp.active:
        return None
    own = hashlib.sha256(f"{recipe.seed} {recipe.dp.seed} {first_training_hash(recipe)}".encode()).digest()
    return int.from_bytes(own[:4], "big")


def _untrained(job: Job, dataset: Dataset) -> Classifier:
    """With the weights that training starts from; with any where others take their place."""
    if job.start is None and job.trainer is None:
        return new_classifier(job.recipe, dataset.num_classes, dataset.input_shape)
    return build_classifier(job.recipe.model, dataset.num_classes, dataset.input_shape)


def _train_by(trainer: Trainer, job: Job, classifier: Classifier, dataset: Dataset, device: torch.device) -> None:
    """Load what the user's trainer makes of the job's records; they must know these as the target is fed."""
    network = made(trainer, dataset, job.split.members, seed=job.recipe.seed, device=device)
    if isinstance(network, Path):
        raise UserError(
            f"{trainer.title} returned an .onnx, and the audited model was made from weights: return the torch network"
        )
    load_trained(trainer, network, classifier.network, job.recipe.model.name)
    members = ordinary(job.split, dataset).members
    labels = dataset.y[members]
    right = probabilities_of(classifier, dataset, members).argmax(axis=1) == labels
    # Of each class alike: a loss with weights of classes gives up accuracy on the large ones.
    of_each = [float(right[labels == label].mean()) for label in np.unique(labels)]
    balanced = float(np.mean(of_each))
    if len(of_each) > 1 and balanced <= 1 / len(of_each):
        raise UserError(
            f"{trainer.title} returned a network that is right for {balanced:.1%} of the records of each class that it was "
            "trained on (the mean over classes), when it is fed as the audited model feeds it (its mean, std and input range): "
            "train on data.x normalised in that way"
        )


def _array(value: torch.Tensor) -> np.ndarray:
    """NumPy has no bfloat16 or narrower floats; every one of them is a float32, and is read back as what it was."""
    return value.float().numpy() if value.dtype.is_floating_point and value.dtype.itemsize < 4 else value.numpy()


def stored_weights(file: Path | bytes, prefix: str = "weights/") -> dict[str, torch.Tensor]:
    """Weights in the file of a model.

    Args:
        file: of ``train_group``, or its bytes.
        prefix: "weights/" for the network's weights and buffers, "head/" for those of its head.

    Returns:
        Name -> tensor.
    """
    with np.load(io.BytesIO(file) if isinstance(file, bytes) else file, allow_pickle=False) as archive:
        return {
            name.removeprefix(prefix): torch.from_numpy(archive[name])
            for name in archive.files
            if name.startswith(prefix)
        }

"""Where reference models are trained: by processes on this machine, or on a Dask cluster.

Perceptrons are trained several at a time (``training.stacked``), other networks one by one, each on one thread. Where the
recipe's precision is ``auto`` and the processor multiplies bfloat16, wide perceptrons are trained in it, the target is not:
on Location-30 the references' accuracy and LiRA's AUC stayed the same, in two thirds of the time.
"""

import io
import itertools
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.files import write_bytes
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages, run_stages_stacked
from edgepriv.training.course import code_version
from edgepriv.training.examples import Examples
from edgepriv.training.quantizer import load_quantized, quantize_weights
from edgepriv.training.stacked import stackable

LOCAL, DASK = "local", "dask"
_MOST_STACKED = 10  # beyond, nothing is gained, and a killed audit loses more
_MOST_PARAMETERS = 4_000_000  # of a whole stack; larger networks keep a processor busy by themselves
_CONNECT_SECONDS = 10


@dataclass(frozen=True, eq=False)
class Job:
    """One model to train: ``name`` of its file, the split to train on, the examples to answer for.

    ``start``: the file (or its bytes) of a model by the same recipe cut after its first stage, to go on from; None trains
    all stages.
    """

    name: str
    recipe: Recipe
    split: Split
    answers_for: np.ndarray
    start: Path | bytes | None = None


def check_engine(engine: str) -> None:
    """Raise UserError unless ``engine`` is ``local`` or ``dask:ADDRESS``."""
    kind, _, address = engine.partition(":")
    if engine != LOCAL and not (kind == DASK and address):
        raise UserError(f"unknown engine {engine!r}: known are 'local' and 'dask:tcp://HOST:PORT'")


def train_jobs(
    jobs: Sequence[Job], dataset: Dataset, folder: Path, *, label: str, engine: str, processes: int | None
) -> None:
    """Train ``jobs``, whose recipes are equal but for the seed, and write each model to ``folder``.

    A file is written here as soon as its model, or its stack of models, is trained. ``processes``: of engine ``local``,
    by default one for each processor.
    """
    title = f"reference models ({label})"
    with tqdm(desc=title, total=len(jobs), unit="model", disable=None, dynamic_ncols=True) as bar:
        bar.refresh()
        trained = (
            _trained_here(jobs, dataset, folder, min(processes or os.cpu_count() or 1, len(jobs)))
            if engine == LOCAL
            else _trained_there(jobs, dataset, folder, engine.partition(":")[2])
        )
        for count in trained:
            bar.update(count)


def _trained_here(jobs: Sequence[Job], dataset: Dataset, folder: Path, processes: int) -> Iterator[int]:
    """The number of models just written, again and again.

    This process trains as well, from the first moment: another needs seconds until it has imported torch.
    """
    threads = torch.get_num_threads()
    waiting = deque(groups_of(jobs, dataset, processes))
    first = waiting.popleft()
    try:
        with _helpers(waiting, dataset, folder, min(processes - 1, len(waiting))) as helpers:
            group: Sequence[Job] | None = first
            while group is not None:
                yield _train_here(group, dataset, folder)
                yield from helpers.finished(wait=False)
                group = _next_of(waiting)
            yield from helpers.finished(wait=True)
    finally:
        torch.set_num_threads(threads)


def _next_of(waiting: deque[list[Job]]) -> list[Job] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


class _Helpers:
    """Other processes that train ``waiting`` groups, each the next one as it has finished one."""

    def __init__(self, waiting: deque[list[Job]], train: Callable[[list[Job]], Future]) -> None:
        self._waiting, self._train = waiting, train
        self._sent = self._taken = 0
        self._done: SimpleQueue[Future] = SimpleQueue()

    def send(self) -> None:
        group = _next_of(self._waiting)
        if group is not None:
            self._sent += 1
            self._train(group).add_done_callback(self._finish)

    def _finish(self, future: Future) -> None:
        if not future.cancelled() and future.exception() is None:
            self.send()
        self._done.put(future)  # after the next is sent: as long as one is under way, fewer are taken than sent

    def finished(self, wait: bool) -> Iterator[int]:
        """The numbers of models that they have written since the last call; ``wait`` for all."""
        while self._taken < self._sent and (wait or not self._done.empty()):
            future = self._done.get()
            self._taken += 1
            yield future.result()


@contextmanager
def _helpers(waiting: deque[list[Job]], dataset: Dataset, folder: Path, count: int) -> Iterator[_Helpers]:
    if count == 0:
        yield _Helpers(waiting, lambda group: Future())
        return
    with TemporaryDirectory(prefix="edgepriv-", ignore_cleanup_errors=True) as shared:
        examples = Path(shared) / "x.npy"  # which the processes map: one copy in memory for all
        np.save(examples, dataset.x)
        rest = replace(dataset, x=dataset.x[:0])
        executor = get_reusable_executor(max_workers=count)
        helpers = _Helpers(
            waiting, lambda group: executor.submit(_train_beside, group, rest, examples, folder, os.getpid())
        )
        try:
            for _ in range(count):
                helpers.send()
            yield helpers
        except BaseException:
            waiting.clear()
            executor.shutdown(wait=True, kill_workers=True)  # else they would go on training, unseen
            raise


def _train_beside(group: Sequence[Job], rest: Dataset, examples: Path, folder: Path, parent: int) -> int:
    _end_with_parent(parent)
    return _train_here(group, replace(rest, x=np.load(examples, mmap_mode="r")), folder)


def _train_here(group: Sequence[Job], dataset: Dataset, folder: Path) -> int:
    for job, content in zip(group, train_group(group, dataset), strict=True):
        write_bytes(folder / job.name, content)
    return len(group)


@cache
def _end_with_parent(parent: int) -> None:
    """End this worker when the audit that started it is killed: nobody would be left to stop it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
        from distributed.comm import get_address_host_port
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


# Seeds are drawn from torch's global generator, which the threads of a worker share.
_one_at_a_time = threading.Lock()


def _train_there(group: Sequence[Job], dataset: Dataset, code: str) -> list[tuple[str, bytes]]:
    if code_version() != code:
        raise UserError(
            "a Dask worker would train other models than this machine (another edgepriv, another torch, or a processor with "
            "other bfloat16 instructions): install the same versions, or set precision = 'float32'"
        )
    with _one_at_a_time:
        return [(job.name, content) for job, content in zip(group, train_group(group, dataset), strict=True)]


def groups_of(jobs: Sequence[Job], dataset: Dataset, workers: int) -> list[list[Job]]:
    """What is trained together: perceptrons with equally many members and stages to go, in as many equal groups as keep
    ``workers`` busy."""
    recipe = jobs[0].recipe
    if not stackable(recipe, dataset.input_shape):
        return [[job] for job in jobs]
    probe = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    parameters = sum(parameter.numel() for parameter in probe.parameters())
    most = max(1, min(_MOST_STACKED, _MOST_PARAMETERS // parameters))
    groups: list[list[Job]] = []
    for alike in dict.fromkeys(_alike(job) for job in jobs):
        equal = [job for job in jobs if _alike(job) == alike]
        count = min(len(equal), workers * -(-len(equal) // (workers * most)))
        bounds = [-(-part * len(equal) // count) for part in range(count + 1)]
        groups += [equal[start:stop] for start, stop in itertools.pairwise(bounds)]
    return groups


def _alike(job: Job) -> tuple[int, bool]:
    return len(job.split.members), job.start is None


def train_group(group: Sequence[Job], dataset: Dataset) -> Iterator[bytes]:
    """Train the models of ``group`` together, then yield the file of each: its answers and its weights as .npz."""
    torch.set_num_threads(1)
    classifiers = [new_classifier(job.recipe, dataset.num_classes, dataset.input_shape) for job in group]
    for job, classifier in zip(group, classifiers, strict=True):
        if job.start is not None:
            classifier.network.load_state_dict(stored_weights(job.start))
    done = 0 if group[0].start is None else 1
    stacked = stackable(group[0].recipe, dataset.input_shape)
    if stacked:
        with warnings.catch_warnings():
            # The processes share one copy of the data, which training only reads.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            recipes, splits = [job.recipe for job in group], [job.split for job in group]
            run_stages_stacked(classifiers, recipes, dataset, splits, done_before=done)
    for job, classifier in zip(group, classifiers, strict=True):
        if not stacked:
            stages = tuple(job.recipe.stages())
            run_stages(classifier, job.recipe, stages, dataset, job.split, quiet=True, done_before=done)
        load_quantized(classifier.network, quantize_weights(classifier.network, job.recipe.quantize))
        weights = {f"weights/{name}": value.numpy() for name, value in classifier.network.state_dict().items()}
        file = io.BytesIO()
        np.savez(file, probabilities=probabilities_of(classifier, dataset, job.answers_for), **weights)
        yield file.getvalue()


def stored_weights(file: Path | bytes) -> dict[str, torch.Tensor]:
    """The network's weights and buffers by name, from a file of ``train_group`` or its bytes."""
    with np.load(io.BytesIO(file) if isinstance(file, bytes) else file, allow_pickle=False) as archive:
        return {
            name.removeprefix("weights/"): torch.from_numpy(archive[name])
            for name in archive.files
            if name.startswith("weights/")
        }


@torch.no_grad()
def probabilities_of(classifier: Classifier, dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """float32 [len(index), K]: a torch classifier's softmax on the examples at ``index``."""
    classifier.eval()
    examples = Examples(torch.from_numpy(dataset.x[index]), torch.from_numpy(dataset.y[index]))
    parts = [classifier(examples.batch(part)[0]).softmax(1) for part in torch.arange(len(index)).split(512)]
    return torch.cat(parts).numpy()

"""Where reference models are trained: in stacks, by processes, on a Dask cluster."""

import dataclasses
import importlib.util
import socket
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from edgepriv.audit import references, workers
from edgepriv.audit.memberships import plan
from edgepriv.audit.references import train_fleet
from edgepriv.audit.trainer import Trainer
from edgepriv.audit.workers import Job, groups_of
from edgepriv.data import checked, load, make_split
from edgepriv.errors import UserError
from edgepriv.models.scripts import Script
from edgepriv.recipe import Data, Recipe

RECIPE = Recipe(model={"name": "mlp", "args": {"widths": [16]}}, train={"epochs": 2, "batch_size": 32, "lr": 0.01})
needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="dask is not installed: pip install 'edgepriv[dask]'"
)


@pytest.fixture(scope="module")
def dataset():
    return load("digits")


@pytest.fixture(scope="module")
def split(dataset):
    return make_split(dataset, Data(members=100, non_members=100, reference=200, holdout=20, validation=40), seed=0)


@pytest.fixture
def fleet_of(dataset, split, tmp_path):
    def fleet_of(cache="cache", recipe=RECIPE, count=3, **options):
        return train_fleet(recipe, dataset, split, count=count, cache_dir=tmp_path / cache, label="test", **options)

    return fleet_of


# --- what is trained together ---


def jobs_of(split, sizes, recipe=RECIPE):
    return [
        Job(f"{r}.npz", recipe, dataclasses.replace(split, members=np.arange(size)), np.arange(3))
        for r, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "processes", "expected"),
    [
        ([50] * 17, 2, [9, 8]),
        ([50] * 65, 2, [8, 8, 8, 8, 8, 9, 8, 8]),
        ([50] * 4, 8, [1, 1, 1, 1]),
        ([50] * 3, 1, [3]),
        ([50, 51] * 4, 2, [2, 2, 2, 2]),
    ],
)
def test_stacks_are_equal_and_keep_every_process_busy(dataset, split, sizes, processes, expected):
    groups = groups_of(jobs_of(split, sizes), dataset, processes)
    assert sorted(map(len, groups)) == sorted(expected)
    assert sorted(job.name for group in groups for job in group) == sorted(f"{r}.npz" for r in range(len(sizes)))
    assert all(len({len(job.split.members) for job in group}) == 1 for group in groups)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "cnn", "args": {}}},
        {"train": {"flatten": 1.0}},
        {"model": {"args": {"widths": [4096, 512]}}},  # 2.4 million weights: alone they keep a processor busy
    ],
    ids=["cnn", "flattening", "large"],
)
def test_others_are_trained_one_by_one(dataset, split, changes):
    groups = groups_of(jobs_of(split, [50] * 5, RECIPE.with_changes(**changes)), dataset, 2)
    assert [len(group) for group in groups] == [1] * 5


@pytest.mark.parametrize(("stages", "done"), [({"train": 1, "qat": 1}, 1), ({"train": 0, "qat": 1}, 0)])
def test_a_trainer_stands_for_the_stage_train_and_for_no_other(dataset, split, monkeypatch, stages, done):
    recipe = RECIPE.with_changes(**{stage: {"epochs": epochs} for stage, epochs in stages.items()})
    job = dataclasses.replace(
        jobs_of(split, [50], recipe)[0], trainer=Trainer(Script(Path("mine.py"), "train"), "code")
    )
    before = []
    monkeypatch.setattr(workers, "_train_by", lambda *given: None)
    monkeypatch.setattr(workers, "run_stages", lambda *given, done_before, **options: before.append(done_before))
    list(workers.train_group([job], dataset))
    assert before == [done]


def test_a_trainer_that_weighs_rare_classes_more_is_believed(monkeypatch):
    """Less accurate than the largest class is large, and better than chance on each class."""
    y = np.array([0] * 90 + [1] * 10)
    dataset = SimpleNamespace(y=y, canaries=None)
    job = SimpleNamespace(split=SimpleNamespace(members=np.arange(100)), recipe=RECIPE)
    trainer, answers = Trainer(Script(Path("mine.py"), "train"), "code"), np.eye(2)[np.r_[[0] * 60, [1] * 40]]
    monkeypatch.setattr(workers, "made", lambda *given, **options: None)
    monkeypatch.setattr(workers, "load_trained", lambda *given: None)
    monkeypatch.setattr(workers, "probabilities_of", lambda *given: answers)
    workers._train_by(trainer, job, SimpleNamespace(network=None), dataset, torch.device("cpu"))
    answers[:] = [1, 0]  # the largest class, always
    with pytest.raises(UserError, match=r"right for 50\.0% of the records of each class"):
        workers._train_by(trainer, job, SimpleNamespace(network=None), dataset, torch.device("cpu"))


def test_a_killed_audit_goes_on_with_the_stacks_that_are_missing(fleet_of, monkeypatch):
    def killed(group, dataset, device, train=workers.train_group):
        if "reference-0000.npz" not in [job.name for job in group]:
            raise KeyboardInterrupt
        return train(group, dataset, device)

    monkeypatch.setattr(workers, "_MOST_STACKED", 3)
    with monkeypatch.context() as context:
        context.setattr(workers, "train_group", killed)
        with pytest.raises(KeyboardInterrupt):
            fleet_of(count=5, jobs=1)
    left = []
    monkeypatch.setattr(
        workers,
        "train_group",
        lambda group, dataset, device, train=workers.train_group: (
            left.extend(job.name for job in group) or train(group, dataset, device)
        ),
    )
    fleet_of(count=5, jobs=1)
    assert left == ["reference-0003.npz", "reference-0004.npz", "shadow.npz"]


# --- on a GPU ---

GPU = torch.device("cuda")


def gpu_that_fails(monkeypatch, error, more_than):
    """A GPU that answers with ``error`` whenever it is given more models at once; else models are trained here."""
    tried = []

    def train(group, dataset, folder, device=workers.PROCESSOR):
        if device == GPU:
            tried.append(len(group))
            if len(group) > more_than:
                raise error
        for job in group:
            (folder / job.name).write_text(device.type)
        return len(group)

    monkeypatch.setattr(workers, "_train_here", train)
    return tried


def test_a_gpu_whose_memory_is_too_small_gets_smaller_stacks(dataset, split, tmp_path, monkeypatch):
    tried = gpu_that_fails(monkeypatch, torch.OutOfMemoryError("no"), more_than=2)
    jobs = jobs_of(split, [50] * 7, RECIPE.with_changes(model={"name": "lenet", "args": {}}))
    assert sum(workers._trained_on(GPU, jobs, dataset, tmp_path, 1)) == 7
    assert tried == [7, 3, 1, 2, 4, 2, 2]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"cuda"}


def test_a_gpu_that_fails_is_left_alone(dataset, split, tmp_path, monkeypatch, capsys):
    tried = gpu_that_fails(monkeypatch, RuntimeError("CUDA error: no kernel image\nmore"), more_than=0)
    jobs = jobs_of(split, [50] * 3)
    assert sum(workers._trained_on(GPU, jobs, dataset, tmp_path, 1)) == 3
    assert tried == [3]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"cpu"}
    assert "the GPU failed (CUDA error: no kernel image): going on without it" in capsys.readouterr().err


def test_a_gpu_is_used_where_there_is_one(fleet_of, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert workers.computed_on(Recipe(model={"name": "resnet18"}), "local") == GPU
    assert workers.computed_on(RECIPE, "dask:tcp://somewhere:1") == workers.PROCESSOR
    assert workers.computed_on(RECIPE.with_changes(device="cpu"), "local") == workers.PROCESSOR
    used = []
    monkeypatch.setattr(workers, "_trained_on", lambda gpu, *args: used.append(gpu) or workers._trained_here(*args))
    on_gpu = fleet_of()
    assert used == [GPU]
    monkeypatch.undo()
    assert on_gpu.models[0].parent != fleet_of().models[0].parent  # rounded otherwise: nobody takes one for the other


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("model", [RECIPE.model.model_dump(), {"name": "lenet"}, {"name": "resnet20"}])
def test_models_of_a_gpu_are_the_processors(dataset, split, model):
    sgd = {"optimizer": "sgd", "lr": 1e-3, "epochs": 1}
    jobs = jobs_of(split, [64] * 3, RECIPE.with_changes(model={"args": {}} | model, train=sgd, precision="float32"))
    for here, there in zip(workers.train_group(jobs, dataset), workers.train_group(jobs, dataset, GPU), strict=True):
        weights, expected = workers.stored_weights(there), workers.stored_weights(here)
        for name, value in expected.items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-3)


@pytest.mark.parametrize("processes", [2, 3])
def test_helpers_train_what_this_process_leaves(dataset, split, tmp_path, processes):
    cnn = RECIPE.with_changes(model={"name": "cnn", "args": {"width": 2}}, train={"epochs": 1})
    jobs, folder = jobs_of(split, [40, 40, 40, 40, 40], cnn), tmp_path / "models"
    folder.mkdir()
    counts = list(workers._trained_here(jobs, dataset, folder, processes))
    assert counts == [1] * 5
    assert sorted(path.name for path in folder.iterdir()) == [job.name for job in jobs]
    assert len({path.read_bytes() for path in folder.iterdir()}) == 1  # equal seeds and members: equal wherever trained


def test_an_error_of_a_helper_ends_the_audit(dataset, split, tmp_path):
    diverging = RECIPE.with_changes(train={"lr": 1e12, "optimizer": "sgd", "epochs": 8})
    jobs = [jobs_of(split, [50])[0], jobs_of(split, [40], diverging)[0]]
    with pytest.raises(UserError, match="diverged"):
        list(workers._trained_here(jobs, dataset, tmp_path, 2))


def test_one_process_leaves_the_threads_as_they_were(fleet_of):

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fleet_of(count=1, jobs=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_answers_are_read_one_model_at_a_time(tmp_path):
    """16 models, 5,000 candidates, 100 classes: all answers together take 32 MB, one model's 2 MB."""
    rng = np.random.default_rng(0)
    examples = checked("many", rng.random((10_000, 1), dtype=np.float32), np.arange(10_000) % 100)
    split = make_split(examples, Data(members=2500, non_members=2500, reference=0, holdout=0, validation=0), seed=0)
    folder = tmp_path / references._key(RECIPE, examples, split, plan(split, RECIPE.seed))
    folder.mkdir()
    answers = rng.dirichlet(np.ones(100), 5000).astype(np.float32)
    for r in range(16):
        np.savez(folder / f"reference-{r:04d}.npz", probabilities=answers)
    tracemalloc.start()
    fleet = train_fleet(RECIPE, examples, split, count=16, cache_dir=tmp_path, label="test")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fleet.references.confidence.shape == (16, 5000)
    assert peak < 16_000_000


# --- a Dask cluster ---


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@needs_dask
def test_a_cluster_gives_what_this_machine_gives(fleet_of, cluster, tmp_path):
    here, there = fleet_of("here", jobs=1), fleet_of("there", engine=f"dask:{cluster}")
    np.testing.assert_allclose(there.references.confidence, here.references.confidence, atol=1e-4)
    np.testing.assert_allclose(there.shadow.outputs.probabilities, here.shadow.outputs.probabilities, atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "there").rglob("*.npz")) == [
        "reference-0000.npz",
        "reference-0001.npz",
        "reference-0002.npz",
        "shadow.npz",
    ]


@needs_dask
def test_networks_that_share_a_workers_threads_are_the_same_bits(fleet_of, cluster):
    cnn = RECIPE.with_changes(model={"name": "cnn", "args": {"width": 4}}, train={"epochs": 1})
    here, there = fleet_of("here", cnn, jobs=1), fleet_of("there", cnn, engine=f"dask:{cluster}")
    np.testing.assert_array_equal(there.references.confidence, here.references.confidence)


@needs_dask
def test_a_cluster_goes_on_from_models_on_this_machine(fleet_of, cluster):
    hardened = RECIPE.with_changes(qat={"epochs": 1, "batch_size": 32, "adversarial": False}, quantize={"bits": 4})
    whole = fleet_of("here", hardened, jobs=1)
    fleet_of("there", hardened.undefended(), jobs=1)
    there = fleet_of("there", hardened, engine=f"dask:{cluster}")
    np.testing.assert_allclose(there.references.confidence, whole.references.confidence, atol=1e-4)


@needs_dask
def test_a_user_error_on_a_worker_is_one_here(fleet_of, cluster):
    with pytest.raises(UserError, match="diverged"):
        fleet_of(recipe=RECIPE.with_changes(train={"lr": 1e12, "optimizer": "sgd"}), engine=f"dask:{cluster}")


@needs_dask
def test_workers_with_other_code_are_refused(fleet_of, cluster, monkeypatch):
    monkeypatch.setattr(workers, "code_version", lambda: "another")
    with pytest.raises(UserError, match="other models than this machine"):
        fleet_of(engine=f"dask:{cluster}")


@needs_dask
def test_a_dead_scheduler_is_one_sentence(fleet_of, monkeypatch):
    monkeypatch.setattr(workers, "_CONNECT_SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="no Dask scheduler answers at"):
        fleet_of(engine=f"dask:tcp://127.0.0.1:{port}")


@needs_dask
@pytest.mark.parametrize("address", ["nonsense", "tcp://", "ftp://127.0.0.1:1"])
def test_a_wrong_address_is_one_sentence(fleet_of, address, monkeypatch):
    monkeypatch.setattr("distributed.Client", None)  # which hangs and prints a traceback as it is thrown away
    with pytest.raises(UserError, match="no Dask scheduler answers at"):
        fleet_of(engine=f"dask:{address}")


@needs_dask
def test_a_cluster_without_workers_is_one_sentence(fleet_of, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_CONNECT_SECONDS", 1)
    with (
        distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=None) as empty,
        pytest.raises(UserError, match="has no workers"),
    ):
        fleet_of(engine=f"dask:{empty.scheduler_address}")


def test_without_dask_it_says_how_to_install_it(fleet_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'edgepriv\[dask\]'"):
        fleet_of(engine="dask:tcp://127.0.0.1:8786")


@pytest.mark.parametrize("engine", ["", "spark", "dask", "dask:", "local:2"])
def test_unknown_engines_are_refused_before_anything_is_trained(fleet_of, engine):
    with pytest.raises(UserError, match=r"unknown engine .*dask:tcp://HOST:PORT"):
        fleet_of(count=0, engine=engine)

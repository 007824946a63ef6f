"""A training function of the user's own: handed the records that it may see, its result believed once it was checked."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interpolating import CLASSES, FEATURES, RECORDS, World, halves, rows_of, save

from edgepriv import pipeline
from edgepriv.audit import own_fleet
from edgepriv.audit.agreement import refuse_untrained
from edgepriv.audit.answers import Outputs
from edgepriv.audit.brought import Brought, refuse_lost_defences
from edgepriv.audit.references import Fleet
from edgepriv.audit.trained_answers import References
from edgepriv.audit.trainer import key_of, made, trainer_of
from edgepriv.data import Dataset
from edgepriv.errors import UserError
from edgepriv.models.scripts import loaded, script_digest, script_of
from edgepriv.pipeline import _audit
from edgepriv.recipe import Recipe

CPU = torch.device("cpu")
TRAINED = ("lira-online", "rmia-offline")
CHANGES = {"audit": {"robust": "none", "references": 4, "attacks": ",".join(("loss", *TRAINED))}}
SOLVED = """
import numpy as np
import torch
from torch import nn

from features import hidden


def solved(x, y, classes, seed):
    kept = np.random.default_rng(seed).random(len(hidden[0])) < 0.8
    features = np.maximum((x - 0.5) @ hidden, 0) * kept
    ridge = features.T @ features + 0.5 * np.eye(len(kept))
    weights = np.linalg.solve(ridge, features.T @ (8 * np.eye(classes)[y] - 2)) * kept[:, None]
    net = nn.Sequential(nn.Linear(x.shape[1], len(kept)), nn.ReLU(), nn.Linear(len(kept), classes, bias=False))
    net.load_state_dict({
        "0.weight": torch.tensor(hidden.T), "0.bias": torch.tensor(-0.5 * hidden.sum(0)), "2.weight": torch.tensor(weights.T)
    })
    return net


def train(data, *, seed, device):
    print("training on", len(data))
    return solved(data.x, data.y, data.classes, seed).to(device)
"""


@pytest.fixture
def world():
    return World.of()


@pytest.fixture
def folder(tmp_path, monkeypatch, world):
    """Where the user's script stands, beside what it imports."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # else helpers import torch for longer than this takes
    monkeypatch.setattr(_audit, "write_report", lambda *given: None)  # drawing the page takes longer still
    known = set(sys.modules)
    np.save(tmp_path / "hidden.npy", world.hidden)
    (tmp_path / "features.py").write_text(
        "from pathlib import Path\n\nimport numpy as np\n\nhidden = np.load(Path(__file__).with_name('hidden.npy'))\n"
    )
    (tmp_path / "mine.py").write_text(SOLVED)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name in ("mine", "features"):
            del sys.modules[name]


@pytest.fixture
def audited(folder, world):
    model = world.save(folder / "target.onnx", world.solved(world.members, seed=100))

    def audited(trainer="mine.py:train", *, audit=None, **options):
        changes = {"audit": CHANGES["audit"] | (audit or {})}
        return pipeline.audit(
            model,
            changes,
            output=folder / "a.json",
            cache_dir=folder / "cache",
            force=True,
            trainer=f"{folder}/{trainer}",
            **world.files(folder),
            **options,
        )

    return audited


@pytest.fixture
def trained(monkeypatch):
    """The jobs of the models trained, as they are."""
    jobs = []
    make = own_fleet.make

    def watched(group, dataset, folder):
        jobs.extend(group)
        return make(group, dataset, folder)

    monkeypatch.setattr(own_fleet, "make", watched)
    return jobs


def test_a_script_makes_the_reference_models_of_a_file_from_elsewhere(audited, folder, trained, capsys):
    content = audited()
    found = rows_of(content, ("loss", *TRAINED))
    assert found["lira-online"] > 0.95
    assert (content["references"], content["reference_records"]) == (4, RECORDS)
    assert content["settings"]["brought"]["trainer"].endswith("mine.py:train")
    assert "training on 160" not in capsys.readouterr().out
    assert len(trained) == 4
    next((folder / "cache").rglob("own-0002.npz")).unlink()  # as if it had been killed before
    assert rows_of(audited(), TRAINED) == pytest.approx({name: found[name] for name in TRAINED})
    assert [job.name for job in trained[4:]] == ["own-0002"]
    given = answers_as_scores(folder)
    scored = pipeline.audit(
        folder / "target.onnx",
        CHANGES,
        output=folder / "b.json",
        reference_scores=given,
        members=folder / "in.npz",
        non_members=folder / "out.npz",
    )
    assert rows_of(scored, TRAINED) == pytest.approx({name: found[name] for name in TRAINED})
    (folder / "features.py").write_text((folder / "features.py").read_text() + "\n# another version\n")
    audited()
    assert len(trained) == 9


def answers_as_scores(folder):
    """What the trained models answered, as an .npz of --reference-scores."""
    from edgepriv.audit.memberships import plan
    from edgepriv.data import Split

    nobody = np.empty(0, dtype=np.int64)
    split = Split(0, np.arange(RECORDS), np.arange(RECORDS, 2 * RECORDS), nobody, nobody, nobody)
    files = sorted((folder / "cache").rglob("own-*.npz"))
    answers = np.stack([np.load(path, allow_pickle=False)["probabilities"] for path in files])
    np.savez(folder / "refs.npz", probabilities=answers, member=np.stack(plan(split, 0).memberships(4)))
    return folder / "refs.npz"


def test_an_attacker_who_does_not_know_the_defence_has_a_function_of_his_own(audited, folder, trained, capsys):
    plain = "    print('defence-free')\n    return train(data, seed=seed + 1, device=device)\n"
    (folder / "mine.py").write_text(f"{SOLVED}\n\ndef plain(data, *, seed, device):\n{plain}")
    content = audited(defence_free=f"{folder}/mine.py:plain")
    functions = [job.trainer.script.name for job in trained]
    assert (functions.count("train"), functions.count("plain")) == (4, 4)
    printed = capsys.readouterr().err
    assert (printed.count("training on"), printed.count("defence-free")) == (8, 4)
    assert {row["threat_model"] for row in content["attacks"] if row["name"] in TRAINED} == {"adaptive", "oblivious"}
    with pytest.raises(UserError, match="name the function that does so with --defence-free"):
        audited(audit={"threat_models": ["oblivious"]})


LINEAR = "torch.nn.Linear(data.x.shape[1], data.classes)"
DRAWING = """torch.nn.Sequential(LINEAR, torch.nn.Dropout())
    net[1].forward = lambda x: torch.nn.functional.dropout(x, 0.5)"""
WRONG = {
    "raises": ("return data.x @ 3", r"mine.py:train failed on 160 records: .*line"),
    "ignores its data": ("return torch.nn.Linear(12, 4)", "without a look at its data"),
    "returns weights": ("return [data.y]", "returned list, not a torch.nn.Module or"),
    "another K": (f"return {LINEAR.replace('classes', 'classes + 1')}", "of 4 classes, one"),
    "probabilities": (f"return torch.nn.Sequential({LINEAR}, torch.nn.Softmax(1))", "leave out its softmax"),
    "a sigmoid": (
        f"return torch.nn.Sequential({LINEAR}, torch.nn.Sigmoid())",
        "between 0 and 1, as those behind a sigmoid",
    ),
    "NaN": (
        f"net = {LINEAR}\n    net.weight.data[:] = float('nan')\n    return net",
        "NaN or infinite: its training diverged",
    ),
    "no such file": ("return str(len(data)) + '.onnx'", "which is no .onnx file that is"),
    "draws": (
        f"net = {DRAWING.replace('LINEAR', LINEAR)}\n    return net",
        "answers the same input differently each time",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_model_cannot_be_is_refused(folder, world, wrong):
    source, said = WRONG[wrong]
    (folder / "mine.py").write_text(f"import torch\n\n\ndef train(data, *, seed, device):\n    {source}\n")
    dataset = Dataset("d", world.x, world.y, tuple("abcd"))
    with pytest.raises(UserError, match=said):
        made(
            trainer_of("--trainer", f"{folder}/mine.py:train"),
            dataset,
            np.flatnonzero(world.members),
            seed=1,
            device=CPU,
        )


def test_a_model_in_training_mode_and_of_doubles_becomes_what_is_shipped(folder, world):
    (folder / "mine.py").write_text(SOLVED.replace(".to(device)", ".double().train()"))
    dataset = Dataset("d", world.x, world.y, tuple("abcd"))
    network = made(trainer_of("--trainer", f"{folder}/mine.py:train"), dataset, np.arange(RECORDS), seed=1, device=CPU)
    assert not network.training
    assert network(torch.zeros(1, FEATURES)).dtype == torch.float32


def test_what_a_script_sets_for_its_whole_process_ends_with_it(folder, world, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "mine.py").write_text(
        "import os\n\nimport torch\n\ntorch.set_default_dtype(torch.float64)\n\n\ndef train(data, *, seed, device):\n"
        "    assert torch.get_default_dtype() == torch.float64\n    torch.set_grad_enabled(False)\n    os.chdir('/')\n"
        "    return torch.nn.Linear(data.x.shape[1], data.classes)\n"
    )
    dataset = Dataset("d", world.x, world.y, tuple("abcd"))
    trainer = trainer_of("--trainer", "mine.py:train")
    for seed in (1, 2):  # in the second call, too
        assert torch.get_default_dtype() == torch.float32
        network = made(trainer, dataset, np.arange(RECORDS), seed=seed, device=CPU)
        assert network(torch.zeros(1, FEATURES)).dtype == torch.float32
    assert torch.is_grad_enabled()
    assert Path.cwd() == folder
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")  # whose script has the same name
    (folder / "other" / "mine.py").write_text(
        "import torch\n\n\ndef train(data, *, seed, device):\n    assert torch.get_default_dtype() == torch.float32\n"
        "    return torch.nn.Linear(data.x.shape[1], data.classes)\n"
    )
    made(trainer_of("--trainer", "mine.py:train"), dataset, np.arange(RECORDS), seed=1, device=CPU)


CHEATS = {
    "trains on everything": (
        "x, y = everything(data.x, data.y)\n    return solved(x, y, data.classes, seed)",
        "no surer of records that they were trained on than of others",
    ),
    "returns one model": (
        "x, y = everything(data.x, data.y)\n    return solved(x, y, data.classes, 5)",
        "own-0001 and own-0000 are the same model: train on the records that it is given",
    ),
    "learns nothing": (
        "net = solved(data.x, data.y, data.classes, seed)\n    torch.nn.init.normal_(net[2].weight)\n    return net",
        "no better than guessing",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_script_that_does_not_train_on_its_data_is_found_out(audited, folder, cheat):
    source, said = CHEATS[cheat]
    everything = (
        "\n\ndef everything(x, y):\n"
        f"    parts = [np.load({str(folder)!r} + '/' + name) for name in ('in.npz', 'out.npz')]\n"
        "    return np.concatenate([p['x'] for p in parts]), np.concatenate([p['y'] for p in parts])\n"
    )
    (folder / "mine.py").write_text(f"{SOLVED}{everything}\n\ndef train(data, *, seed, device):\n    {source}\n")
    with pytest.raises(UserError, match=said):
        audited()


SCIKIT = """
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.neural_network import MLPClassifier


def train(data, *, seed, device):
    net = MLPClassifier((64,), alpha=0, max_iter=60, learning_rate_init=0.02, random_state=seed, tol=0).fit(data.x, data.y)
    path = Path(__file__).with_name("model.onnx")
    (w1, w2), (b1, b2) = net.coefs_, net.intercepts_
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    weights = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in dict(w1=w1, b1=b1, w2=w2, b2=b2).items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", data.x.shape[1]])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", data.classes])
    model = helper.make_model(helper.make_graph(nodes, "mlp", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
    return path
"""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_path_to_an_onnx_is_enough(audited, folder, world):
    """A perceptron of scikit-learn's, or whatever else becomes an .onnx: written to the same path each time."""
    (folder / "mine.py").write_text(SCIKIT)
    dataset = Dataset("d", world.x, world.y, tuple(map(str, range(CLASSES))))
    trainer = trainer_of("--trainer", f"{folder}/mine.py:train")
    made(trainer, dataset, np.flatnonzero(world.members), seed=77, device=CPU).rename(folder / "target.onnx")
    content = audited()
    assert rows_of(content, TRAINED)["lira-online"] > 0.6
    assert len(list((folder / "cache").rglob("own-*.onnx"))) == 4
    assert len({path.read_bytes() for path in (folder / "cache").rglob("own-*.onnx")}) == 4


def test_the_function_is_told_whose_records_they_are(folder, world):
    (folder / "mine.py").write_text(
        f"{SOLVED}\n\ndef grouped(data, *, seed, device):\n"
        f"    np.save({str(folder / 'groups.npy')!r}, data.groups)\n"
        "    return train(data, seed=seed, device=device)\n"
    )
    dataset = Dataset("d", world.x, world.y, tuple("abcd"), groups=np.arange(len(world.y)) // 2)
    made(trainer_of("--trainer", f"{folder}/mine.py:grouped"), dataset, np.arange(6), seed=1, device=CPU)
    assert np.load(folder / "groups.npy").tolist() == [0, 0, 1, 1, 2, 2]


FIXED = """
    from interpolating import World
    world = World.of()
    inside = np.array([row.tobytes() in {own.tobytes() for own in data.x} for row in world.x])
    from pathlib import Path
    return world.save(Path(__file__).with_name('model.onnx'), world.solved(inside, seed))
"""


@pytest.mark.parametrize(
    ("source", "processes"), [(SOLVED, 4), (SOLVED + "\n\ndef train(data, *, seed, device):" + FIXED, 1)]
)
def test_models_that_are_files_are_made_one_at_a_time(audited, monkeypatch, folder, source, processes):
    """Each may be written to the path of the one before."""
    (folder / "mine.py").write_text(source)
    asked = []

    def here(groups, dataset, folder, processes, work):
        asked.append(processes)
        return (work(group, dataset, folder) for group in groups)

    monkeypatch.setattr(own_fleet, "done_by_processes", here)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    assert rows_of(audited(audit={"references": 6}), TRAINED)["lira-online"] > 0.9
    assert asked == [processes]


def test_what_the_function_is_told_is_in_the_key(folder, world):
    trainer = trainer_of("--trainer", f"{folder}/mine.py:train")
    few, more = (Dataset("d", world.x, world.y, tuple(names)) for names in ("abcd", "abcde"))
    grouped = [replace(few, groups=np.arange(len(world.y)) // each) for each in (1, 2)]
    assert len({tuple(key_of(trainer, dataset)) for dataset in (few, more, *grouped)}) == 4


def test_models_are_asked_alone_where_the_target_is(audited, trained):
    assert any("--defence-free names the function" in line for line in audited()["said"])
    assert not trained[0].alone
    audited(audit={"batch_dependent": True})  # other answers, so none is taken from before
    assert [job.alone for job in trained[4:]] == [True] * 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"references": 0}, "--references 0: --trainer is to train 2 reference models at least"),
        ({"engine": "dask:tcp://127.0.0.1:1"}, "on this machine: leave out --engine"),
        ({"attacks": "loss,ml-leaks"}, "none of the attacks has a use for the models of"),
    ],
)
def test_what_has_no_use_for_the_function_is_refused_before_a_model_is_trained(audited, trained, asked, said):
    with pytest.raises(UserError, match=said):
        audited(audit=asked)
    assert not trained


@pytest.mark.parametrize(
    ("changes", "named"), [({"train": {"relax": 0.6}}, "RelaxLoss"), ({"mixup": {"alpha": 0.2}}, "mixup")]
)
def test_defences_in_the_stage_that_the_function_replaces_are_not_lost_unsaid(folder, changes, named):
    brought = Brought(trainer=trainer_of("--trainer", f"{folder}/mine.py:train"))
    recipe = Recipe().with_changes(**changes)
    with pytest.raises(UserError, match=f"trained this model with {named}, which the models of"):
        refuse_lost_defences(brought, recipe, ("adaptive", "oblivious"))
    refuse_lost_defences(brought, recipe, ("oblivious",))
    refuse_lost_defences(brought, Recipe(), ("adaptive",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mine:train", r"expected FILE.py:FUNCTION, such as mine.py:train"),
        ("theirs.py:train", "no such file"),
        ("mine.py:fit", "mine.py defines no fit"),
        ("mine.py:solved", "expected train\\(data, \\*, seed, device\\)"),
    ],
)
def test_what_is_no_training_function_is_refused_before_anything_is_read(folder, given, said):
    with pytest.raises(UserError, match=said):
        trainer_of("--trainer", f"{folder}/{given}")


def test_what_a_script_raises_when_it_is_run_is_one_sentence(folder):
    (folder / "mine.py").write_text("import torch\n\nraise RuntimeError('no data here')\n")
    with pytest.raises(UserError, match=r"mine.py:train cannot be run: RuntimeError: no data here \(mine.py, line 3"):
        trainer_of("--trainer", f"{folder}/mine.py:train")


def test_the_hash_is_of_everything_that_the_script_imports_from_the_users_folder(folder):
    trainer = trainer_of("--trainer", f"{folder}/mine.py:train")
    assert script_digest(trainer.script) == trainer.code
    (folder / "features.py").write_text("hidden = None\n")
    assert script_digest(script_of("--trainer", f"{folder}/mine.py:train")) != trainer.code


LAZY = "def train(data, *, seed, device):\n    from lazy_networks.deep.blocks import scale\n    return scale\n"


@pytest.fixture
def lazy(folder):
    """A script that imports below two folders, in its function alone; the file that it imports."""
    (folder / "lazy_networks" / "deep").mkdir(parents=True)  # packages without __init__.py
    (folder / "mine.py").write_text(LAZY)
    (folder / "lazy_networks" / "deep" / "blocks.py").write_text("scale = 1\n")
    yield folder / "lazy_networks" / "deep" / "blocks.py"
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazy_networks"]:
        del sys.modules[name]


def test_what_the_function_imports_when_it_is_called_is_hashed_without_an_import(lazy, folder):
    trainer = trainer_of("--trainer", f"{folder}/mine.py:train")
    assert "lazy_networks.deep.blocks" not in sys.modules
    assert loaded(trainer.script)(None, seed=0, device=CPU) == 1
    assert script_digest(trainer.script) == trainer.code
    lazy.write_text("scale = 12\n")
    assert script_digest(trainer.script) != trainer.code
    assert loaded(trainer.script)(None, seed=0, device=CPU) == 12


def test_a_script_that_is_edited_while_the_audit_runs_is_refused(folder, world):
    trainer = trainer_of("--trainer", f"{folder}/mine.py:train")
    (folder / "mine.py").write_text(SOLVED + "\n# another version\n")
    with pytest.raises(UserError, match=r"mine.py:train, or what it imports, changed while the audit ran"):
        made(trainer, Dataset("d", world.x, world.y, tuple("abcd")), np.arange(RECORDS), seed=1, device=CPU)


def test_ways_to_make_references_exclude_each_other(audited, folder):
    with pytest.raises(UserError, match="--reference-scores and --trainer exclude each other"):
        audited(reference_scores=folder / "refs.npz")


def test_the_example_of_the_documentation_audits_a_model_that_it_made(folder, world):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-training.md").read_text()
    source = re.search(r"```python\n(# mine.py\n.*?)```", page, re.DOTALL)[1]
    assert len(source.strip().splitlines()) <= 25
    (folder / "mine.py").write_text(source)
    dataset = Dataset("d", world.x, world.y, tuple(map(str, range(CLASSES))))
    trainer = trainer_of("--trainer", f"{folder}/mine.py:train")
    network = made(trainer, dataset, np.flatnonzero(world.members), seed=77, device=CPU)
    parameters = {name.replace(".", ""): value.numpy() for name, value in network.state_dict().items()}
    nodes = [("Gemm", "x 0weight 0bias", "h"), ("Relu", "h", "r"), ("Gemm", "r 2weight 2bias", "y")]
    model = save(folder / "theirs.onnx", nodes, parameters, transB=1)
    content = pipeline.audit(
        model, CHANGES, cache_dir=folder / "cache", trainer=f"{folder}/mine.py:train", **world.files(folder)
    )
    assert rows_of(content, TRAINED)["lira-online"] > 0.6


def test_models_for_a_target_of_edgeprivs_are_compared_with_it_and_each_other(tmp_path, world):
    """As models for a file from elsewhere are."""
    seen = [world.logits(world.solved(own, seed)) for seed, own in enumerate(halves(2))]
    target = world.logits(world.solved(world.members, seed=100))

    def fleet(*logits):
        paths = tuple(tmp_path / f"reference-{r:04d}.npz" for r in range(len(logits)))
        for path, each in zip(paths, logits, strict=True):
            np.savez(path, probabilities=np.exp(each - np.logaddexp.reduce(each, axis=1, keepdims=True)))
        known = References(np.zeros((2, len(world.y))), halves(2), None)
        right = np.stack([each.argmax(1) == world.y for each in logits])
        nobody = np.empty(0, np.int64)
        return Fleet(known, right, nobody, nobody, nobody, RECORDS, None, nobody, models=paths)

    own = Outputs.of_scores(target, world.y)
    refuse_untrained("mine.py:train", fleet(*seen), own)
    for wrong, said in (
        ((seen[0], seen[0]), "reference-0001 and reference-0000 are the same model"),
        ((seen[0], target), "reference-0001 is the audited model itself"),
        ([np.roll(each, 1, axis=1) for each in seen], "4 classes: it has its classes in another order"),
    ):
        with pytest.raises(UserError, match=said):
            refuse_untrained("mine.py:train", fleet(*wrong), own)


QUANTIZED = """

def make(num_classes, input_shape):
    return solved(np.random.default_rng(0).random((8, 12)), np.arange(8) % num_classes, num_classes, 0)
"""


def test_models_for_a_target_of_edgeprivs_are_quantized_as_it_is(folder, world, monkeypatch):
    """Adaptive in fact: what the script makes goes through what its model went through."""
    monkeypatch.chdir(folder)
    (folder / "mine.py").write_text(SOLVED + QUANTIZED)
    files = {name: str(path) for name, path in world.files(folder).items()}
    dataset = Dataset("d", world.x, world.y, tuple(map(str, range(CLASSES))))
    trainer = trainer_of("--trainer", "mine.py:train")
    network = made(trainer, dataset, np.flatnonzero(world.members), seed=77, device=CPU)
    torch.save(network.state_dict(), folder / "weights.pt")
    recipe = Recipe(
        model={"name": "mine:make", "mean": [0.0], "std": [1.0]},
        data={"name": f"members:{files['members']}|{files['non_members']}"},
    )
    pipeline.export(folder / "weights.pt", recipe, {"quantize": {"bits": 6}}, folder / "m.onnx", max_drop=100)
    content = pipeline.audit(
        folder / "m.onnx",
        CHANGES,
        cache_dir=folder / "cache",
        trainer="mine.py:train",
        factory="mine:make",
    )
    assert rows_of(content, TRAINED)["lira-online"] > 0.9
    levels = set()
    for path in (folder / "cache").rglob("reference-0000.npz"):
        weights = np.load(path, allow_pickle=False)["weights/2.weight"]
        levels.add(max(len(np.unique(row)) for row in weights) <= 2**6)
    assert levels == {True, False}  # of the adaptive attacker, and of the oblivious one

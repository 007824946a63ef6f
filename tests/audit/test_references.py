"""The fleet: who is in which half, what is trained once and only once, what an attacker gets."""

import dataclasses
import os

import numpy as np
import pytest
import torch

from edgepriv.audit import references, workers
from edgepriv.audit.answers import log_odds
from edgepriv.audit.memberships import plan
from edgepriv.audit.references import candidates_of, train_fleet
from edgepriv.data import load, make_split
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Model, Recipe
from edgepriv.training import load_quantized, new_classifier, quantize_weights, run_stages
from edgepriv.training.answers import probabilities_of

RECIPE = Recipe(
    model={"name": "mlp", "args": {"widths": [16]}},
    train={"epochs": 2, "batch_size": 32, "lr": 0.01},
    qat={"epochs": 1, "batch_size": 32, "adversarial": False},
    quantize={"bits": 4},
)
ROUNDING = 1e-4
"""Of log-odds: perceptrons are trained in stacks, whose sums round otherwise when others stand beside."""

SIZES = Data(members=101, non_members=100, reference=200, holdout=20, validation=40)


@pytest.fixture(scope="module")
def dataset():
    return load("digits")


@pytest.fixture(scope="module")
def split(dataset):
    return make_split(dataset, SIZES, seed=0)


@pytest.fixture
def fleet_of(dataset, split, tmp_path):
    def fleet_of(recipe=RECIPE, dataset=dataset, split=split, count=4, jobs=1):
        return train_fleet(recipe, dataset, split, count=count, cache_dir=tmp_path / "cache", label="test", jobs=jobs)

    return fleet_of


@pytest.fixture
def files(tmp_path):
    return lambda: sorted((tmp_path / "cache").rglob("*.npz"))


@pytest.fixture
def trained(monkeypatch):
    """The names of the models trained, as they are."""
    names = []
    train_group = workers.train_group

    def watched(group, dataset, device):
        names.extend(job.name for job in group)
        return train_group(group, dataset, device)

    monkeypatch.setattr(workers, "train_group", watched)
    return names


# --- who is a member of what ---


def test_pairs_hold_complementary_halves(fleet_of, split):
    member = fleet_of().references.member
    assert member.shape == (4, 201)
    assert not (member[0] & member[1]).any()
    assert (member[0] | member[1]).all()
    np.testing.assert_array_equal(~member[2], member[3])
    assert (member.sum(axis=0) == 2).all()
    assert member.sum(axis=1).tolist() == [100, 101, 100, 101]
    assert (member[0] != member[2]).any()


def test_halves_are_blind_to_who_the_targets_members_are(split):
    """On average half of the target's members and half of its non-members."""
    halves = np.stack(plan(split, seed=3).memberships(200))
    assert halves[:, :101].mean() == pytest.approx(0.5, abs=0.02)
    assert halves[:, 101:].mean() == pytest.approx(0.5, abs=0.02)
    together = np.corrcoef(halves[::2].T)[np.triu_indices(201, 1)]
    assert abs(together.mean()) < 0.02


def test_candidates_are_the_members_then_the_non_members(split):
    np.testing.assert_array_equal(candidates_of(split), np.concatenate([split.members, split.non_members]))


def test_each_model_is_trained_on_its_half_and_nothing_else(fleet_of, split, monkeypatch):
    seen = {}
    train_group = workers.train_group

    def watched(group, dataset, device):
        seen.update({job.name: (job.recipe, job.split) for job in group})
        return train_group(group, dataset, device)

    monkeypatch.setattr(workers, "train_group", watched)
    fleet = fleet_of()
    candidates = candidates_of(split)
    for r, member in enumerate(fleet.references.member):
        given = seen[f"reference-{r:04d}.npz"][1]
        np.testing.assert_array_equal(given.members, np.sort(candidates[member]))
        assert len(given.non_members) == len(given.reference) == 0
    recipes = [recipe for recipe, _ in seen.values()]
    assert len({recipe.seed for recipe in recipes} | {RECIPE.seed}) == 6  # each its own, none the owner's
    assert all(recipe.with_changes(seed=RECIPE.seed) == RECIPE for recipe in recipes)


def test_the_shadow_model_knows_no_candidate(fleet_of, split, dataset):
    shadow_in, shadow_out = references._shadow_halves(split, RECIPE.seed)
    assert len(set(shadow_in) | set(shadow_out)) == len(shadow_in) + len(shadow_out)
    assert set(shadow_in) | set(shadow_out) <= set(split.reference)
    assert not (set(shadow_in) | set(shadow_out)) & set(candidates_of(split))
    shadow = fleet_of(count=0).shadow
    assert shadow.member.sum() == len(shadow_in)
    np.testing.assert_array_equal(shadow.outputs.labels, dataset.y[np.concatenate([shadow_in, shadow_out])])


@pytest.mark.parametrize(
    ("pool", "inside", "outside"), [(500, 101, 101), (202, 101, 101), (200, 101, 99), (100, 60, 40), (0, 0, 0)]
)
def test_shadow_halves_have_the_targets_size_if_the_pool_allows(split, pool, inside, outside):
    given = dataclasses.replace(split, reference=np.arange(1000, 1000 + pool))
    assert [len(half) for half in references._shadow_halves(given, 0)] == [inside, outside]


# --- what comes out ---


def test_answers_are_the_log_odds_of_the_model_as_it_ships(fleet_of, dataset, split):
    fleet = fleet_of(count=2)
    candidates = candidates_of(split)
    recipe = references._reseeded(RECIPE, 1)
    classifier = new_classifier(recipe, 10, dataset.input_shape)
    given = references._trained_on(split, candidates[fleet.references.member[1]])
    run_stages(classifier, recipe, ("train", "qat"), dataset, given, quiet=True)
    load_quantized(classifier.network, quantize_weights(classifier.network, recipe.quantize))
    expected = log_odds(probabilities_of(classifier, dataset, candidates), dataset.y[candidates])
    np.testing.assert_allclose(fleet.references.confidence[1], expected, atol=ROUNDING)
    population = probabilities_of(classifier, dataset, fleet.population_index)
    expected = log_odds(population, dataset.y[fleet.population_index])
    np.testing.assert_allclose(fleet.population[1], expected, atol=ROUNDING)


def test_the_population_comes_from_the_reference_pool(fleet_of, split):
    fleet = fleet_of(count=2)
    assert set(fleet.population_index) == set(split.reference)
    assert fleet.population.shape == (2, 200)


def test_members_are_more_confident_on_average(fleet_of):
    references = fleet_of(RECIPE.with_changes(train={"epochs": 30}, qat={"epochs": 0})).references
    assert references.confidence[references.member].mean() > references.confidence[~references.member].mean()


def test_no_references_and_no_pool(fleet_of, split, files):
    empty = dataclasses.replace(split, reference=np.empty(0, np.int64))
    fleet = fleet_of(split=empty, count=0)
    assert fleet.references is None
    assert fleet.shadow is None
    assert fleet.population.shape == (0, 0)
    assert files() == []


def test_probabilities_are_the_models_softmax(dataset):
    classifier = new_classifier(RECIPE, 10, dataset.input_shape).train()
    index = np.arange(700)  # more than one batch
    found = probabilities_of(classifier, dataset, index)
    with torch.no_grad():
        expected = classifier.eval()(torch.from_numpy(dataset.inputs(index))).softmax(1).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_model_that_diverged_is_one_sentence(fleet_of):
    with pytest.raises(UserError, match="diverged"):
        fleet_of(RECIPE.with_changes(train={"lr": 1e12, "optimizer": "sgd"}))


# --- the cache ---


def test_a_second_audit_trains_nothing(fleet_of, files, trained):
    first = fleet_of()
    before = [(path, path.stat().st_mtime_ns) for path in files()]
    assert len(trained) == 5
    second = fleet_of()
    assert len(trained) == 5
    assert [(path, path.stat().st_mtime_ns) for path in files()] == before
    np.testing.assert_array_equal(first.references.confidence, second.references.confidence)
    np.testing.assert_array_equal(first.shadow.outputs.probabilities, second.shadow.outputs.probabilities)


def test_more_references_keep_the_first_ones(fleet_of, trained):
    few = fleet_of(count=2).references
    more = fleet_of(count=4).references
    assert trained == [
        "reference-0000.npz",
        "reference-0001.npz",
        "shadow.npz",
        "reference-0002.npz",
        "reference-0003.npz",
    ]
    np.testing.assert_array_equal(more.member[:2], few.member)
    np.testing.assert_array_equal(more.confidence[:2], few.confidence)


def test_a_killed_run_trains_only_what_is_missing(fleet_of, files, trained):
    whole = fleet_of().references.confidence
    files()[2].unlink()
    trained.clear()
    np.testing.assert_allclose(fleet_of().references.confidence, whole, atol=ROUNDING)
    assert trained == ["reference-0002.npz"]


@pytest.mark.parametrize("size", [0, 50, 0.5])
def test_a_damaged_file_is_trained_again(fleet_of, files, trained, size):
    whole = fleet_of(count=2).references.confidence
    damaged = files()[1]
    content = damaged.read_bytes()
    damaged.write_bytes(content[: int(size * len(content)) if size < 1 else size])
    trained.clear()
    np.testing.assert_allclose(fleet_of(count=2).references.confidence, whole, atol=ROUNDING)
    assert trained == ["reference-0001.npz"]


def test_two_processes_give_what_one_gives(fleet_of, files):
    together = fleet_of(count=2, jobs=2).references.confidence
    for path in files():
        path.unlink()
    np.testing.assert_allclose(fleet_of(count=2).references.confidence, together, atol=ROUNDING)


# --- going on from the oblivious attacker's models ---


@pytest.fixture
def stages_run(monkeypatch):
    """(number of models, first stage that was trained) of each group."""
    groups = []
    stacked, alone = workers.run_stages_stacked, workers.run_stages

    def watched_stack(classifiers, recipes, dataset, splits, *, done_before, device):
        groups.append((len(classifiers), list(recipes[0].stages())[done_before]))
        stacked(classifiers, recipes, dataset, splits, done_before=done_before, device=device)

    def watched(classifier, recipe, stages, dataset, split, **options):
        groups.append((1, stages[options["done_before"]]))
        alone(classifier, recipe, stages, dataset, split, **options)

    monkeypatch.setattr(workers, "run_stages_stacked", watched_stack)
    monkeypatch.setattr(workers, "run_stages", watched)
    return groups


@pytest.mark.parametrize("model", [RECIPE.model, Model(name="cnn", args={"width": 4})], ids=["stacked", "alone"])
def test_the_undefended_stage_is_trained_once_for_both_attackers(fleet_of, files, stages_run, model):
    recipe = RECIPE.model_copy(update={"model": model})
    whole = fleet_of(recipe, count=1)
    odds, shadow = whole.references.confidence, whole.shadow.outputs.probabilities
    for path in files():
        path.unlink()
    fleet_of(recipe.undefended(), count=1)
    assert {first for _, first in stages_run} == {"train"}
    stages_run.clear()
    gone_on = fleet_of(recipe, count=1)
    assert {first for _, first in stages_run} == {"qat"}
    np.testing.assert_allclose(gone_on.references.confidence, odds, atol=ROUNDING)
    np.testing.assert_allclose(gone_on.shadow.outputs.probabilities, shadow, atol=ROUNDING)
    assert len({path.parent for path in files()}) == 2


def test_a_model_whose_first_stage_is_missing_is_trained_from_the_start(fleet_of, files, stages_run):
    whole = fleet_of().references.confidence
    for path in files():
        path.unlink()
    fleet_of(RECIPE.undefended())
    files()[1].unlink()
    files()[3].write_bytes(b"damaged")
    stages_run.clear()
    np.testing.assert_allclose(fleet_of().references.confidence, whole, atol=ROUNDING)
    # One stack of 2 from the start, and stacks of equally many members that go on: references 0 and 2, and the shadow.
    assert sorted(stages_run) == [(1, "qat"), (2, "qat"), (2, "train")]


@pytest.mark.parametrize("method", ["rank", "member", "memguard"])
@pytest.mark.parametrize("model", [RECIPE.model, Model(name="cnn", args={"width": 4})], ids=["stacked", "alone"])
def test_a_head_is_put_on_models_that_are_there_without_one(fleet_of, files, stages_run, model, method):
    recipe = RECIPE.model_copy(update={"model": model}).with_changes(head={"method": method})
    whole = fleet_of(recipe, count=1)
    weights = [workers.stored_weights(path, part) for path in files() for part in ("weights/", "head/")]
    for path in files():
        path.unlink()
    fleet_of(recipe.with_changes(head={"method": "none"}), count=1)
    stages_run.clear()
    bare = set(files())
    put_on = fleet_of(recipe, count=1)
    assert not stages_run
    np.testing.assert_allclose(put_on.references.confidence, whole.references.confidence, atol=ROUNDING)
    again = [
        workers.stored_weights(path, part) for path in files() if path not in bare for part in ("weights/", "head/")
    ]
    assert [state.keys() for state in again] == [state.keys() for state in weights]
    for state, expected in zip(again, weights, strict=True):
        for name, value in state.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


def test_a_model_without_its_head_that_is_damaged_goes_on_from_its_first_stage(fleet_of, files, stages_run):
    recipe = RECIPE.with_changes(head={"method": "rank"})
    fleet_of(RECIPE.undefended())
    first = set(files())
    fleet_of(RECIPE)
    next(path for path in files() if path not in first).write_bytes(b"damaged")
    stages_run.clear()
    fleet_of(recipe)
    assert stages_run == [(1, "qat")]


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"flatten": 1.0}},
        {"train": {"relax": 0.5}},
        {"train": {"adversarial": True}, "adversary": {"method": "pgd"}},
        {"model": {"dropout": 0.5}},
        {"train": {"epochs": 0}},
        {"qat": {"epochs": 0}},
    ],
    ids=["flatten", "relax", "adversarial", "dropout", "no train", "one stage"],
)
def test_a_defended_first_stage_is_nobody_elses(changes):
    assert RECIPE.undefended_start() == RECIPE.undefended()
    assert RECIPE.with_changes(**changes).undefended_start() is None


def test_an_undefended_start_says_nothing_of_later_stages():
    other = RECIPE.with_changes(
        robust={"epochs": 3}, adversary={"method": "pgd"}, quantize={"bits": 2}, head={"method": "rank"}
    )
    assert other.undefended_start().training_hash() == RECIPE.undefended_start().training_hash()
    assert other.with_changes(seed=1).undefended_start().training_hash() != other.undefended_start().training_hash()


def changed_image(dataset, split):
    x = dataset.x.copy()
    x[0, 0, 0, 0] = 0.5
    return {"dataset": dataclasses.replace(dataset, x=x)}


@pytest.mark.parametrize(
    "changes",
    [
        lambda dataset, split: {"recipe": RECIPE.with_changes(train={"epochs": 1})},
        lambda dataset, split: {"recipe": RECIPE.with_changes(seed=1)},
        lambda dataset, split: {"recipe": RECIPE.with_changes(quantize={"bits": 8})},
        lambda dataset, split: {"recipe": RECIPE.undefended()},
        changed_image,
        lambda dataset, split: {"split": make_split(dataset, SIZES, seed=1)},
    ],
    ids=["epochs", "seed", "bits", "undefended", "data", "split"],
)
def test_nothing_stale_is_used(fleet_of, files, dataset, split, changes):
    fleet_of(count=0)
    fleet_of(count=0, **changes(dataset, split))
    assert len({path.parent for path in files()}) == 2


def test_changed_code_of_training_makes_the_cache_stale(fleet_of, files, monkeypatch):
    fleet_of(count=0)
    monkeypatch.setattr(references, "code_version", lambda: "another")
    fleet_of(count=0)
    assert len({path.parent for path in files()}) == 2


def test_changed_code_of_a_factory_makes_the_cache_stale(tmp_path, monkeypatch, dataset, split):
    monkeypatch.syspath_prepend(tmp_path)
    keys = set()
    for line in ("", "# changed"):
        (tmp_path / "a_factory.py").write_text(f"def make(num_classes, input_shape): ...\n{line}")
        keys.add(references._key(RECIPE.with_changes(model={"name": "a_factory:make"}), dataset, split, plan(split, 0)))
    assert len(keys) == 2


def test_what_training_does_not_depend_on_keeps_the_cache(fleet_of, files):
    fleet_of(count=0)
    fleet_of(RECIPE.with_changes(audit={"pgd_steps": 3}, export={"profile": "memory"}), count=0)
    assert len(files()) == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(fleet_of, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        fleet_of(count=0)
    assert os.path.isfile(tmp_path / "cache")


def test_reference_models_learn_quantization_steps_of_their_own(fleet_of, dataset, split):
    """By the adaptive attacker's recipe, whether they start at the first stage or after it."""
    recipe = RECIPE.with_changes(quantize={"bits": 2, "quantizer": "lsq"})
    fleet_of(recipe.undefended(), count=2)
    fleet = fleet_of(recipe, count=2)
    candidates = candidates_of(split)
    for r, path in enumerate(fleet.models):
        own = dataclasses.replace(split, members=np.sort(candidates[fleet.references.member[r]]))
        direct = references._reseeded(recipe, r)
        expected = new_classifier(direct, dataset.num_classes, dataset.input_shape)
        run_stages(expected, direct, tuple(direct.stages()), dataset, own, quiet=True)
        load_quantized(expected.network, quantize_weights(expected.network, recipe.quantize))
        found = references.load_model(path, recipe, dataset)
        for name, weight in found.network.named_parameters():
            torch.testing.assert_close(weight, expected.network.get_parameter(name), rtol=1e-3, atol=1e-4)
            if name.endswith("weight"):
                assert all(len(channel.unique()) <= 4 for channel in weight)

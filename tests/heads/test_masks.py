"""Heads in torch: what they do to answers, and how they are trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgepriv.audit.answers import Outputs
from edgepriv.audit.assess import assess
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import Shadow
from edgepriv.errors import UserError
from edgepriv.heads.masks import Generator, Rank, build, from_record, load, masked, record_of, save
from edgepriv.heads.regenerate import member_labels, nonmember_labels, trained_mask
from edgepriv.heads.values import mask_values
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.stages import examples_of

FEW = st.sampled_from([0.0, 0.125, 0.25, 0.5])  # so that there are ties


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(2, 12)), elements=FEW))
def test_rank_places_the_values_by_rank_and_keeps_every_label(answers):
    shown = masked(build("rank", answers.shape[1]), answers)
    assert (shown.argmax(1) == answers.argmax(1)).all()  # ties too: numpy takes the first
    values = np.float32(mask_values(answers.shape[1]))
    assert (-np.sort(-shown, axis=1) == values).all()


def test_member_labels_are_the_answer_of_a_member_and_certainty_of_another():
    answers = np.float32([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    assert member_labels(answers, np.array([True, False])).tolist() == [answers[0].tolist(), [0, 1, 0]]


def test_nonmember_labels_rank_as_the_answer_does():
    answers = np.float32([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])
    first, second, third = np.float32(mask_values(3))
    assert nonmember_labels(answers).tolist() == [[third, first, second], [first, second, third]]


@pytest.fixture(scope="module")
def memorised(overfitted):
    """A network that knows its members by heart: (classifier, recipe, data, split)."""
    dataset, split = overfitted
    recipe = Recipe(
        model={"name": "mlp", "args": {"widths": [256]}}, train={"epochs": 20, "lr": 5e-3, "batch_size": 32}
    )
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run_stages(classifier, recipe, ("train",), dataset, split, quiet=True)
    return classifier, recipe, dataset, split


def outputs(classifier, dataset, index, head=None):
    with torch.no_grad():
        answers = classifier(examples_of(dataset, index).x).softmax(1)
        return Outputs((answers if head is None else head(answers)).numpy(), dataset.y[index])


ATTACKS = ["entropy", "top-1", "ml-leaks", "correctness"]


def audited(classifier, dataset, split, head, shadows_head):
    """Rows of attacks, learnt on the same network's answers about other examples: as good a shadow as there can be."""
    half = len(split.members) // 2
    asked = np.concatenate([split.members[:half], split.non_members[:half]])
    known = np.concatenate([split.members[half:], split.non_members[half:]])
    shadow = Shadow(outputs(classifier, dataset, known, shadows_head), np.isin(known, split.members))
    evidence = Evidence(outputs(classifier, dataset, asked, head), shadow=shadow)
    found = assess(evidence, np.isin(asked, split.members), attacks=ATTACKS, threat_model="any")
    return {row["name"]: row for row in found.attacks}


def test_rank_leaves_nothing_to_attacks_on_the_vector_alone(memorised):
    """Attacks that know the true class still see whether the answer is right: the gap in accuracy stays."""
    classifier, _, dataset, split = memorised
    head = build("rank", dataset.num_classes)
    plain, ranked = (audited(classifier, dataset, split, each, each) for each in (None, head))
    for name in ("entropy", "top-1", "ml-leaks"):
        assert plain[name]["auc"] > 0.65
        assert ranked[name]["auc"] == 0.5
    assert ranked["correctness"]["auc"] == plain["correctness"]["auc"] > 0.65


@pytest.mark.parametrize("method", ["member", "nonmember"])
def test_a_trained_mask_misleads_a_shadow_attack_and_leaks_less_to_one_that_knows_it(memorised, method):
    classifier, recipe, dataset, split = memorised
    asked_for = recipe.with_changes(head={"method": method, "epochs": 400, "lr": 0.01})
    head = trained_mask(asked_for, classifier, dataset, split)
    plain = audited(classifier, dataset, split, None, None)["ml-leaks"]
    oblivious = audited(classifier, dataset, split, head, None)["ml-leaks"]
    adaptive = audited(classifier, dataset, split, head, head)["ml-leaks"]
    assert plain["balanced_accuracy"] > 0.6
    assert oblivious["balanced_accuracy"] < 0.55
    assert adaptive["auc"] < plain["auc"]
    before, after = (outputs(classifier, dataset, split.members, each).probabilities for each in (None, head))
    assert (before.argmax(1) == after.argmax(1)).mean() > 0.95


def test_training_is_deterministic_and_needs_a_holdout(memorised):
    classifier, recipe, dataset, split = memorised
    short = recipe.with_changes(head={"method": "member", "epochs": 1})
    first, second = (trained_mask(short, classifier, dataset, split).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    nobody = replace(split, holdout=np.empty(0, np.int64))
    with pytest.raises(UserError, match=r"data\.holdout"):
        trained_mask(short, classifier, dataset, nobody)


def test_a_head_file_fits_models_with_as_many_classes(tmp_path):
    head = build("nonmember", 4)
    assert isinstance(head, Generator)
    save(tmp_path / "model.head.pt", record_of("nonmember", 4, head.state_dict()))
    answers = np.random.default_rng(0).dirichlet(np.ones(4), 5).astype(np.float32)
    again = from_record(load(tmp_path / "model.head.pt", "nonmember", 4), 4, "it")
    assert (masked(again, answers) == masked(head, answers)).all()
    with pytest.raises(UserError, match="is for 4 classes, but the model has 10"):
        load(tmp_path / "model.head.pt", "nonmember", 10)
    with pytest.raises(UserError, match="--regenerate nonmember"):
        load(tmp_path / "model.head.pt", "member", 4)
    assert isinstance(build("rank", 4), Rank)

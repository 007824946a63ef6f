"""LiRA and RMIA on augmented copies of the candidates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.attacks import ATTACKS, Unavailable
from edgepriv.audit.augmented import copies_asked, copies_of_training, with_copies
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.queries import Asked
from edgepriv.audit.query_evidence import QueryEvidence
from edgepriv.audit.references import Fleet
from edgepriv.audit.statistics import auc
from edgepriv.audit.tempered import HOTTER
from edgepriv.audit.trained_answers import References
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe

AUGMENTED = [name for name, attack in ATTACKS.items() if attack.asks == "augmented"]


def seen_in_copies(effect, *, n=600, references=8, copies=5):
    """Every model errs on each copy by itself: membership is seen ``copies`` times."""
    rng = np.random.default_rng(0)
    difficulty, member = rng.normal(size=n), rng.permutation(n) < n // 2
    halves = [rng.permutation(n) < n // 2 for _ in range(references // 2)]
    trained_on = np.stack([half for chosen in halves for half in (chosen, ~chosen)])

    def seen(inside):
        return difficulty + effect * inside + rng.normal(size=(copies, n))

    target, known = seen(member), [seen(inside) for inside in trained_on]
    each = [
        Evidence(
            Outputs.of_confidence(target[c]), references=References(np.stack([model[c] for model in known]), trained_on)
        )
        for c in range(copies)
    ]
    return replace(each[0], copies=tuple(each)), member


@pytest.mark.parametrize("name", AUGMENTED)
def test_copies_show_what_one_answer_hides_and_nothing_where_nothing_is(name):
    plainly = ATTACKS[name.removeprefix("augmented/")]
    evidence, member = seen_in_copies(1.0)
    alone, together = (auc(attack.run(evidence), member)[0] for attack in (plainly, ATTACKS[name]))
    assert together > alone + 0.05
    nothing, member = seen_in_copies(0.0)
    assert abs(auc(ATTACKS[name].run(nothing), member)[0] - 0.5) < 4 * 0.0236  # four standard errors of 300 against 300


def test_the_score_is_the_mean_of_the_likelihood_ratios_of_the_copies():
    evidence, _ = seen_in_copies(1.0, n=40)
    each = [ATTACKS["lira-online"].run(copy) for copy in evidence.copies]
    np.testing.assert_allclose(ATTACKS["augmented/lira-online"].run(evidence), np.mean(each, axis=0))


def test_a_reference_model_in_the_targets_place_and_a_part_of_the_candidates_keep_their_copies():
    evidence, _ = seen_in_copies(1.0, n=40)
    pretended, member = evidence.with_reference_as_target(3)
    assert len(pretended.copies) == len(evidence.copies)
    np.testing.assert_allclose(pretended.copies[2].target.confidence, evidence.copies[2].references.confidence[3])
    np.testing.assert_array_equal(member, evidence.references.member[3])
    assert [len(copy.target.labels) for copy in evidence.take(np.arange(7)).copies] == [7] * len(evidence.copies)


@pytest.mark.parametrize("how", ["crop", "crop_flip"])
def test_copies_are_crops_and_mirror_images_such_as_training_draws(how):
    x = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)
    made = list(copies_of_training(x, how))
    assert len(made) == copies_asked(how)
    np.testing.assert_array_equal(made[0], x)
    moved = made[-4]
    np.testing.assert_array_equal(moved[:, :, :-2], x[:, :, 2:])
    assert not moved[:, :, -2:].any()  # zeros move in, as in training
    if how == "crop_flip":
        np.testing.assert_array_equal(made[1], x[..., ::-1])


def bright(x):
    """A model that knows how bright an image is."""
    level = x.reshape(len(x), -1).mean(axis=1)
    return np.stack([level, 1 - level], axis=1)


def asked_about(tmp_path: Path, input_shape, changes):
    rng = np.random.default_rng(0)
    x, y = rng.random((6, *input_shape), dtype=np.float32), np.array([0, 1] * 3)
    member = np.array([[True, False] * 3, [False, True] * 3])
    odds = np.stack([log_odds(bright(x), y)] * 2)
    tempered = np.zeros((len(HOTTER), 2, 6), dtype=np.float32)
    plain = Evidence(Outputs(bright(x), y), references=References(odds, member, tempered))
    models = tuple(tmp_path / f"reference-{r}.npz" for r in range(2))
    model, nobody = Asked(bright, None), np.empty((2, 0))
    fleet = Fleet(plain.references, member, nobody, tempered[:, :, :0], np.empty(0, int), 3, None, np.empty(0, int),
                  models=models, ask=lambda path: model)  # fmt: skip
    dataset = Dataset("images", x, y, ("dark", "bright"))
    return x, with_copies(plain, model, dataset, np.arange(6), Recipe(**changes), fleet)


def test_target_and_reference_models_are_asked_about_the_same_copies(tmp_path):
    x, evidence = asked_about(tmp_path, (1, 16, 16), {"train": {"augment": "crop"}})
    for copy, asked in zip(evidence.copies, copies_of_training(x, "crop"), strict=True):
        np.testing.assert_allclose(copy.target.probabilities, bright(asked))
        for known in copy.references.confidence:
            np.testing.assert_allclose(known, copy.target.confidence, rtol=1e-5)
    assert len(list(tmp_path.glob("reference-0.*.npz"))) == 1  # kept beside the model


@pytest.mark.parametrize(
    ("shape", "changes", "reason"),
    [
        ((1, 16, 16), {}, "not known to be trained on augmented copies"),
        ((12,), {"train": {"augment": "crop"}}, "a table has no augmented copies"),
    ],
)
def test_where_there_are_no_copies_the_reason_is_given(tmp_path, shape, changes, reason):
    _, evidence = asked_about(tmp_path, shape, changes)
    assert "augmentation" not in evidence.offers
    with pytest.raises(Unavailable, match=reason):
        ATTACKS["augmented/lira-online"].run(evidence)


def test_augmentation_that_came_with_hardening_counts(tmp_path):
    recipe = {"robust": {"epochs": 2, "augment": "crop_flip"}, "qat": {"epochs": 1, "augment": "crop"}}
    _, evidence = asked_about(tmp_path, (1, 16, 16), recipe)
    assert len(evidence.copies) == copies_asked("crop_flip")


def test_an_attack_that_is_named_is_run_without_augmentation_in_training(tmp_path):
    _, evidence = asked_about(tmp_path, (3, 16, 16), {"audit": {"attacks": "augmented/lira-online"}})
    assert len(evidence.copies) == copies_asked("crop_flip")


def test_a_file_that_returns_labels_only_is_not_asked_for_what_no_attack_can_read():
    def refuse(x):
        raise AssertionError("asked for nothing")

    dataset = Dataset("made up", np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64), ("a", "b"))
    everyone, none = np.arange(4), np.empty((0, 0))
    known = References(np.zeros((2, 4)), np.array([[True, True, False, False], [False, False, True, True]]))
    plain = Evidence(Outputs(np.tile([1.0, 0.0], (4, 1)), dataset.y), references=known, labels_only=True)
    fleet = Fleet(known, known.member, none, none, everyone, 2, None, everyone, (Path("a.npz"), Path("b.npz")))
    asked = QueryEvidence(Asked(refuse, None), dataset, everyone, everyone, Recipe(train={"augment": "crop"}))
    assert asked.evidence("augmented", plain, fleet, None)[1] is plain

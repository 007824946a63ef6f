"""What of the replaying of attacks can be seen without a GPU; the rest is in test_gpu.py."""

import pytest
import torch
from torch import nn

from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.training.loss import frozen_logits, setup_of
from edgepriv.training.pgd import cross_entropy, gradient, perturbed, pgd_budget
from edgepriv.training.recorded import SEEN_BEFORE, Recorder, Replayed
from edgepriv.training.task import task_of

X, Y = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


class Tape:
    """Stands for a recording: answers from the weights that the recorder holds, as a graph reads them."""

    def __init__(self, recorder, asked):
        self.recorder, self.asked, self.replays = recorder, asked, 0

    def replayed(self, x, y):
        self.replays += 1
        return gradient(lambda moved: self.asked(self.recorder.weights, moved), x, y, cross_entropy)


class Taped(Recorder):
    """Records on tapes."""

    def record(self, asked, key, x, y, objective):
        self.recordings[key] = Tape(self, asked.asked)
        return self.recordings[key]


def linear(weights, x):
    return x @ weights["weight"].T


def _replayed(recorder, seed=0):
    weight = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))
    return Replayed(linear, {"weight": weight}, recorder)


def _same(replayed, x=X, y=Y):
    ours, expected = gradient(replayed, x, y, cross_entropy), gradient(replayed.plain, x, y, cross_entropy)
    for own, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_a_pass_is_recorded_once_it_has_been_asked_for_often():
    recorder = Taped()
    for _ in range(SEEN_BEFORE):
        _same(_replayed(recorder))
    assert not recorder.recordings
    _same(_replayed(recorder))
    assert [tape.replays for tape in recorder.recordings.values()] == [1]


def test_a_replay_reads_the_weights_of_whoever_asks():
    recorder = Taped()
    first, second = _replayed(recorder, 1), _replayed(recorder, 2)
    for _ in range(SEEN_BEFORE + 2):
        _same(first)
        _same(second)
    assert sum(tape.replays for tape in recorder.recordings.values()) > SEEN_BEFORE


def test_a_replay_follows_weights_that_were_changed_in_place():
    recorder = Taped()
    replayed = _replayed(recorder)
    for _ in range(SEEN_BEFORE + 2):
        _same(replayed)
        replayed.weights["weight"].mul_(1.5)
    assert sum(tape.replays for tape in recorder.recordings.values()) == 2


def test_batches_of_another_size_are_other_passes():
    recorder = Taped()
    for _ in range(SEEN_BEFORE + 1):
        _same(_replayed(recorder))
    _same(_replayed(recorder), X[:3], Y[:3])
    assert len(recorder.recordings) == 1


def test_weights_of_another_shape_are_not_answered_from_old_recordings():
    recorder = Taped()
    for _ in range(SEEN_BEFORE + 1):
        _same(_replayed(recorder))
    [old] = recorder.recordings.values()
    wider = Replayed(linear, {"weight": torch.randn(5, 6, generator=torch.Generator().manual_seed(1))}, recorder)
    _same(wider)
    [new] = recorder.recordings.values()
    assert new is not old
    assert (old.replays, new.replays) == (1, 1)


def test_where_recording_is_refused_every_pass_is_a_plain_one():
    recorder = Recorder(refused="a reason")
    for _ in range(SEEN_BEFORE + 2):
        _same(_replayed(recorder))
    assert not recorder.recordings


@pytest.mark.parametrize("keep_best", [False, True])
def test_an_attack_by_replays_goes_where_one_by_plain_passes_goes(keep_best):
    recorder = Taped()
    budget = pgd_budget("linf", 0.1, 2 * SEEN_BEFORE)
    replayed = _replayed(recorder)
    moved = [
        perturbed(own, X, Y, budget, torch.Generator().manual_seed(0), keep_best=keep_best)
        for own in (replayed, replayed.plain)
    ]
    torch.testing.assert_close(*moved)
    assert recorder.recordings


def test_nothing_is_recorded_on_the_processor():
    classifier = Classifier(nn.Linear(6, 3), [0.0], [1.0]).eval()
    recipe = Recipe(adversary={"method": "pgd", "eps": 0.05}, device="cpu")
    setup = setup_of(classifier, task_of(classifier.network, recipe, "robust", (6,)), torch.Generator())
    assert setup.recorder is None
    assert not isinstance(frozen_logits(setup), Replayed)

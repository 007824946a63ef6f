"""Extra data that are not what they seem: wrong labels, labels of a model that knew the members, non-members among them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from edgepriv import extra_doubts
from edgepriv.data import ExtraData, checked, make_split
from edgepriv.errors import UserError
from edgepriv.extra_data import with_extra
from edgepriv.extra_doubts import known_by_labels, refuse_trained_on, remarks_on_labels
from edgepriv.recipe import Data, Recipe

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 3
BRIGHT = np.clip(RNG.integers(0, 60, (120, 4, 4)) + 80 * LABELS[:, None, None], 0, 255).astype(np.uint8)
PICTURES = checked("pictures", BRIGHT, LABELS)
SPLIT = make_split(PICTURES, Data(members=30, non_members=20, reference=10, holdout=20, validation=20), 0)
OTHERS = np.clip(RNG.integers(0, 60, (60, 1, 4, 4)) + 80 * (LABELS[:60])[:, None, None, None], 0, 255).astype(np.uint8)


class ByBrightness(nn.Module):
    """Right for each of these pictures."""

    alone = False

    def forward(self, x):
        level = (x.flatten(1).mean(1) * 255 / 80 - 0.37).round().clamp(0, 2).long()
        return nn.functional.one_hot(level, 3).float()


def asked(path, **more):
    recipe = Recipe(train={"epochs": 1}, adversary={"method": "pgd"}, robust={"epochs": 1}, qat={"epochs": 0})
    return recipe.with_changes(extra={"file": f"npz:{path}", "stages": ("robust",), **more})


def test_labels_in_another_order_of_the_classes_are_remarked_on_and_right_ones_are_not():
    recipe = asked("e.npz", labels="given")
    right, other = (replace(PICTURES, extra=ExtraData(OTHERS, (LABELS[:60] + shift) % 3)) for shift in (0, 1))
    assert remarks_on_labels(recipe, right, SPLIT, ByBrightness()) == ([], [])
    _, [doubt] = remarks_on_labels(recipe, other, SPLIT, ByBrightness())
    assert "takes 0.0% of 60 examples for what their labels say, and is right for 100.0% of held-out ones" in doubt


def test_of_labels_that_the_model_gives_it_is_said_how_often_it_is_right():
    dataset = replace(PICTURES, extra=ExtraData(OTHERS, None))
    [note], doubts = remarks_on_labels(asked("e.npz", labels="model"), dataset, SPLIT, ByBrightness())
    assert "right for 100.0% of 20 held-out examples" in note
    assert doubts == []
    assert remarks_on_labels(Recipe(), PICTURES, SPLIT, ByBrightness()) == ([], [])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"sha256": PICTURES.sha256, "split": SPLIT.record()}, "trained on 30 members"),
        (None, "is not known"),
        ({"sha256": "of other data", "split": {}}, None),
    ],
    ids=["on the members", "nobody knows", "on other data"],
)
def test_labels_by_a_checkpoint_that_knows_the_members_are_remarked_on(record, said, monkeypatch):
    monkeypatch.setattr(extra_doubts.checkpoint, "load", lambda path, model: SimpleNamespace(data=record))
    remarks = known_by_labels(asked("e.npz", labels="/teacher.pt"), PICTURES, SPLIT)
    assert [said in remark for remark in remarks] == ([True] if said else [])
    assert known_by_labels(asked("e.npz", labels="model"), PICTURES, SPLIT) == []


def nothing_kept():
    raise UserError("the data are gone")


def test_non_members_that_the_model_was_distilled_on_as_its_own_holdout_are_refused():
    """``edgepriv harden weights.pt --members a --non-members b --dmp 1`` draws the holdout from b."""
    distilled = Recipe(distilled={"epochs": 1}, dmp={"share": 1})
    theirs = replace(SPLIT, holdout=np.concatenate([SPLIT.holdout, SPLIT.non_members[:4]]))
    with pytest.raises(
        UserError, match="4 of the 20 non-members are in the privacy holdout of the data that the model"
    ):
        refuse_trained_on(distilled, PICTURES, SPLIT, lambda: (PICTURES, theirs))
    assert refuse_trained_on(distilled, PICTURES, SPLIT, lambda: (PICTURES, SPLIT)) == []
    x = PICTURES.x.copy()
    x[SPLIT.holdout[0]] = x[SPLIT.non_members[0]]  # left out of the distillation
    copied = replace(PICTURES, x=x)
    assert refuse_trained_on(distilled, copied, SPLIT, lambda: (copied, SPLIT)) == []
    with pytest.raises(UserError, match="the model may have seen them; without --members"):
        refuse_trained_on(distilled.with_changes(dmp={"share": 0.5}), PICTURES, SPLIT, lambda: (PICTURES, theirs))
    [note] = refuse_trained_on(distilled, PICTURES, SPLIT, nothing_kept)
    assert "among the privacy holdout of the model's training is not known: the data are gone" in note


def test_non_members_that_were_trained_on_as_extra_data_are_refused(tmp_path):
    path = tmp_path / "extra.npz"
    np.savez(path, x=np.concatenate([OTHERS, BRIGHT[SPLIT.non_members[:3]][:, None]]))
    with pytest.raises(UserError, match=r"3 of the 20 non-members are in .*extra\.npz, the extra data"):
        refuse_trained_on(asked(path), PICTURES, SPLIT, nothing_kept)
    np.savez(path, x=np.concatenate([OTHERS, BRIGHT[SPLIT.members[:2]][:, None]]))
    assert "2 of the 30 members" in refuse_trained_on(asked(path), PICTURES, SPLIT, nothing_kept)[0]
    path.unlink()
    assert "is not known: no such file" in refuse_trained_on(asked(path), PICTURES, SPLIT, nothing_kept)[0]
    assert refuse_trained_on(Recipe(), PICTURES, SPLIT, nothing_kept) == []


def test_a_file_that_is_gone_is_told_with_what_to_do(tmp_path):
    gone = asked(tmp_path / "extra.npz", sha256="known since training")
    with pytest.raises(UserError, match=r"extra\.npz is gone, .*--threat-model oblivious"):
        with_extra(gone, PICTURES, SPLIT)


def test_they_are_said_once_where_that_is_asked_for(tmp_path, capsys):
    np.savez(tmp_path / "extra.npz", x=OTHERS)
    for quiet in (False, True):
        with_extra(asked(tmp_path / "extra.npz"), PICTURES, SPLIT, quiet=quiet)
    assert capsys.readouterr().err.count("60 examples") == 1

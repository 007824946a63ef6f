"""Examples that repeat others are counted and said."""

import numpy as np

from edgepriv.data import checked, make_split
from edgepriv.data.repeats import notes_on_repeats, prints
from edgepriv.data.split_notes import notes_on_split
from edgepriv.recipe import Data

SIDES = (np.arange(20), np.arange(20, 30))


def test_nothing_is_said_where_no_example_repeats_another():
    x = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    assert notes_on_repeats(x, *SIDES) == []


def test_non_members_that_equal_a_member_and_members_that_repeat_others():
    x = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    x[[3, 4, 5, 9]] = x[0]  # members
    x[[20, 21]] = x[1]  # non-members
    known, repeated = notes_on_repeats(x, *SIDES)
    assert known.startswith("warning: 2 of the 10 non-members are equal to a member")
    assert repeated.startswith("4 of the 20 members repeat another, and one is there 5 times")


def test_pictures_are_compared_as_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    assert list(prints(pixels)) == list(prints((pixels / 255).astype(np.float32)))
    assert len(set(prints(pixels))) == 5


def test_more_examples_than_are_copied_at_a_time():
    x = np.arange(1000, dtype=np.float32)[:, None]
    assert list(prints(x, np.arange(700)[::-1])) == list(prints(x))[:700][::-1]


def test_a_split_says_it():
    x = np.random.default_rng(0).random((200, 3))
    x[:40] = x[0]
    dataset = checked("toy", x, np.arange(200) % 4)
    split = make_split(dataset, Data(members=80, non_members=80, reference=20, holdout=0, validation=20), seed=0)
    inside, outside = (int((getattr(split, role) < 40).sum()) for role in ("members", "non_members"))
    notes = " ".join(notes_on_split(dataset, split))
    assert f"{outside} of the 80 non-members are equal to a member" in notes
    assert f"{inside - 1} of the 80 members repeat another, and one is there {inside} times" in notes

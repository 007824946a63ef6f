"""Recipes: TOML in, every wrong field named, a hash of what training depends on and of nothing else."""

import pytest

from edgepriv import recipe
from edgepriv.errors import UserError
from edgepriv.recipe import Quantize, Recipe, bit_rules, eps_for


def written(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    return path


def test_a_file_lists_only_what_differs_from_the_defaults(tmp_path):
    found = recipe.load(written(tmp_path, 'seed = 3\n[quantize]\nbits = "conv1=8,*=4"\n'))
    assert found == Recipe(seed=3, quantize=Quantize(bits="conv1=8,*=4"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed = -1", ["seed", "-1"]),
        ("[train]\nepoch = 3", ["train.epoch", "3"]),
        ("[train]\nlr = 0.0", ["train.lr"]),
        ("[train]\nlr = nan", ["train.lr"]),
        ("[train]\nlr = inf", ["train.lr"]),
        ('[train]\noptimizer = "adam"', ["train.optimizer", "adamw", "sgd"]),
        ("[quantize]\nbits = 17", ["quantize.bits", "17", "2 to 16"]),
        ("[quantize]\nbits = 1", ["quantize.bits", "2 to 16"]),
        ('[quantize]\nbits = "conv1"', ["quantize.bits", "conv1=8"]),
        ("[data]\nmembers = 1", ["data.members"]),
        ("[qat]\nepochs = 1.5", ["qat.epochs"]),
        ("colour = 1", ["colour"]),
    ],
)
def test_a_wrong_field_is_named_with_its_value(tmp_path, text, named):
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        recipe.load(path)
    assert all(part in str(error.value) for part in [str(path), *named])
    assert "\n" not in str(error.value)


def test_unreadable_recipes_are_named(tmp_path):
    with pytest.raises(UserError, match="no such recipe"):
        recipe.load(tmp_path / "absent.toml")
    with pytest.raises(UserError, match="not readable TOML"):
        recipe.load(written(tmp_path, "[train"))
    with pytest.raises(UserError, match="not readable TOML"):
        recipe.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not readable TOML"):
        recipe.load(tmp_path / "binary.toml")


def test_changes_are_validated_and_none_changes_nothing():
    base = Recipe(seed=5, train={"epochs": 7})
    assert base.with_changes(seed=None, train={"epochs": None, "lr": 0.5}).train.epochs == 7
    assert base.with_changes(train={"lr": 0.5}).train.lr == 0.5
    assert base.with_changes(seed=0).seed == 0
    with pytest.raises(UserError, match=r"train\.epochs.*-1"):
        base.with_changes(train={"epochs": -1})


# --- bit rules ---


def test_the_first_rule_that_matches_wins():
    rule = Quantize(bits="conv1=8, fc*=2 ,*=4")
    assert [rule.bits_of(layer) for layer in ("conv1", "fc2", "conv10", "blocks.0.conv1")] == [8, 2, 4, 4]


def test_a_layer_that_no_rule_matches_is_not_quantized():
    assert Quantize(bits="fc*=2").bits_of("conv1") == 32


def test_a_number_may_come_as_text_from_the_command_line():
    assert Quantize(bits="4") == Quantize(bits=4)
    assert bit_rules(4) == [("*", 4)]


def test_full_width_is_inactive():
    assert not Quantize().active
    assert not Quantize(bits="*=32").active
    assert Quantize(bits="fc=8,*=32").active


# --- the training hash ---


ADVERSARIAL = Recipe(train={"epochs": 1, "adversarial": True}, adversary={"method": "pgd"})


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data": {"members": 10}},
        {"model": {"name": "mlp"}},
        {"model": {"args": {"width": 8}}},
        {"train": {"lr": 0.5}},
        {"qat": {"epochs": 1}},
        {"adversary": {"eps": 0.2}},
        {"quantize": {"bits": 4}},
        {"precision": "float32"},
    ],
)
def test_the_hash_counts_what_training_depends_on(change):
    assert ADVERSARIAL.with_changes(**change).training_hash() != ADVERSARIAL.training_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"export": {"profile": "memory"}},
        {"audit": {"references": 2}},
        {"bench": {"runs": 1}},
        {"qat": {"lr": 0.5}},
        {"quantize": {"granularity": "tensor"}},
    ],
)
def test_the_hash_ignores_what_training_does_not_depend_on(change):
    assert ADVERSARIAL.with_changes(**change).training_hash() == ADVERSARIAL.training_hash()


def test_an_unused_adversary_does_not_count():
    clean = Recipe(adversary={"method": "pgd"})
    assert clean.with_changes(adversary={"eps": 0.2}).training_hash() == clean.training_hash()


def test_the_hash_is_stable_across_processes_and_versions():
    """Caches of reference models stand under this hash: a change of it is a change that users pay for."""
    content = Recipe().model_dump(mode="json")
    assert recipe.parse(content, "test").training_hash() == Recipe().training_hash()
    assert len(Recipe().training_hash()) == 64


# --- derived recipes ---


def test_undefended_drops_every_defence_and_nothing_else():
    defended = Recipe(
        seed=3,
        train={"epochs": 4, "adversarial": True, "flatten": 1.0},
        robust={"epochs": 2},
        qat={"epochs": 2},
        adversary={"method": "pgd"},
        quantize={"bits": 4},
    )
    plain = defended.undefended()
    assert tuple(plain.stages()) == ("train",)
    assert not plain.train.adversarial
    assert plain.train.flatten == 0
    assert not plain.quantize.active
    assert (plain.seed, plain.train.epochs) == (3, 4)


def test_stages_are_those_with_epochs_in_order():
    assert tuple(Recipe(train={"epochs": 0}, robust={"epochs": 1}, qat={"epochs": 2}).stages()) == ("robust", "qat")


def test_stages_that_have_not_run_are_no_part_of_the_training():
    whole = Recipe(robust={"epochs": 1}, qat={"epochs": 1})
    assert tuple(whole.as_run(["train", "qat"]).stages()) == ("train", "qat")
    assert whole.as_run(["train", "robust", "qat"]) == whole


def test_another_norm_forgets_the_lengths_of_the_old_one():
    linf = Recipe(adversary={"eps": 0.1, "step": 0.02})
    assert linf.with_changes(adversary={"norm": "l2"}).adversary.eps is None
    assert linf.with_changes(adversary={"norm": "l2"}).adversary.step is None
    assert linf.with_changes(adversary={"norm": "l2", "eps": 0.3}).adversary.eps == 0.3
    assert linf.with_changes(adversary={"norm": "linf"}) == linf


def test_customary_budgets():
    assert eps_for((1, 28, 28), "linf") == 0.1
    assert eps_for((3, 32, 32), "linf") == 8 / 255
    assert eps_for((446,), "linf") == 0.05
    assert eps_for((3, 32, 32), "l2") == 0.5


def test_a_section_in_a_file_keeps_the_defaults_of_its_stage(tmp_path):
    found = recipe.load(written(tmp_path, "[robust]\nepochs = 3\n[qat]\nepochs = 2\n"))
    assert found.robust.adversarial
    assert found.robust.select == "best"
    assert found.qat.quantized
    assert found.qat.adversarial


def test_a_section_in_python_keeps_them_too():
    assert Recipe(qat={"epochs": 2}).qat == Recipe().with_changes(qat={"epochs": 2}).qat
    assert Recipe(qat={"epochs": 2}).qat.quantized

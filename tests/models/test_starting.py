"""Public weights: what a network takes of a file, what it starts anew, and what is said of both."""

import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.models.starting import held_in, identified, is_unrelated, start_from, taken_by
from edgepriv.recipe import Recipe, Start
from edgepriv.training.held import layers_of


class Backbone(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.stem(x)).mean((2, 3))


class Net(nn.Module):
    """As Hugging Face builds a classifier: a base model under a name, and a head."""

    def __init__(self, classes=3, channels=3):
        super().__init__()
        self.base = Backbone(channels)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.base(x))


@pytest.fixture
def public():
    torch.manual_seed(1)
    return Net(classes=5).state_dict()


@pytest.fixture
def network():
    torch.manual_seed(2)
    return Net()


BASE = {f"base.{name}" for name in Backbone().state_dict()}


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (lambda state: state, None),
        (lambda state: {"model_state_dict": under("module.", state), "epoch": 3}, "read model_state_dict"),
        (lambda state: {"state_dict": under("net.", state)}, "without the prefix net."),
        (
            lambda state: {k.removeprefix("base."): v for k, v in state.items() if "head" not in k},
            "under the prefix base.",
        ),
        (lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, None),
    ],
    ids=["plain", "DataParallel in a container", "a prefix", "the base model alone", "half precision"],
)
def test_the_body_is_taken_and_a_head_of_another_size_is_new(network, public, stored, said):
    taken = taken_by(network, stored(public), "mine:Net", "public.pt")
    assert set(taken.state) == BASE
    assert set(taken.fresh) == {"head.weight", "head.bias"}
    assert torch.allclose(taken.state["base.stem.weight"], public["base.stem.weight"], atol=1e-3)
    summary = taken.summary("public.pt")
    assert summary.startswith("public.pt: 6 of the network's 8 tensors are taken from it")
    assert said is None or said in summary


def test_what_the_file_has_instead_of_a_new_tensor_is_said(network, public):
    assert "new: head.weight ([3, 4], the file has [5, 4])" in taken_by(network, public, "mine:Net", "p.pt").summary(
        "p.pt"
    )


def test_a_head_of_the_same_size_is_taken_too(public):
    assert taken_by(Net(classes=5), public, "mine:Net", "p.pt").fresh == {}


@pytest.mark.parametrize(
    ("channels", "made"), [(1, lambda w: w.sum(1, keepdim=True)), (6, lambda w: w.repeat(1, 2, 1, 1) / 2)]
)
def test_a_first_convolution_is_made_for_other_channels(public, channels, made):
    """As timm does it: grey is the sum of the colours."""
    taken = taken_by(Net(channels=channels), public, "mine:Net", "p.pt")
    assert torch.allclose(taken.state["base.stem.weight"], made(public["base.stem.weight"]))
    assert f"base.stem.weight made of 3 channels for {channels}" in taken.summary("p.pt")


def test_weights_are_preferred_to_their_average(network, public):
    average = {name: value + 1 for name, value in public.items()}
    taken = taken_by(network, {"ema": average, "model": public}, "mine:Net", "p.pt")
    assert torch.equal(taken.state["base.norm.bias"], public["base.norm.bias"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            nn.Linear(4, 3).state_dict(),
            "none of its weights has the names and shapes of model 'mine:Net': it holds weight, bias",
        ),
        ({"epoch": 3}, "none of its weights"),
        ({"base.norm.weight": torch.ones(4), "base.stem.weight": torch.ones(8, 3, 3, 3)}, "none of its weights"),
    ],
    ids=["another network", "no tensors", "vectors alone"],
)
def test_a_file_of_which_nothing_fits_is_refused(network, content, said):
    with pytest.raises(UserError) as refused:
        taken_by(network, content, "mine:Net", "p.pt")
    assert said in str(refused.value)


def test_two_sets_that_fit_equally_are_not_guessed_between(network, public):
    other = {name: value + 1 for name, value in public.items()}
    with pytest.raises(UserError, match="several sets of weights that fit: generator and teacher"):
        taken_by(network, {"generator": public, "teacher": other}, "mine:Net", "p.pt")


def test_a_recipe_knows_the_file_by_its_hash_and_not_by_its_folder(tmp_path, network, public):
    torch.save(public, tmp_path / "public.pt")
    asked = Recipe(start={"path": str(tmp_path / "public.pt")})
    recipe = identified(asked)
    assert recipe.start.file == "public.pt"
    assert len(recipe.start.sha256) == 64
    assert str(tmp_path) not in recipe.model_dump_json()
    assert recipe.with_changes(seed=3).undefended().start.path == asked.start.path
    assert recipe.training_hash() != Recipe().training_hash()
    start_from(network, recipe.start, "mine:Net")
    assert torch.equal(network.base.stem.weight, public["base.stem.weight"])
    torch.save(network.state_dict(), tmp_path / "public.pt")
    with pytest.raises(
        UserError, match=r"is not the file that the model was trained from: that was public.pt with sha256"
    ):
        identified(recipe)


def test_weights_that_are_not_at_hand_are_one_sentence(network):
    with pytest.raises(UserError, match=r"the public weights resnet.pth \(sha256 aaaaaaaaaaaa...\).*--start-weights"):
        start_from(network, Start(file="resnet.pth", sha256="a" * 64), "mine:Net")


def test_layers_that_somebody_else_froze_are_told_by_their_bits(network, public):
    taken = taken_by(network, public, "mine:Net", "p.pt")
    layers = {"base.stem": ["base.stem.weight", "base.stem.bias"], "base.norm": ["base.norm.weight", "base.norm.bias"]}
    layers["head"] = ["head.weight", "head.bias"]
    trained = network.state_dict() | taken.state
    assert held_in(trained, taken, layers) == ("base.stem", "base.norm")
    moved = trained | {"base.norm.running_mean": trained["base.norm.running_mean"] + 1}
    assert held_in(moved, taken, layers) == ("base.stem",)
    assert not is_unrelated({name: value + 0.01 for name, value in trained.items()}, taken)
    large = nn.Linear(200, 200)
    state = taken_by(
        nn.Linear(200, 200), {"weight": torch.randn(200, 200), "bias": torch.zeros(200)}, "mine:Net", "p.pt"
    )
    assert is_unrelated(large.state_dict(), state)


def test_a_layers_own_tensors_do_not_stand_for_those_inside_it():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.randn(4))
            self.norm = nn.Linear(4, 4)

    encoder = nn.Sequential()
    encoder.add_module("encoder", Encoder())
    public = {name: value.clone() for name, value in encoder.state_dict().items()}
    taken = taken_by(encoder, public, "mine:Net", "p.pt")
    moved = public | {"encoder.norm.weight": public["encoder.norm.weight"] + 1}
    assert held_in(moved, taken, layers_of(encoder)) == ("encoder.position",)

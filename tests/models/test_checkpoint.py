"""model.pt: round trip, and a stranger's file can neither run code nor crash the reader."""

import os
import pickle
import zipfile

import pytest
import torch

from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, build_classifier, checkpoint
from edgepriv.recipe import Model, Recipe

SHAPE = (1, 8, 8)
RECIPE = Recipe(model=Model(args={"width": 2}))
DATA = {"name": "digits", "sha256": "0" * 64, "split": {"seed": 0}}


@pytest.fixture
def trained() -> Checkpoint:
    torch.manual_seed(0)
    blank = Checkpoint({}, ("a", "b", "c"), SHAPE, RECIPE, DATA)
    classifier = build_classifier(RECIPE.model, 3, SHAPE)
    return blank.with_weights(classifier, stages=("train",), history=({"epoch": 1, "loss": 0.5},))


@pytest.fixture
def path(tmp_path, trained):
    checkpoint.save(tmp_path / "model.pt", trained)
    return tmp_path / "model.pt"


class TouchesAFile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_what_is_saved_is_loaded(path, trained):
    found = checkpoint.load(path)
    assert found.recipe == trained.recipe
    assert (found.class_names, found.input_shape, found.data) == (("a", "b", "c"), SHAPE, DATA)
    assert (found.stages, found.history) == (("train",), ({"epoch": 1, "loss": 0.5},))
    x = torch.rand(4, *SHAPE)
    assert torch.equal(found.classifier()(x), trained.classifier()(x))
    assert not found.classifier().training


def test_the_same_checkpoint_is_the_same_bytes(tmp_path, trained):
    """Neither the name of the file nor the process that wrote it is inside."""
    for name in ("a.pt", "other.pt"):
        checkpoint.save(tmp_path / name, trained)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_weights_are_copied_not_shared(trained):
    classifier = trained.classifier()
    copied = trained.with_weights(classifier)
    with torch.no_grad():
        classifier.network.conv1.weight.zero_()
    assert copied.state_dict["conv1.weight"].abs().sum() > 0


def test_any_pytorch_reads_it_with_weights_only(path):
    content = torch.load(path, weights_only=True)
    assert content["architecture"] == "cnn"
    assert content["arguments"] == {"width": 2}
    assert set(content["state_dict"]) == set(build_classifier(RECIPE.model, 3, SHAPE).network.state_dict())


# --- files from strangers ---


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, trained, legacy):
    evil = tmp_path / "evil.pt"
    content = {"format_version": 1, "state_dict": trained.state_dict, "extra": TouchesAFile(tmp_path / "it_ran")}
    torch.save(content, evil, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"can run code: save model\.state_dict"):
        checkpoint.load(evil)
    with pytest.raises(UserError, match="can run code"):
        checkpoint.from_state_dict(evil, RECIPE, ("a", "b", "c"), SHAPE, None)
    assert not (tmp_path / "it_ran").exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(TouchesAFile(tmp_path / "it_ran")))
    with pytest.raises(UserError):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "it_ran").exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(UserError, match=r"save model\.state_dict\(\) instead"):
        checkpoint.load(tmp_path / "module.pt")


def test_truncated_files_are_one_sentence(path):
    whole = path.read_bytes()
    for size in [0, 1, 100, len(whole) // 2, len(whole) - 30]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="not a PyTorch checkpoint" if size else "is empty"):
            checkpoint.load(path)


def test_files_of_another_kind_are_one_sentence(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a", "b")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({}, tmp_path / "nothing.pt")
    for name, sentence in [
        ("text.pt", "not a PyTorch checkpoint"),
        ("zip.pt", "not a PyTorch checkpoint"),
        ("tensor.pt", "holds a Tensor; expected"),
        ("list.pt", "holds no weights; expected"),
        ("nothing.pt", "expected an edgepriv checkpoint or a state_dict"),
        ("absent.pt", "no such file"),
    ]:
        with pytest.raises(UserError, match=sentence):
            checkpoint.load(tmp_path / name)
    with pytest.raises(UserError, match="is a folder"):
        checkpoint.load(tmp_path)


def altered(path, **changes):
    content = torch.load(path, weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value != "drop"}, path)
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": 99}, "format 99; this edgepriv reads 1"),
        ({"class_names": "drop"}, "lacks 'class_names'"),
        ({"class_names": None}, "not a whole edgepriv checkpoint"),
        ({"input_shape": 8}, "not a whole edgepriv checkpoint"),
        ({"recipe": "drop"}, "lacks 'recipe'"),
        ({"recipe": {"train": {"epochs": -1}}}, r"train\.epochs"),
        ({"state_dict": {}}, "no state_dict"),
        ({"state_dict": {"w": 1}}, "no state_dict"),
        ({"state_dict": {"w": torch.tensor([float("nan")])}}, r"hold NaN \(first: w\): the training diverged"),
    ],
)
def test_altered_checkpoints_are_one_sentence(path, changes, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        checkpoint.load(altered(path, **changes))
    assert str(path) in str(error.value)


def test_infinite_weights_are_one_sentence_and_infinite_masks_are_none(path, trained):
    state = trained.state_dict | {"fc.bias": torch.full((3,), float("inf"))}
    with pytest.raises(UserError, match=r"NaN or infinity \(first: fc.bias\): the training diverged"):
        checkpoint.load(altered(path, state_dict=state)).classifier()
    classifier = trained.classifier()
    classifier.network.register_buffer("mask", torch.full((2, 2), float("-inf")))
    checkpoint.refuse_infinite(classifier.network)


def test_weights_of_another_architecture_are_one_sentence(path):
    other = build_classifier(Model(args={"width": 4}), 3, SHAPE).network.state_dict()
    with pytest.raises(UserError, match=r"the weights do not fit model 'cnn'.*conv1.weight") as error:
        checkpoint.load(altered(path, state_dict=dict(other))).classifier()
    assert "\n" not in str(error.value)


def test_a_checkpoint_cannot_have_a_module_imported(path, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'it_ran')!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = RECIPE.with_changes(model={"name": "stranger:net"}).model_dump(mode="json")
    altered(path, recipe=recipe)
    for confirmed in (None, Model(name="cnn"), Model(name="other:net")):
        with pytest.raises(UserError, match="asks to import 'stranger:net': pass --model stranger:net if you trust"):
            checkpoint.load(path, confirmed)
    assert not (tmp_path / "it_ran").exists()
    assert checkpoint.load(path, Model(name="stranger:net")).recipe.model.name == "stranger:net"


# --- a bare state_dict ---


@pytest.mark.parametrize("prefix", ["", "module.", "network.", "module.network."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bare_state_dict_with_or_without_prefix(tmp_path, trained, prefix, wrapped):
    state = {prefix + name: value for name, value in trained.state_dict.items()}
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "bare.pt")
    found = checkpoint.from_state_dict(tmp_path / "bare.pt", RECIPE, ("a", "b", "c"), SHAPE, DATA)
    x = torch.rand(2, *SHAPE)
    assert torch.equal(found.classifier()(x), trained.classifier()(x))


def test_a_bare_state_dict_needs_to_be_explained(tmp_path, trained):
    torch.save(trained.state_dict, tmp_path / "bare.pt")
    with pytest.raises(UserError, match="bare state_dict: give it to harden or export"):
        checkpoint.load(tmp_path / "bare.pt")


@pytest.mark.parametrize("content", [{"w": 1}, {1: torch.zeros(2)}, {"w": torch.zeros(2)}])
def test_other_dictionaries_are_one_sentence(tmp_path, content):
    torch.save(content, tmp_path / "bare.pt")
    with pytest.raises(UserError):
        checkpoint.from_state_dict(tmp_path / "bare.pt", RECIPE, ("a", "b", "c"), SHAPE, DATA)

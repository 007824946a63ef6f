"""A handler written for LeakPro, passed as it is: called as LeakPro calls it, by LeakPro's own configuration.

``leakpro`` is a stand-in here, with what handlers take from it.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from interpolating import CLASSES, World

from edgepriv.audit.trainer import load_trained, made, trainer_of
from edgepriv.data import Dataset
from edgepriv.errors import UserError
from edgepriv.models import Classifier

CPU = torch.device("cpu")
STAND_IN = """
from abc import ABC, abstractmethod

from torch.utils.data import Dataset


class AbstractInputHandler(ABC):
    def __init_subclass__(cls, role="full", **kwargs):
        super().__init_subclass__(**kwargs)

    @abstractmethod
    def train(self, dataloader, model, criterion, optimizer): ...

    @abstractmethod
    def eval(self, dataloader, model, criterion, device): ...

    class UserDataset(Dataset, ABC):
        @abstractmethod
        def __init__(self, data, targets, **kwargs): ...

        def __len__(self):
            return len(self.targets)


class TrainingOutput:
    def __init__(self, model, metrics):
        self.model, self.metrics = model, metrics
"""
HANDLER = """
import torch
from leakpro import AbstractInputHandler, TrainingOutput


class Handler(AbstractInputHandler):
    def train(self, dataloader, model, criterion, optimizer, epochs=None):
        assert self.configs.target.model_class == "Net"
        model.train()
        for _ in range(epochs):
            for x, y in dataloader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
        return TrainingOutput(model=model, metrics=self.eval(dataloader, model, criterion))

    def eval(self, loader, model, criterion):
        return {"loss": sum(criterion(model(x), y).item() for x, y in loader)}

    class UserDataset(AbstractInputHandler.UserDataset):
        def __init__(self, data, targets, **kwargs):
            self.data, self.targets = data.float(), targets
            self.mean, self.std = self.data.mean(0), self.data.std(0)

        def __getitem__(self, index):
            return (self.data[index] - self.mean) / self.std, self.targets[index]
"""
NETWORK = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, width=64):
        super().__init__(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 4))
"""
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-training.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The handler, its network, and the configuration that the documentation shows."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    configuration = re.search(r"```yaml\n(target:\n.*?)```", PAGE.read_text(), re.DOTALL)[1]
    files = {"leakpro.py": STAND_IN, "handler.py": HANDLER, "network.py": NETWORK, "audit.yaml": configuration}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name in ("leakpro", "handler", "network"):
            del sys.modules[name]


@pytest.fixture
def dataset():
    world = World.of()
    return Dataset("d", world.x, world.y, tuple(map(str, range(CLASSES))))


def trainer_in(folder):
    return trainer_of("--trainer", f"leakpro:{folder}/handler.py:Handler")


def test_it_trains_on_the_records_and_is_asked_as_it_was_fed(folder, dataset):
    members = np.arange(160)
    trainer = trainer_in(folder)
    assert trainer.title == f"leakpro:{folder}/handler.py:Handler"
    network = made(trainer, dataset, members, seed=3, device=CPU)
    assert isinstance(network, Classifier)
    np.testing.assert_allclose(network.mean.numpy(), dataset.x[members].mean(0), rtol=1e-4)
    np.testing.assert_allclose(network.std.numpy(), dataset.x[members].std(0, ddof=1), rtol=1e-4)
    with torch.no_grad():
        predicted = network(torch.tensor(dataset.x[members])).argmax(1).numpy()
    assert (predicted == dataset.y[members]).mean() > 0.5  # the largest class: 0.28
    again = made(trainer, dataset, members, seed=3, device=CPU)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


FEEDS = "return (self.data[index] - self.mean) / self.std, self.targets[index]"


def test_a_scale_is_undone_beside_augmentation_too(folder, dataset):
    noisy = FEEDS.replace("/ self.std", "/ self.std + 0.1 * torch.randn(12)")
    (folder / "handler.py").write_text(HANDLER.replace(FEEDS, noisy))
    network = made(trainer_in(folder), dataset, np.arange(160), seed=3, device=CPU)
    assert isinstance(network, Classifier)
    np.testing.assert_allclose(network.mean.numpy(), dataset.x[:160].mean(0), atol=0.05)


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ("torch.log1p(5 * self.data[index])", "does more to its records than a scale and a shift"),
        ("self.data[index].flip(0)", "does more to its records than a scale and a shift"),
        ("torch.cat([self.data[index], self.data[index]])", r"makes \[24\] of records \[12\]"),
    ],
)
def test_what_only_its_dataset_does_to_records_is_refused(folder, dataset, feeds, said):
    (folder / "handler.py").write_text(HANDLER.replace(FEEDS, f"return {feeds}, self.targets[index]"))
    (folder / "network.py").write_text(NETWORK.replace("Linear(12,", "LazyLinear(") if "cat" in feeds else NETWORK)
    with pytest.raises(UserError, match=said):
        made(trainer_in(folder), dataset, np.arange(160), seed=3, device=CPU)


def test_its_weights_fit_the_audited_network(folder, dataset):
    """Which is fed by its own mean and std."""
    network = made(trainer_in(folder), dataset, np.arange(160), seed=3, device=CPU)
    into = torch.nn.Sequential(torch.nn.Linear(12, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    load_trained(trainer_in(folder), network, into, "net")
    assert torch.equal(into[0].weight, network.network[0].weight)


def test_a_handler_may_make_its_own_loss_and_optimizer(folder, dataset):
    """As handlers for earlier versions had to; what they read of ``configs``, they read as of a dictionary."""
    own = (
        "\n    def get_criterion(self):\n        return torch.nn.CrossEntropyLoss()\n"
        "\n    def get_optimizer(self, model):\n        return torch.optim.Adam(model.parameters(), self.configs['lr'])\n"
        "\n    class UserDataset"
    )
    (folder / "handler.py").write_text(HANDLER.replace("\n    class UserDataset", own))
    target, _, _ = (folder / "audit.yaml").read_text().partition("shadow_model:")
    own_settings = "shadow_model: {init_params: {}, batch_size: 32, epochs: 2}\n"
    (folder / "audit.yaml").write_text(f"{target}{own_settings}lr: 0.01\n")
    assert isinstance(made(trainer_in(folder), dataset, np.arange(160), seed=3, device=CPU), Classifier)


def test_every_file_that_decides_is_in_the_hash(folder):
    seen = {trainer_in(folder).code}
    for name in ("handler.py", "network.py", "audit.yaml", "leakpro.py"):
        with (folder / name).open("a") as file:
            file.write("\n# another version\n")
        seen.add(trainer_in(folder).code)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("audit.yaml", ("  epochs: 15\n  init_params: {}\n", ""), "leaves out epochs, init_params under shadow_model"),
        ("audit.yaml", ("name: sgd", "name: magic"), "torch.optim has no magic"),
        ("audit.yaml", ("./network.py", "./gone.py"), "no such file: ./gone.py"),
        ("audit.yaml", ("target:", "target: ["), "no readable YAML"),
        ("handler.py", ("def eval", "def evaluate"), "leaves eval to be written"),
        ("handler.py", ("class UserDataset", "class Records"), "defines no UserDataset"),
        ("handler.py", ("import torch\n", "import torchh\n"), "No module named 'torchh'"),
    ],
)
def test_what_is_left_open_is_asked_for(folder, dataset, file, change, said):
    content = (folder / file).read_text()
    lines = content.splitlines(keepends=True)
    if "\n" in change[0] and not change[1]:
        content = "".join(line for line in lines if line not in change[0].splitlines(keepends=True))
    (folder / file).write_text(content.replace(*change))
    with pytest.raises(UserError, match=said):
        made(trainer_in(folder), dataset, np.arange(160), seed=3, device=CPU)


def test_without_a_configuration_nobody_says_which_network_is_trained(folder):
    (folder / "audit.yaml").unlink()
    with pytest.raises(UserError, match=r"put it beside the handler as audit.yaml \(there is none\)"):
        trainer_in(folder)

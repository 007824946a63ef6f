"""The user's own code is all of it: a change of any file that the network is made by is a change of the network."""

import sys

import numpy as np
import pytest
import torch

from edgepriv.errors import UserError
from edgepriv.models.sources import code_of, imported, refuse_unconfirmed
from edgepriv.recipe import Model

NET = """
from torch import nn
from {package}.blocks import width

def make(num_classes, input_shape):
    return nn.Linear(4, width())
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder with a package of the user's, forgotten again at the end: its name is new for each test."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "net.py").write_text(NET.format(package=name))
    (folder / "blocks.py").write_text("def width():\n    from . import deep\n    return deep.WIDTH\n")
    (folder / "deep.py").write_text("WIDTH = 3\n")
    (folder / "apart.py").write_text("WIDTH = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def digest(package):
    return code_of(of(f"{package.name}.net:make"), 3, (4,))


def of(name):
    return Model(name=name)


@pytest.mark.parametrize("file", ["net.py", "blocks.py", "deep.py", "__init__.py"])
def test_any_file_that_the_network_imports_counts(package, file):
    imported(f"{package.name}.net:make")(10, (4,))
    before = digest(package)
    (package / file).write_text((package / file).read_text() + "\nEDITED = True\n")
    assert digest(package) != before


COMPUTED = """
import importlib, json, pathlib
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
SCALES = np.load(HERE / "scales.npy")
deep = importlib.import_module("." + "deep", __package__)

def make(num_classes, input_shape):
    np.random.rand(), torch.rand(1)
    with open(HERE / "settings.json") as file:
        return torch.nn.Linear(json.load(file)["width"], num_classes)
"""


@pytest.mark.parametrize("file", ["scales.npy", "settings.json", "deep.py"])
def test_what_it_reads_or_imports_by_a_computed_name_counts(package, file):
    (package / "net.py").write_text(COMPUTED)
    np.save(package / "scales.npy", np.ones(3))
    (package / "settings.json").write_text('{"width": 4}')
    torch.manual_seed(0)
    state = torch.get_rng_state()
    before = digest(package)
    assert torch.equal(torch.get_rng_state(), state)
    assert digest(package) == before
    (package / file).write_bytes((package / file).read_bytes() + b"\n")
    assert digest(package) != before


def test_a_file_that_it_does_not_import_does_not_count(package):
    before = digest(package)
    (package / "apart.py").write_text("WIDTH = 5\n")
    assert digest(package) == before


def test_what_is_installed_is_not_the_users(package):
    modules = {entry.partition(" ")[0].partition(".")[0] for entry in digest(package)}
    assert modules == {package.name}


def test_a_module_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "own_net_here.py").write_text("def make(num_classes, input_shape):\n    return None\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    assert [entry.partition(" ")[0] for entry in code_of(of("own_net_here:make"), 3, (4,))] == ["own_net_here"]


def test_our_own_architectures_have_no_code_of_the_users():
    assert code_of(of("lenet"), 3, (4,)) == []


@pytest.mark.parametrize("line", ["import no_such_module_anywhere", "1 / 0", "raise SystemError('x')"])
def test_a_module_that_cannot_run_is_one_sentence(package, line):
    (package / "net.py").write_text(line + "\n")
    with pytest.raises(UserError, match=r"net:make' cannot be imported"):
        digest(package)


def test_only_what_the_user_named_is_confirmed():
    refuse_unconfirmed("lenet", None, "m.pt")
    refuse_unconfirmed("a.b:c", Model(name="a.b:c"), "m.pt")
    for confirmed in (None, Model(name="a.b:d")):
        with pytest.raises(UserError, match=r"m\.pt asks to import 'a\.b:c': pass --model a\.b:c if"):
            refuse_unconfirmed("a.b:c", confirmed, "m.pt")

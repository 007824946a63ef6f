"""A small model taken through the whole pipeline once, by the command line."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgepriv import cli

RECIPE = """
[data]
name = "digits"
members = 300
non_members = 300
reference = 300
holdout = 60
validation = 60
[model]
name = "cnn"
args = { width = 4 }
[train]
epochs = 12
lr = 5e-3
[adversary]
method = "pgd"
eps = 0.1
steps = 2
[robust]
epochs = 2
[quantize]
bits = 4
[qat]
epochs = 1
[audit]
robust = "quick"
references = 4
robust_examples = 60
pgd_steps = 3
queried_examples = 20
[bench]
batches = [1]
rounds = 2
runs = 20
"""


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def edgepriv(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process as a shell would."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["edgepriv", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capfd.readouterr()
        return Ran(int(stopped.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipe.toml, float.pt, and out/ as ``edgepriv harden`` leaves it."""
    from edgepriv import pipeline, recipe

    folder = tmp_path_factory.mktemp("hardened")
    (folder / "recipe.toml").write_text(RECIPE)
    settings = recipe.load(folder / "recipe.toml")
    pipeline.train(settings, folder / "float.pt")
    pipeline.harden(folder / "float.pt", settings, {}, folder / "out")
    return folder


@pytest.fixture
def refused(edgepriv: Command) -> Callable[..., str]:
    """Run a command that must end with one sentence and exit code 2; returns the sentence."""

    def run(*arguments: object) -> str:
        ran = edgepriv(*arguments)
        assert ran.code == 2, ran
        sentences = [line for line in ran.err.splitlines() if line.startswith("error: ")]
        assert len(sentences) == 1, ran.err
        assert "Traceback" not in ran.err
        return sentences[0]

    return run

"""A handler written for LeakPro as a training function.

LeakPro calls the handler's ``train`` with a network, a loss and an optimizer of its own making. It makes them by the section
``shadow_model`` of its configuration, and what that leaves out is in ``model_metadata.pkl``: a pickle, which is never loaded
here. As LeakPro does, the methods are given an object with ``configs`` that never went through an ``__init__``.
(github.com/aidotse/LeakPro, 2026: ``input_handler/mia_handler.py``, ``attacks/utils/model_handler.py``, ``schemas.py``.)
"""

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from edgepriv.data import TrainingData
from edgepriv.errors import UserError
from edgepriv.models.classifier import Classifier
from edgepriv.models.scripts import Script, loaded, script_digest

_NAMED = "audit.yaml"
_DRAWS = 16
_ALIKE = 1e-4
"""Of the largest input that a network is fed: what rounding in the arithmetic of a normalisation stays below."""


class _Settings(dict[str, Any]):
    """What handlers read as ``self.configs.target.model_class``, and older ones as ``self.configs["target"]``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, eq=False)
class Setup:
    """Of LeakPro's configuration ``file``: the ``network``'s class, and the section on how it is made and trained."""

    file: Path
    settings: _Settings
    network: Script
    shadow: Mapping[str, Any]


def digest(script: Script) -> str:
    """What tells a handler from other versions of it.

    Args:
        script: that names the handler.

    Returns:
        Hex sha256 of the handler, its configuration, the network's file, and everything of the user's that these import.
    """
    setup = _setup_of(script)
    parts = [script_digest(script), script_digest(setup.network), hashlib.sha256(setup.file.read_bytes()).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def refuse_incomplete(script: Script) -> None:
    """Raise UserError where a handler's network cannot be made and trained by what is written.

    Args:
        script: that names the handler.

    Raises:
        UserError: where the handler cannot be called, or its configuration leaves open how a network is made or trained.
    """
    setup = _setup_of(script)
    network, handler = loaded(setup.network), _handler_in(script)
    missing = [name for name in ("batch_size", *_wanted(handler)) if setup.shadow.get(name) is None]
    if setup.shadow.get("init_params") is None and _takes_arguments(network):
        missing.append("init_params")
    if missing:
        raise UserError(
            f"{script.title}: {setup.file.name} leaves out {', '.join(missing)} under shadow_model. LeakPro then takes them "
            "from model_metadata.pkl, and pickles are never loaded here: write them there, LeakPro reads them too"
        )
    for name, package in (("criterion", nn), ("optimizer", torch.optim)):
        if name in _wanted(handler):
            _class_of(package, setup.shadow[name], script)


def train(script: Script, data: TrainingData, *, seed: int, device: torch.device) -> Any:
    """What the handler trains: as ``edgepriv.audit.trainer`` expects it of a training function.

    Args:
        script: that names the handler.
        data: to train on.
        seed: of torch, for the network's first weights and the order of records.
        device: not used; the handler chooses its own.

    Returns:
        A network; one that its ``UserDataset`` feeds with another scale as a Classifier of that mean and std.
    """
    setup = _setup_of(script)
    network_class, cls = loaded(setup.network), _handler_in(script)
    handler = object.__new__(cls)
    handler.configs = setup.settings
    shadow = setup.shadow
    torch.manual_seed(seed)
    network = network_class(**(shadow.get("init_params") or {}))
    records = cls.UserDataset(torch.tensor(data.x), torch.tensor(data.y))
    loader: DataLoader[Any] = DataLoader(records, batch_size=int(shadow["batch_size"]), shuffle=True)
    loss = handler.get_criterion() if _has(cls, "get_criterion") else _made(nn, shadow["criterion"], script)
    if _has(cls, "get_optimizer"):
        optimizer = handler.get_optimizer(network)
    else:
        optimizer = _made(torch.optim, shadow["optimizer"], script, network.parameters())
    epochs = (int(shadow["epochs"]),) if "epochs" in _wanted(cls) else ()
    result = handler.train(loader, network, loss, optimizer, *epochs)
    trained = result.get("model") if isinstance(result, Mapping) else getattr(result, "model", result)
    return _fed(script, trained.to("cpu").float(), records, data) if isinstance(trained, nn.Module) else trained


def _handler_in(script: Script) -> Any:
    cls = loaded(script)
    if not inspect.isclass(cls) or not callable(getattr(cls, "train", None)):
        raise UserError(f"{script.title} is no handler of LeakPro: a class with train() and UserDataset")
    abstract = [name for name in dir(cls) if getattr(getattr(cls, name), "__isabstractmethod__", False)]
    if abstract:
        raise UserError(f"{script.title} leaves {' and '.join(abstract)} to be written: name the handler that does so")
    own = getattr(cls, "UserDataset", None)
    if not inspect.isclass(own) or not issubclass(own, Dataset) or inspect.isabstract(own):
        raise UserError(f"{script.title} defines no UserDataset, which says how records are fed to its networks")
    return cls


def _setup_of(script: Script) -> Setup:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(f"{script.title}: LeakPro's configuration needs PyYAML: pip install pyyaml") from None
    folder = script.file.resolve().parent
    files = (
        [folder / _NAMED] if (folder / _NAMED).is_file() else sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    )
    if len(files) != 1:
        what = f"there are {', '.join(path.name for path in files)}" if files else "there is none"
        raise UserError(
            f"{script.title}: LeakPro's configuration says which network is trained and how: put it beside the handler "
            f"as {_NAMED} ({what})"
        )
    try:
        settings = _settings(yaml.safe_load(files[0].read_bytes()))
    except yaml.YAMLError as error:
        raise UserError(f"{files[0]} is no readable YAML: {' '.join(str(error).split())[:200]}") from error
    sections = [settings.get(name) if isinstance(settings, dict) else None for name in ("target", "shadow_model")]
    target, shadow = (section if isinstance(section, dict) else {} for section in sections)
    module = shadow.get("module_path") or target.get("module_path")
    name = shadow.get("model_class") or target.get("model_class")
    if not module or not name:
        raise UserError(
            f"{files[0]} names no module_path and model_class under target, so of which network nobody says"
        )
    places = [folder / str(module), Path(str(module))]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise UserError(f"{files[0]}: no such file: {module}")
    return Setup(files[0], settings, Script(file, str(name), script.option), shadow)


def _settings(content: Any) -> Any:
    if isinstance(content, dict):
        return _Settings({name: _settings(value) for name, value in content.items()})
    return [_settings(value) for value in content] if isinstance(content, list) else content


def _has(cls: Any, method: str) -> bool:
    """Whether the handler makes its own, as handlers for earlier versions of LeakPro had to."""
    return callable(getattr(cls, method, None))


def _wanted(cls: Any) -> list[str]:
    """What of ``shadow_model`` the handler's ``train`` needs."""
    own = {"criterion": _has(cls, "get_criterion"), "optimizer": _has(cls, "get_optimizer")}
    try:
        inspect.signature(cls.train).bind(None, None, None, None, None, 1)
        takes_epochs = True
    except TypeError:
        takes_epochs = False
    return [name for name, made in own.items() if not made] + ["epochs"] * takes_epochs


def _takes_arguments(network: Any) -> bool:
    try:
        return bool(inspect.signature(network).parameters)
    except (TypeError, ValueError):
        return True


def _class_of(package: Any, written: Any, script: Script) -> Any:
    """The loss or optimizer of ``{name:, params:}``, whose name LeakPro reads in any case."""
    name = str(written.get("name") if isinstance(written, dict) else written)
    known = {each.lower(): getattr(package, each) for each in dir(package) if inspect.isclass(getattr(package, each))}
    if name.lower() not in known:
        raise UserError(f"{script.title}: {package.__name__} has no {name}")
    return known[name.lower()]


def _made(package: Any, written: Any, script: Script, *arguments: Any) -> Any:
    params = written.get("params") if isinstance(written, dict) else None
    return _class_of(package, written, script)(*arguments, **(params or {}))


def _fed(script: Script, network: nn.Module, records: Dataset[Any], data: TrainingData) -> nn.Module:
    """The network behind the scale and shift by which ``UserDataset`` feeds it. Where that also draws (augmentation), they are
    those of the mean of several draws, if the network knows its records better by them.

    Raises UserError where records become something else in the same way each time, which nobody would do to the audit's.
    """
    x = torch.tensor(data.x[:64])
    seen = torch.stack([_asked(records, len(x)) for _ in range(2)])
    drawn = not torch.equal(seen[0], seen[1])
    if seen.shape[1:] != x.shape:
        raise UserError(
            f"{script.title}: UserDataset makes {list(seen.shape[2:])} of records {list(x.shape[1:])}, which the audit feeds "
            "to the network as they are: let the network do that"
        )
    if torch.equal(seen[0], x) and not drawn:
        return network
    mean = torch.stack([_asked(records, len(x)) for _ in range(_DRAWS)]).mean(0) if drawn else seen[0]
    of_each = (x.transpose(0, 1).flatten(1).double(), mean.transpose(0, 1).flatten(1).double())
    own, fed = (values - values.mean(1, keepdim=True) for values in of_each)
    spread = (own * own).sum(1)
    scale = torch.where(spread > 0, (own * fed).sum(1) / spread.clamp(min=1e-30), torch.ones_like(spread))
    shift = of_each[1].mean(1) - scale * of_each[0].mean(1)
    expected = scale[:, None] * of_each[0] + shift[:, None]
    affine = Classifier(network, (-shift / scale).tolist(), (1 / scale).tolist()) if bool((scale != 0).all()) else None
    if drawn:
        return min((network, *([affine] if affine else [])), key=lambda model: _loss(model, data))
    if affine is None or float((expected - of_each[1]).abs().max()) > _ALIKE * float(of_each[1].abs().max()):
        raise UserError(
            f"{script.title}: UserDataset does more to its records than a scale and a shift, and the audit feeds the network "
            "with records as they are: let the network do that"
        )
    return affine


def _asked(records: Dataset[Any], count: int) -> torch.Tensor:
    return torch.stack([torch.as_tensor(records[i][0]).float() for i in range(count)])


def _loss(model: nn.Module, data: TrainingData) -> float:
    """Cross-entropy on some of its own records."""
    some = slice(None, None, max(1, len(data.y) // 1_000))
    was_training = model.training
    with torch.no_grad():
        logits = model.eval()(torch.tensor(data.x[some]))
    model.train(was_training)
    loss = float(nn.functional.cross_entropy(logits.float(), torch.tensor(data.y[some])))
    return loss if np.isfinite(loss) else float("inf")

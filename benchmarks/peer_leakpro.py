"""The real LeakPro (aidotse/LeakPro), in a process of its own, on what benchmarks/peers_audit.py hands over.

    PYTHONPATH=LEAKPRO:REPOSITORY python peer_leakpro.py given|trains FOLDER OUT [--attacks NAME ...]

It is set up as its users set it up, by a handler and an audit.yaml, with its default temperatures, gamma, offline scale and
variance, and without its search by Optuna, which maximises the AUC on the very membership that is judged.
``given``: reference models that exist already are laid where its ShadowModelHandler keeps trained ones, with the metadata
by which it recognises them; training then is an error. ``trains``: ``run_audit()`` as it is, which trains them by the user's
``train``: AdamW and a cosine schedule, as many steps of as many examples as edgepriv takes.
"""

import argparse
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from peers_given import Given, read, write_answer

from edgepriv.torchvision_compat import import_torchvision

import_torchvision("models")  # LeakPro imports it too, and it may be a build for another torch

import joblib  # noqa: E402
from leakpro import AbstractInputHandler, LeakPro  # noqa: E402
from leakpro.attacks.utils.shadow_model_handler import ShadowModelHandler  # noqa: E402
from leakpro.schemas import (  # noqa: E402
    DataLoaderConfig,
    EvalOutput,
    LossConfig,
    MIAMetaDataSchema,
    OptimizerConfig,
    ShadowModelTrainingSchema,
    TrainingOutput,
)

ATTACKS = [f"{name}-{mode}" for name in ("rmia", "base", "lira") for mode in ("online", "offline")]
NOT_KNOWN = EvalOutput(accuracy=0.0, loss=0.0)


class Trains(AbstractInputHandler):
    """What LeakPro asks its user for: records, how to train on them, how to evaluate."""

    class UserDataset(AbstractInputHandler.UserDataset):
        def __init__(self, data: torch.Tensor, targets: torch.Tensor, **_: Any) -> None:
            self.data, self.targets = data, targets

    def train(self, dataloader: Any, model: Any, criterion: Any, optimizer: Any, epochs: int) -> TrainingOutput:
        total, right, loss_sum = len(dataloader) * epochs, 0, 0.0
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 0.5 * (1 + math.cos(math.pi * s / total)))
        model.train()
        for epoch in range(epochs):
            for x, y in dataloader:
                optimizer.zero_grad()
                logits = model(x)
                loss = criterion(logits, y)
                loss.backward()
                optimizer.step()
                schedule.step()
                if epoch == epochs - 1:
                    right += int((logits.argmax(1) == y).sum())
                    loss_sum += loss.item() * len(y)
        count = len(dataloader.dataset)
        return TrainingOutput(model=model, metrics=EvalOutput(accuracy=right / count, loss=loss_sum / count))

    def eval(self, loader: Any, model: Any, criterion: Any) -> EvalOutput:
        model.eval()
        right, loss_sum, count = 0, 0.0, len(loader.dataset)
        with torch.no_grad():
            for x, y in loader:
                logits = model(x)
                right += int((logits.argmax(1) == y).sum())
                loss_sum += criterion(logits, y).item() * len(y)
        return EvalOutput(accuracy=right / count, loss=loss_sum / count)


class TrainsNothing(Trains):
    def train(self, *_: Any, **__: Any) -> TrainingOutput:
        raise RuntimeError("LeakPro did not recognise the reference models that it was given")


def lay_out(given: Given, attacks: list[str], out: Path) -> Path:
    """The target, its metadata, the population (the candidates) and audit.yaml, where LeakPro looks for them."""
    stage, target = given.recipe.train, out / "target"
    target.mkdir(parents=True)
    n = given.candidates
    population = Trains.UserDataset(torch.from_numpy(given.x[:n]), torch.from_numpy(given.y[:n]))
    joblib.dump(population, out / "population.pkl")
    torch.save(given.state("target"), target / "target_model.pkl")
    metadata = MIAMetaDataSchema(
        train_indices=list(range(given.members)),
        test_indices=list(range(given.members, n)),
        num_train=given.members,
        init_params=given.arguments,
        optimizer=OptimizerConfig(name="AdamW", params={"lr": stage.lr, "weight_decay": stage.weight_decay}),
        criterion=LossConfig(name="CrossEntropyLoss", params={}),
        data_loader=DataLoaderConfig(params={"batch_size": stage.batch_size, "shuffle": True}),
        epochs=stage.epochs,
        train_result=NOT_KNOWN,
        test_result=NOT_KNOWN,
        dataset=given.recipe.data.name,
    )
    joblib.dump(metadata, target / "model_metadata.pkl")
    asked = [{"attack": name.split("-")[0], "online": name.endswith("-online")} for name in attacks]
    config = {
        "audit": {
            "random_seed": given.recipe.seed,
            "attack_list": [one | {"num_shadow_models": len(given.member)} for one in asked],
            "attack_type": "mia",
            "data_modality": "tabular",  # the one without a modality extension, which only RaMIA asks for
            "output_dir": str(out / "audit"),
        },
        "target": {
            "module_path": str(Path(__file__).with_name("peers_given.py")),
            "model_class": "Network",
            "target_folder": str(target),
            "data_path": str(out / "population.pkl"),
        },
    }
    path = out / "audit.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def keep_as_trained(given: Given) -> None:
    """Write the given reference models as ShadowModelHandler.create_shadow_models would have."""
    handler = ShadowModelHandler()
    for r, state in enumerate(given.references()):
        index = np.flatnonzero(given.member[r]).tolist()
        known = ShadowModelTrainingSchema(
            init_params=handler.init_params,
            train_indices=index,
            num_train=len(index),
            optimizer=handler.optimizer_name,
            optimizer_params=handler.optimizer_config,
            criterion=handler.criterion_name,
            criterion_params=handler.loss_config,
            epochs=handler.epochs,
            batch_size=handler.batch_size,
            train_result=NOT_KNOWN,
            test_result=NOT_KNOWN,
            model_class=handler.model_class,
            model_module_path=handler.model_path,
            target_model_hash=handler.target_model_hash,
            population_hash=handler.population_hash,
        )
        torch.save(state, Path(handler.storage_path) / f"{handler.model_storage_name}_{r}.pkl")
        with open(Path(handler.storage_path) / f"{handler.metadata_storage_name}_{r}.pkl", "wb") as file:
            pickle.dump(known, file)


def scored(attack: Any) -> Any:
    """As its scheduler runs an attack, without the plots of each result."""
    attack.prepare_attack()
    return attack.run_attack()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["given", "trains"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--attacks", nargs="+", default=ATTACKS, choices=ATTACKS)
    options = parser.parse_args()
    given = read(options.folder)
    np.random.seed(given.recipe.seed)  # noqa: NPY002 - LeakPro draws from it
    torch.manual_seed(given.recipe.seed + 1)
    path = lay_out(given, options.attacks, options.out)
    tool = LeakPro(Trains if options.mode == "trains" else TrainsNothing, str(path))
    if options.mode == "given":
        keep_as_trained(given)
        results = [scored(attack) for attack in tool.attack_scheduler.attacks]
    else:
        results = tool.run_audit()
    truth = np.arange(given.candidates) < given.members
    if any(not np.array_equal(np.ravel(result.true).astype(bool), truth) for result in results):
        sys.exit("error: LeakPro's results are not in the order of the candidates")
    scores = {name: np.ravel(result.signal_values) for name, result in zip(options.attacks, results, strict=True)}
    own = {
        name: {"auc": float(result.roc_auc), "fixed_fpr": result.fixed_fpr_table, "settings": result.metadata}
        for name, result in zip(options.attacks, results, strict=True)
    }
    write_answer(options.out, scores, own)


if __name__ == "__main__":
    main()

"""The real ML Privacy Meter (privacytrustlab/ml_privacy_meter), in a process of its own, on what peers_audit.py hands over.

    PYTHONPATH=ML_PRIVACY_METER:REPOSITORY python peer_privacy_meter.py given|trains FOLDER OUT

Its only attack with reference models is RMIA offline: softmax at temperature 1, ``a`` chosen by attacking the target's
paired model (trained on the candidates that the target was not trained on) with one reference model. ``given``: its
``get_model_signals`` and ``audit_models`` on models that exist already. ``trains``: its whole ``run_mia.main``, which trains
the target and the paired model as well, on its own halves of the candidates, in its own loop and schedule. The recipe's
architecture is added where its README says that architectures are added, in ``models/utils.py``'s ``get_model``.
"""

import argparse
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from peers_given import Given, read, write_answer

from edgepriv.torchvision_compat import import_torchvision

import_torchvision("models")  # the peer imports it too, and it may be a build for another torch

import models.utils  # noqa: E402
import run_mia  # noqa: E402
from audit import audit_models  # noqa: E402
from dataset import TabularDataset  # noqa: E402
from get_signals import get_model_signals  # noqa: E402
from util import initialize_seeds  # noqa: E402

ITS_RATE = 0.1
"""By which its schedule multiplies every learning rate (``lr_update`` in trainers/default_trainer.py)."""


def config_of(given: Given, out: Path) -> dict[str, Any]:
    stage = given.recipe.train
    return {
        "run": {"random_seed": given.recipe.seed, "log_dir": str(out), "time_log": False, "num_experiments": 1},
        "audit": {
            "privacy_game": "privacy_loss_model",
            "algorithm": "RMIA",
            "num_ref_models": len(given.member) // 2,  # pairs; one model of each is OUT for a candidate
            "device": "cpu",
            "report_log": "report",
            "batch_size": 1000,
        },
        "train": {
            "model_name": "recipe",
            "device": "cpu",
            "batch_size": stage.batch_size,
            "optimizer": "AdamW",
            "learning_rate": stage.lr / ITS_RATE,
            "weight_decay": stage.weight_decay,
            "epochs": stage.epochs,
        },
        "data": {"dataset": given.recipe.data.name, "data_dir": str(out / "data")},
    }


def audited(given: Given, out: Path) -> np.ndarray:
    """Its scores of the given models: the target and its pair first, then the reference models in pairs."""
    config, n = config_of(given, out), given.candidates
    logger = logging.getLogger("privacy meter")
    networks = [given.loaded(name) for name in ("target", "complement")]
    networks += [given.loaded(f"reference-{r:04d}") for r in range(len(given.member))]
    target = np.arange(n) < given.members
    memberships = np.stack([target, ~target, *given.member])
    candidates, population = TabularDataset(given.x[:n], given.y[:n]), TabularDataset(given.x[n:], given.y[n:])
    signals = get_model_signals(networks, candidates, config, logger)
    of_population = get_model_signals(networks, population, config, logger, is_population=True)
    pairs = len(given.member) // 2
    scores, _ = audit_models(str(out / "report"), [0], signals, of_population, memberships, pairs, logger, config)
    return scores[0]


def trained(given: Given, out: Path) -> None:
    """Its whole run, which leaves ``report/exp/attack_result_0.npz``."""
    data, n = out / "data", given.candidates
    data.mkdir()
    for suffix, rows in (("", slice(n)), ("_population", slice(n, None))):
        with open(data / f"{given.recipe.data.name}{suffix}.pkl", "wb") as file:
            pickle.dump(TabularDataset(given.x[rows], given.y[rows]), file)
    (out / "config.yaml").write_text(yaml.safe_dump(config_of(given, out)))
    models.utils.get_model = lambda *_: given.fresh()
    sys.argv = ["run_mia.py", "--cf", str(out / "config.yaml")]
    run_mia.main()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["given", "trains"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    given = read(options.folder)
    options.out.mkdir(parents=True, exist_ok=True)
    initialize_seeds(given.recipe.seed)
    if options.mode == "given":
        write_answer(options.out, {"rmia-offline": audited(given, options.out)}, {})
        return
    trained(given, options.out)
    with np.load(options.out / "report" / "exp" / "attack_result_0.npz", allow_pickle=False) as file:
        scores, member = np.ravel(file["scores"]), np.ravel(file["memberships"]).astype(bool)
    # Its target has other members than ours: members first, as everywhere.
    write_answer(options.out, {"rmia-offline": np.concatenate([scores[member], scores[~member]])}, {})


if __name__ == "__main__":
    main()

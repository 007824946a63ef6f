"""A model of the user's own script, attacked by reference models of that script and by models of a made-up recipe.

The script is benchmarks/chest_script.py: resnet18 on chest X-rays, with augmentation and a loss that weighs the classes. One
picture of each patient, averaged down to 32x32, so that no patient is on both sides. The model is exported with 8 bits and
audited twice: with ``--trainer``, and without, where reference models are trained by the recipe's defaults, as they are for any
network from elsewhere.

    python benchmarks/own_training.py [--members 400] [--references 8] [--device auto] [-o benchmarks/results/own_training.json]

Models are kept in --folder, where a run that was cut off goes on.
"""

import argparse
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chest_script
import numpy as np
import torch

import edgepriv
from edgepriv.data import TrainingData, default_data_dir
from edgepriv.device.machine import machine
from edgepriv.files import read_json, write_json
from edgepriv.training.device import device_of

ATTACKS = "loss,lira-offline,lira-online,rmia-offline,rmia-online"
FACTORY = "chest_script:make"
RESULTS = Path(__file__).parent / "results" / "own_training.json"


def parts(count: int, seed: int, folder: Path) -> dict[str, Path]:
    """``count`` members and as many non-members as .npz files, one picture of each patient; those in the folder if they are."""
    written = {name: folder / f"{name}.npz" for name in ("members", "non_members")}
    if all(path.exists() for path in written.values()):
        return written
    with np.load(default_data_dir() / "chestxray64.npz", allow_pickle=False) as archive:
        _, first = np.unique(archive["patient_train"], return_index=True)
        chosen = np.random.default_rng(seed).permutation(first)[: 2 * count]
        pictures, labels = archive["x_train"][chosen], archive["y_train"][chosen]
    small = pictures.reshape(-1, 1, 32, 2, 32, 2).mean((3, 5)).round().astype(np.uint8)
    for name, rows in (("members", slice(count)), ("non_members", slice(count, None))):
        np.savez(written[name], x=small[rows], y=labels[rows].astype(np.int64))
    return written


def audited(model: Path, references: int, cache: Path, **options: Any) -> dict[str, Any]:
    """What an audit with reference models finds, and how well these do."""
    started = time.perf_counter()
    result = edgepriv.audit(
        model,
        model=FACTORY,
        attacks=ATTACKS,
        references=references,
        threat_model="adaptive",
        robust="none",
        float_twin=False,
        accept_weak_references=True,
        cache_dir=cache,
        force=True,
        out=model.with_suffix(".audit.json"),
        **options,
    )
    rows = [row for row in result.attacks if row["threat_model"] in ("adaptive", "none")]
    return {
        "likeness": read_json(result.file, "audit")["likeness"]["adaptive"],
        "attacks": {row["name"]: row for row in rows},
        "warnings": list(result.warnings),
        "seconds": time.perf_counter() - started,
    }


def measured(count: int, references: int, seed: int, folder: Path, device: str) -> dict[str, Any]:
    files = parts(count, seed, folder)
    with np.load(files["members"], allow_pickle=False) as archive:
        data = TrainingData(archive["x"].astype(np.float32) / 255, archive["y"], 3)
    weights = folder / "weights.pt"
    if not weights.exists():
        torch.save(chest_script.train(data, seed=seed, device=device_of(device)).cpu().state_dict(), weights)
    exported = edgepriv.export(
        weights,
        model=FACTORY,
        mean=chest_script.MEAN,
        std=chest_script.STD,
        bits=8,
        out=folder / "model.onnx",
        force=True,
        **files,
    )
    trainer = str(Path(__file__).with_name("chest_script.py")) + ":train"
    return {
        "accuracy": exported.accuracy,
        "trainer": audited(exported.model, references, folder / "cache", trainer=trainer, device=device),
        "made up": audited(exported.model, references, folder / "cache", device=device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=400)
    parser.add_argument("--references", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...: where models are trained")
    parser.add_argument("--folder", type=Path, help="where models are kept; a run that was cut off goes on there")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measures = measured(options.members, options.references, options.seed, folder, options.device)
    of_run = {name: getattr(options, name) for name in ("members", "references", "seed")}
    of_run["device"] = str(device_of(options.device))
    write_json(options.output, {"machine": machine(), "edgepriv": version("edgepriv"), "run": of_run} | measures)
    for name in ("trainer", "made up"):
        aucs = ", ".join(f"{attack} {row['auc']:.3f}" for attack, row in measures[name]["attacks"].items())
        print(f"{name}: likeness {measures[name]['likeness']}; AUC {aucs}")


if __name__ == "__main__":
    main()

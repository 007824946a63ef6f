"""What attacks find with few reference models, against what the best of them finds with many: Location-30.

    python benchmarks/fewer_references.py [--seeds 3] [--few 4] [--many 16] [-o benchmarks/results/fewer_references.json]

For each seed a perceptron is trained, exported with 8 bits and audited twice. The same reference models serve both audits: the
first ones of the many are the few. Models are kept in --folder, where a run that was cut off goes on.
"""

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import edgepriv
from edgepriv.device.machine import machine
from edgepriv.files import write_json

KNOWN_BEFORE = (
    "lira-offline,lira-online,lira-offline-fixed,lira-online-fixed,rmia-offline,rmia-online,difficulty-calibration"
)
ADDED = "bavaria-offline,bavaria-online"
FPR = "0.001"
RESULTS = Path(__file__).parent / "results" / "fewer_references.json"


def target(seed: int, folder: Path) -> Path:
    """The file of a seed, made unless it is in the folder."""
    model = folder / f"location-{seed}.onnx"
    if not model.exists():
        trained = model.with_suffix(".pt")
        edgepriv.train(
            data="location30", model="mlp", widths=[128], epochs=15, lr=0.002, seed=seed, out=trained, force=True
        )
        edgepriv.export(trained, bits=8, out=model)
    return model


def found_by(model: Path, references: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Attack -> its AUC and TPR at 0.1% FPR with that many reference models."""
    audited = edgepriv.audit(
        model,
        attacks=f"{KNOWN_BEFORE},{ADDED}",
        references=references,
        threat_model="adaptive",
        robust="none",
        float_twin=False,
        cache_dir=folder / "cache",
        out=folder / f"{model.stem}.{references}.audit.json",
        force=True,
    )
    return {
        row["name"]: {"auc": row["auc"], "auc_ci": row["auc_ci"], **row["tpr_at_fpr"][FPR]} for row in audited.attacks
    }


def means(seeds: list[dict[str, Any]], references: str) -> dict[str, float]:
    """Attack -> its mean TPR over the seeds."""
    names = seeds[0][references]
    return {name: sum(seed[references][name]["value"] for seed in seeds) / len(seeds) for name in names}


def main() -> None:
    """Print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--many", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fewer_references")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    seeds: list[dict[str, Any]] = []
    for seed in range(asked.seeds):
        model = target(seed, asked.folder)
        seeds.append(
            {"seed": seed, **{str(count): found_by(model, count, asked.folder) for count in (asked.few, asked.many)}}
        )
        few, many = means(seeds, str(asked.few)), means(seeds, str(asked.many))
        best_before = max((name for name in many if name in KNOWN_BEFORE.split(",")), key=lambda name: many[name])
        best_few = max(few, key=lambda name: few[name])
        summary = {
            "few": {"references": asked.few, "attack": best_few, "tpr": few[best_few]},
            "many": {"references": asked.many, "attack": best_before, "tpr": many[best_before]},
        }
        write_json(
            asked.out,
            {
                "data": "location30",
                "versions": {name: version(name) for name in ("edgepriv", "torch", "onnxruntime")},
                "machine": machine(),
                "fpr": float(FPR),
                "seeds": seeds,
                "means": {str(asked.few): few, str(asked.many): many},
                "strongest": summary,
            },
        )
        print(f"{len(seeds)} seeds, TPR at 0.1% FPR: {asked.few} references | {asked.many} references")
        for name in sorted(many, key=lambda name: -few.get(name, 0)):
            print(f"  {name:24} {few.get(name, float('nan')):7.1%} | {many[name]:7.1%}")
        print(f"  strongest: {best_few} {few[best_few]:.1%} | {best_before} {many[best_before]:.1%}")


if __name__ == "__main__":
    main()

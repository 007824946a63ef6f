"""How often an audit calls a proof violated that is kept: randomised response, which spends its epsilon to the last bit.

Each record's membership is told truly with probability e^epsilon / (1 + e^epsilon): no attack on these answers can show more
than epsilon, and some show all of it. A hundred attacks look at them: the answers themselves, and the answers with noise of
their own. Half of the records are members, drawn by chance. At most 5% of runs may say that the proof is violated. A control
claims half of the epsilon that is spent: those runs should say so.

    python benchmarks/violation_audit.py [--runs 500] [-o benchmarks/results/violation_audit.json]
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.audit.epsilon import epsilon_part
from edgepriv.audit.statistics import clopper_pearson

SETTINGS = [(epsilon, delta, records) for epsilon in (0.5, 2.0, 4.0) for delta, records in ((0.0, 1000), (1e-5, 1000))]
ATTACKS = 100
RESULTS = Path(__file__).parent / "results" / "violation_audit.json"


def one(epsilon: float, delta: float, records: int, seed: int) -> dict[str, bool]:
    """What an audit of ``records`` randomised responses claims.

    ``warned``: a kept proof called violated; ``one_run``: its bound above epsilon; ``f_dp``: that of the f-DP form, which is
    about Gaussian mechanisms; ``control``: half of the epsilon claimed, and called violated.
    """
    rng = np.random.default_rng([seed, records])
    member = rng.permutation(records) < records // 2
    told = np.where(rng.random(records) < expit(epsilon), member, ~member)
    noise = np.r_[0.0, np.geomspace(0.01, 3, ATTACKS - 1)]
    names = [f"a{k}" for k in range(ATTACKS)]
    scores: dict[str, np.ndarray] = {"member": member}
    scores |= {f"none/{name}": told + sd * rng.normal(size=records) for name, sd in zip(names, noise, strict=True)}
    rows = [{"threat_model": "none", "name": name} for name in names]
    part = epsilon_part(rows, scores, None, delta=delta, seed=seed)

    shown = compare_with_guarantee({"epsilon": epsilon, "delta": delta}, rows, scores, seed, drawn=True)
    claims = {
        "warned": shown["warning"] is not None,
        "one_run": part["one_run"]["lower_bound"] > epsilon,
        "control": shown["lower_bound"] > epsilon / 2,
    }
    return claims | ({"f_dp": part["f_dp"]["lower_bound"] > epsilon} if delta else {})


def shares(epsilon: float, delta: float, records: int, runs: int) -> dict[str, float]:
    """Of ``runs``, the share in which each claim was made."""
    claims = [one(epsilon, delta, records, run) for run in range(runs)]
    return {name: sum(claim[name] for claim in claims) / runs for name in claims[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="Draws in all, spread over the settings.")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    runs = -(-options.runs // len(SETTINGS))
    rows: list[dict[str, Any]] = []
    for epsilon, delta, records in SETTINGS:
        started = time.perf_counter()
        with threadpool_limits(1):
            share = shares(epsilon, delta, records, runs)
        rows.append({"epsilon": epsilon, "delta": delta, "records": records, "runs": runs, "share": share})
        told = "  ".join(f"{name} {value:.1%}" for name, value in share.items())
        print(f"epsilon {epsilon:g} delta {delta:g}: {told} ({time.perf_counter() - started:.0f} s)", flush=True)
    claimed, every = round(sum(row["share"]["warned"] for row in rows) * runs), runs * len(rows)
    low, high = clopper_pearson(claimed, every)
    print(
        f"proofs called violated that are kept: {claimed} of {every} runs, {claimed / every:.1%} [{low:.1%}, {high:.1%}]"
    )
    overall = {"runs": every, "warned": claimed, "share": claimed / every, "ci": [low, high]}
    options.output.write_text(json.dumps({"attacks": ATTACKS, "rows": rows, "overall": overall}, indent=1) + "\n")


if __name__ == "__main__":
    main()

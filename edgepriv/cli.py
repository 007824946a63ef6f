"""The verbs on the command line: parse, call the api, print."""

import errno
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgepriv import recipe as recipes
from edgepriv.errors import GateFailed, UserError
from edgepriv.recipe import Recipe

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From a PyTorch classifier to one small, robust, private and audited ONNX file.",
)

ADVERSARIES = {
    "none": {"method": "none"},
    "fgsm": {"method": "fgsm"},
    "pgd": {"method": "pgd", "norm": "linf"},
    "pgd-l2": {"method": "pgd", "norm": "l2"},
}
OUTPUTS = ("probabilities", "logits", "label")
BOTH = ("adaptive", "oblivious")
DROPOUT = 0.5
INTERRUPTED = 130
RESUME = "interrupted: run the same command again to go on where it stopped"
UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EROFS,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}

RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="TOML file; options given here win over it.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where named data sets are; default $EDGEPRIV_DATA or the cache folder.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the data set if it is not there.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
DataName = Annotated[
    str | None, typer.Option("--data", help="digits, fashion_mnist, ..., npz:FILE, csv:FILE, folder:DIR.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="lenet, resnet20, mlp, cnn, a torchvision classifier, pkg.mod:factory.")
]
Widths = Annotated[str | None, typer.Option(help="Hidden widths of an mlp, such as 512,256.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the split, the weights and the order of examples.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of this stage.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples in a batch.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
Adv = Annotated[str | None, typer.Option("--adv", help="Adversarial training: none, fgsm, pgd or pgd-l2.")]
Eps = Annotated[float | None, typer.Option(help="Radius of the perturbations, in input units ([0, 1]).")]
Norm = Annotated[str | None, typer.Option(help="Norm of the perturbations: linf or l2.")]
Steps = Annotated[int | None, typer.Option(help="Gradient steps of PGD in training.")]
Bits = Annotated[str | None, typer.Option(help="Width of the weights: 2 to 16, 32, or rules such as conv1=8,*=4.")]
FirstLast = Annotated[int | None, typer.Option(help="Width of the first and the last layer: 2 to 16, or 32.")]
LastK = Annotated[int | None, typer.Option(help="Quantize only so many layers, counted from the last.")]
Granularity = Annotated[str | None, typer.Option(help="One scale for each tensor, channel or block:N.")]
QUANTIZERS = "minmax, famili, famili-printed, dorefa or lsq"
QuantizerName = Annotated[str | None, typer.Option("--quantizer", help=f"How weights are rounded: {QUANTIZERS}.")]
Flatten = Annotated[float | None, typer.Option(help="Weight lambda of posterior flattening.")]
Relax = Annotated[float | None, typer.Option(help="RelaxLoss: hold the training loss at this level, in nats.")]
Patience = Annotated[
    int | None, typer.Option(help="Keep the best held-out epoch; stop after so many without a better.")
]
DpEpsilon = Annotated[
    float | None, typer.Option(help="Differentially private training (DP-SGD): the epsilon to spend.")
]
NoiseMethod = Annotated[
    str | None, typer.Option("--noise", help="Retrain on members with noise: shapley (optimal) or uniform.")
]
NoiseTau = Annotated[float | None, typer.Option(help="Entropy of a noisy member's prediction to reach, in nats.")]
NoiseEps = Annotated[float | None, typer.Option(help="Largest noise on a feature, in input units ([0, 1]).")]
NoiseBeta = Annotated[float | None, typer.Option(help="Share of it that the most important feature loses.")]
NoiseAlpha = Annotated[float | None, typer.Option(help="Share of the teacher's answers in the loss on noisy members.")]
NoiseEpochs = Annotated[
    int | None, typer.Option(help="Epochs on noisy members, from new weights; default those of edgepriv train.")
]
Regenerate = Annotated[str | None, typer.Option(help="Head behind the softmax: member, nonmember or rank.")]
Baseline = Annotated[str | None, typer.Option(help="A known defence to compare with: dropout or memguard.")]
Precision = Annotated[str | None, typer.Option(help="Arithmetic of training: auto, float32 or bfloat16.")]
Profile = Annotated[str | None, typer.Option(help="Layout of the integer weights: latency, memory or portable.")]
Compute = Annotated[str | None, typer.Option(help="Activations inside packed layers: float32, or int8 (faster).")]
InputType = Annotated[str | None, typer.Option("--input", help="What the file takes: float32 in [0, 1], or uint8.")]
OutputForm = Annotated[str | None, typer.Option("--output", help="What it returns: probabilities, logits or label.")]
Ort = Annotated[bool | None, typer.Option("--ort", help="Write a .ort file too, for onnxruntime's minimal builds.")]
Members = Annotated[Path | None, typer.Option(help=".npz with x and y: examples that the model was trained on.")]
NonMembers = Annotated[Path | None, typer.Option(help=".npz with x and y: examples that it was not trained on.")]


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--out", "--output", help="Checkpoint to write.")] = Path("model.pt"),
    data: DataName = None,
    model: ModelName = None,
    widths: Widths = None,
    adv: Adv = None,
    eps: Eps = None,
    steps: Steps = None,
    bits: Bits = None,
    first_last: FirstLast = None,
    last_k: LastK = None,
    granularity: Granularity = None,
    quantizer: QuantizerName = None,
    flatten: Flatten = None,
    baseline: Annotated[str | None, typer.Option(help="A known defence to compare with: dropout.")] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    relax: Relax = None,
    patience: Patience = None,
    dp_epsilon: DpEpsilon = None,
    dp_delta: Annotated[float | None, typer.Option(help="Its delta; default 1 / (10 x members).")] = None,
    dp_clip: Annotated[float | None, typer.Option(help="Bound on the L2 norm of each example's gradient.")] = None,
    seed: Seed = None,
    precision: Precision = None,
    members: Members = None,
    non_members: NonMembers = None,
    recipe: RecipeFile = None,
    data_dir: DataDir = None,
    download: Download = False,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """Train a model from scratch."""
    from edgepriv import api

    asked = _recipe(recipe).with_changes(
        seed=seed,
        precision=precision,
        data={"name": _data_name(data, members, non_members)},
        model=_model(model, widths) | _training_baseline(baseline),
        train={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "flatten": flatten,
            "relax": relax,
            **_stopping(patience),
            "adversarial": None if adv is None else adv != "none",
            "quantized": None if bits is None else True,
        },
        adversary=_adversary(adv, eps, None, steps),
        dp={"epsilon": dp_epsilon, "delta": dp_delta, "clip": dp_clip},
        quantize=_quantize(bits, first_last, last_k, granularity, quantizer),
    )
    result = api.train(asked, output, data_dir=data_dir, download=download, force=force)
    _print(json_, result, lambda: _trained(result))


@app.command()
def harden(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL.pt", help="Checkpoint, or a bare state_dict with --model and --data.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help="Folder to write into.")] = Path("out"),
    bits: Bits = None,
    first_last: FirstLast = None,
    last_k: LastK = None,
    granularity: Granularity = None,
    quantizer: QuantizerName = None,
    adv: Adv = None,
    eps: Eps = None,
    steps: Steps = None,
    flatten: Flatten = None,
    relax: Relax = None,
    patience: Patience = None,
    dp_epsilon: Annotated[float | None, typer.Option(hidden=True)] = None,
    noise: NoiseMethod = None,
    noise_tau: NoiseTau = None,
    noise_eps: NoiseEps = None,
    noise_beta: NoiseBeta = None,
    noise_alpha: NoiseAlpha = None,
    noise_epochs: NoiseEpochs = None,
    regenerate: Regenerate = None,
    head: Annotated[Path | None, typer.Option(help="A model.head.pt to use instead of training a head.")] = None,
    baseline: Baseline = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of adversarial training.")] = None,
    qat_epochs: Annotated[int | None, typer.Option(help="Epochs of quantization-aware fine-tuning.")] = None,
    ptq: Annotated[bool, typer.Option("--ptq", help="Round the trained weights, without fine-tuning.")] = False,
    profile: Profile = None,
    compute: Compute = None,
    input_: InputType = None,
    output_form: OutputForm = None,
    ort: Ort = None,
    precision: Precision = None,
    data: DataName = None,
    model: ModelName = None,
    widths: Widths = None,
    seed: Seed = None,
    members: Members = None,
    non_members: NonMembers = None,
    recipe: RecipeFile = None,
    data_dir: DataDir = None,
    download: Download = False,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """Harden a trained model: adversarial training, quantization-aware fine-tuning, export."""
    from edgepriv import api

    if ptq and (qat_epochs or flatten):
        raise UserError(
            "--ptq rounds trained weights without fine-tuning, which --qat-epochs and --flatten belong to: drop it or them"
        )
    given = _for_bare_state_dict(recipe, data, model, widths, seed, members, non_members)
    changes = {
        "precision": precision,
        "noise": {"method": noise, "tau": noise_tau, "eps": noise_eps, "beta": noise_beta, "alpha": noise_alpha},
        "noisy": {"epochs": noise_epochs, "relax": relax, **_stopping(patience)},
        "robust": {"epochs": epochs, "relax": relax, **_stopping(patience)},
        "qat": {"epochs": 0 if ptq else qat_epochs, "flatten": flatten, "relax": relax, **_stopping(patience)},
        "dp": {"epsilon": dp_epsilon},
        "adversary": _adversary(adv, eps, None, steps),
        "quantize": _quantize(bits, first_last, last_k, granularity, quantizer),
        "export": _export_settings(profile, compute, input_, output_form, ort),
        **_baseline(baseline, regenerate),
    }
    result = api.harden(
        checkpoint, given, changes, output, head=head, data_dir=data_dir, download=download, force=force
    )
    _print(json_, result, lambda: _exported(result))


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL.pt", help="Checkpoint, or a bare state_dict with --model and --data.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("model.onnx"),
    bits: Bits = None,
    first_last: FirstLast = None,
    last_k: LastK = None,
    granularity: Granularity = None,
    quantizer: QuantizerName = None,
    profile: Profile = None,
    compute: Compute = None,
    input_: InputType = None,
    output_form: OutputForm = None,
    ort: Ort = None,
    data: DataName = None,
    model: ModelName = None,
    widths: Widths = None,
    seed: Seed = None,
    members: Members = None,
    non_members: NonMembers = None,
    recipe: RecipeFile = None,
    data_dir: DataDir = None,
    download: Download = False,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """Export a checkpoint to ONNX with integer weights, and prove parity."""
    from edgepriv import api

    given = _for_bare_state_dict(recipe, data, model, widths, seed, members, non_members)
    changes = {
        "quantize": _quantize(bits, first_last, last_k, granularity, quantizer),
        "export": _export_settings(profile, compute, input_, output_form, ort),
    }
    result = api.export(checkpoint, given, changes, output, data_dir=data_dir, download=download, force=force)
    _print(json_, result, lambda: _exported(result))


@app.command()
def audit(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file that ships.")],
    members: Members = None,
    non_members: NonMembers = None,
    attacks: Annotated[str | None, typer.Option(help="all, quick, or names separated by commas.")] = None,
    references: Annotated[int | None, typer.Option(help="Reference models to train.")] = None,
    threat_model: Annotated[str | None, typer.Option(help="adaptive, oblivious or both.")] = None,
    eps: Eps = None,
    norm: Norm = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps of PGD in the audit.")] = None,
    robust_examples: Annotated[int | None, typer.Option(help="Non-members to perturb.")] = None,
    queried_examples: Annotated[
        int | None, typer.Option(help="Candidates for the attacks that ask the model many times for each.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Where reference models are trained: local, or dask:tcp://HOST:PORT.")
    ] = None,
    float_twin: Annotated[bool, typer.Option(help="Audit the float twin too.")] = True,
    cut_head: Annotated[
        bool, typer.Option("--cut-head", help="Audit the file without its head, as whoever holds it can.")
    ] = False,
    fail_if: Annotated[
        list[str] | None, typer.Option(help='Exit 3 if exceeded: "auc>0.55", "tpr@0.01>0.03", "robust_accuracy<0.6".')
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", "--output", help="JSON to write; default MODEL.audit.json.")
    ] = None,
    data_dir: DataDir = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where reference models are kept; default the data folder.")
    ] = None,
    recipe: RecipeFile = None,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """Attack a deployed model: what it leaks about its training data, how perturbed inputs break it."""
    from edgepriv import api
    from edgepriv.project import beside
    from edgepriv.report import tables
    from edgepriv.report.attack_tables import attack_tables
    from edgepriv.report.summary import proven

    asked: dict[str, dict[str, Any]] = {
        "adversary": {"eps": eps, "norm": norm},
        "audit": {
            "attacks": attacks,
            "references": references,
            "threat_models": _threat_models(threat_model),
            "robust_examples": robust_examples,
            "pgd_steps": steps,
            "queried_examples": queried_examples,
            "engine": engine,
        },
    }
    changes = _audit_settings(recipe, asked) if recipe else asked

    def report(result: dict[str, Any]) -> None:
        file = (output or beside(model, "cut-head.audit.json" if cut_head else "audit.json")).name
        shown = [*attack_tables(result, file), tables.robustness_table(result["robustness"])]
        _print(json_, result, lambda: [*shown, *(finding.sentence for finding in proven(result))])
        if (result.get("dp") or {}).get("warning"):
            print(f"warning: {result['dp']['warning']}", file=sys.stderr)

    try:
        result = api.audit(
            model,
            changes,
            members=members,
            non_members=non_members,
            output=output,
            data_dir=data_dir,
            cache_dir=cache_dir,
            float_twin=float_twin,
            cut_head=cut_head,
            limits=fail_if or (),
            force=force,
        )
    except GateFailed as failed:
        report(failed.audit)
        raise
    report(result)


@app.command()
def attacks(json_: AsJson = False) -> None:
    """The membership attacks that an audit knows, and what each needs."""
    from edgepriv import api
    from edgepriv.report import tables

    result = api.attacks()
    _print(json_, result, lambda: tables.known_attacks_tables(result))


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file that ships.")],
    against: Annotated[
        list[Path] | None, typer.Option(help="Other .onnx files to measure beside it (repeatable).")
    ] = None,
    imports: Annotated[
        list[Path] | None,
        typer.Option(
            "--import",
            help="JSON that the device kit's bench printed on a device (repeatable); added to MODEL.bench.json, "
            "which is measured only if there is none.",
        ),
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Inferences timed in each process.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Processes for each model.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch size (repeatable).")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads, 0 for all (repeatable).")] = None,
    recipe: RecipeFile = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", "--output", help="JSON to write; default MODEL.bench.json.")
    ] = None,
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """Measure size, latency and memory beside the float twin, each in a fresh process."""
    from edgepriv import api
    from edgepriv.report import tables

    settings = {"runs": runs, "rounds": rounds, "batches": batch or None, "threads": threads or None}
    result = api.bench(
        model,
        _recipe(recipe).with_changes(bench=settings),
        against=against or (),
        imports=imports or (),
        output=output,
        force=force,
    )
    _print(json_, result, lambda: tables.bench_tables(result))


@app.command()
def compare(
    models: Annotated[list[Path], typer.Argument(metavar="A.onnx B.onnx ...", help="Models to set side by side.")],
    runs: Annotated[int | None, typer.Option(help="Inferences timed in each process.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Processes for each model.")] = None,
    recipe: RecipeFile = None,
    json_: AsJson = False,
) -> None:
    """One table: size, latency, memory, accuracy, robust accuracy, leakage."""
    from edgepriv import api
    from edgepriv.report import tables

    result = api.compare(models, _recipe(recipe).with_changes(bench={"runs": runs, "rounds": rounds}))
    _print(json_, result, lambda: tables.compare_table(result))


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx|MODEL.pt")],
    json_: AsJson = False,
) -> None:
    """What a file is: weights by layer and bits, profile, recipe."""
    from edgepriv import api
    from edgepriv.report import tables

    result = api.show(path)
    _print(json_, result, lambda: tables.show_tables(result))


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option("-o", "--out", "--output", help="Folder to write into.")] = Path("quickstart"),
    force: Force = False,
    json_: AsJson = False,
) -> None:
    """The whole pipeline on scikit-learn's digits: train, harden, export, audit, bench, report."""
    from edgepriv import quickstart as pipeline
    from edgepriv.report import tables

    result = pipeline.run(output, force=force, say=_console_for_progress().print)
    _print(
        json_, result, lambda: [tables.verdict_table(result["rows"]), result["verdict"], f"report: {result['report']}"]
    )


@app.callback(invoke_without_command=True)
def _root(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show_version:
        typer.echo(f"edgepriv {version('edgepriv')}")
        raise typer.Exit()


def main() -> None:
    """Run a command; bad input is one sentence on standard error and exit code 2."""
    try:
        sys.exit(app(standalone_mode=True))
    except SystemExit as ended:
        if ended.code != INTERRUPTED:
            raise
        code, message = INTERRUPTED, RESUME  # typer turns Ctrl-C into this exit, without a word
    except UserError as error:
        code, message = 2, f"error: {_one_line(error)}"
    except GateFailed as error:
        code, message = 3, f"limit exceeded: {_one_line(error)}"
    except KeyboardInterrupt:
        code, message = INTERRUPTED, RESUME
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        code, message = 2, f"error: {error.strerror}: {error.filename or 'while writing'}"
    except MemoryError:
        code, message = 2, "error: not enough memory for this model or data set"
    print(message, file=sys.stderr)
    sys.exit(code)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _recipe(path: Path | None) -> Recipe:
    return recipes.load(path) if path else Recipe()


def _audit_settings(path: Path, asked: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a recipe file says of an audit, under the options; how the model was trained is the manifest's to say."""
    settings = _recipe(path).with_changes(**asked)
    changes: dict[str, dict[str, Any]] = {"audit": settings.audit.model_dump()}
    if settings.adversary != Recipe().adversary:
        changes["adversary"] = {"eps": settings.adversary.eps, "norm": settings.adversary.norm}
    return changes


def _for_bare_state_dict(
    path: Path | None,
    data: str | None,
    model: str | None,
    widths: str | None,
    seed: int | None,
    members: Path | None,
    non_members: Path | None,
) -> Recipe | None:
    """The recipe that options describe, or None when they describe none and the checkpoint speaks for itself."""
    name = _data_name(data, members, non_members)
    if path is None and name is None and model is None:
        return None
    return _recipe(path).with_changes(seed=seed, data={"name": name}, model=_model(model, widths))


def _data_name(data: str | None, members: Path | None, non_members: Path | None) -> str | None:
    if (members is None) != (non_members is None):
        raise UserError("--members and --non-members go together")
    if members is None or non_members is None:
        return data
    if data is not None:
        raise UserError(
            "--data names a data set to split; --members and --non-members say what the split is: pass one or the other"
        )
    return f"members:{members.resolve()}|{non_members.resolve()}"


def _model(name: str | None, widths: str | None) -> dict[str, Any]:
    if widths is None:
        return {"name": name}
    try:
        return {"name": name, "args": {"widths": [int(width) for width in widths.split(",")]}}
    except ValueError:
        raise UserError(f"--widths {widths!r}: expected whole numbers such as 512,256") from None


def _adversary(adv: str | None, eps: float | None, norm: str | None, steps: int | None) -> dict[str, Any]:
    if adv is not None and adv not in ADVERSARIES:
        raise UserError(f"unknown adversarial training {adv!r}: known are {', '.join(ADVERSARIES)}")
    return {"eps": eps, "norm": norm, "steps": steps} | (ADVERSARIES[adv] if adv else {})


def _quantize(
    bits: str | None, first_last: int | None, last_k: int | None, granularity: str | None, quantizer: str | None
) -> dict[str, Any]:
    return {
        "bits": bits,
        "first_last": first_last,
        "last_k": last_k,
        "granularity": granularity,
        "quantizer": quantizer,
    }


def _baseline(name: str | None, regenerate: str | None) -> dict[str, dict[str, Any]]:
    """The sections that ``--baseline`` and ``--regenerate`` change."""
    if name not in (None, "dropout", "memguard"):
        raise UserError(f"unknown baseline {name!r}: known are dropout and memguard")
    if regenerate not in (None, "none", "member", "nonmember", "rank"):
        raise UserError(f"unknown head {regenerate!r}: known are member, nonmember and rank")
    if name == "memguard" and regenerate not in (None, "none"):
        raise UserError("--baseline memguard and --regenerate both change the answers: pass one of them")
    return {
        "model": {"dropout": DROPOUT if name == "dropout" else None},
        "head": {"method": name if name == "memguard" else regenerate},
    }


def _training_baseline(name: str | None) -> dict[str, Any]:
    if name not in (None, "dropout"):
        raise UserError(f"--baseline {name!r}: train knows dropout; memguard is for harden")
    return {} if name is None else {"dropout": DROPOUT}


def _stopping(patience: int | None) -> dict[str, Any]:
    return {"patience": patience, "select": "best" if patience is not None else None}


def _export_settings(
    profile: str | None, compute: str | None, input_: str | None, output: str | None, ort: bool | None
) -> dict[str, Any]:
    if output is not None and output not in OUTPUTS:
        raise UserError(f"--output {output!r}: known are {', '.join(OUTPUTS)} (the file to write is named by -o)")
    return {"profile": profile, "compute": compute, "input": input_, "output": output, "ort": ort}


def _threat_models(asked: str | None) -> tuple[str, ...] | None:
    if asked is None:
        return None
    if asked not in {*BOTH, "both"}:
        raise UserError(f"unknown threat model {asked!r}: known are adaptive, oblivious and both")
    return BOTH if asked == "both" else (asked,)


def _trained(result: dict[str, Any]) -> str:
    last = result["history"][-1]
    line = f"{result['checkpoint']}: training accuracy {last['accuracy']:.1%} after {last['epoch']} epochs"
    dp = result["defences"].get("dp")
    if dp is None:
        return line
    return (
        f"{line}\ndifferential privacy: epsilon {dp['epsilon']:.3g} at delta {dp['delta']:.2g} spent in {dp['steps']:,} steps "
        f"(noise multiplier {dp['noise_multiplier']:.3g}, gradients clipped to {dp['clip']:g})"
    )


def _exported(result: dict[str, Any]) -> str:
    parity, settings = result["parity"], result["export"]
    size = f"{result['model']}: {result['size_bytes']:,} bytes"
    if "float" in result:
        size += (
            f", {result['size_bytes'] / result['float']['size_bytes']:.3f} of its float twin {result['float']['file']}"
        )
    lines = [size]
    if result["ort"]:
        lines.append(f"{result['ort']['file']}: {result['ort']['size_bytes']:,} bytes, as onnxruntime has optimized it")
    if settings["input"] == "uint8":
        lines.append("input: bytes, 0 to 255")
    if settings["output"] != "probabilities":
        lines.append(f"output: {settings['output']}")
    largest = "" if parity["max_difference"] is None else f"max |dp| {parity['max_difference']:.1e}, "
    lines.append(f"parity with torch on {parity['n']} real inputs: {largest}no label changed")
    if parity["int8"]:
        inside = parity["int8"]
        largest = "" if inside["max_difference"] is None else f"max |dp| {inside['max_difference']:.1e}, "
        lines[-1] += " (with float activations)"
        lines.append(f"activations of 8 bits: {largest}{inside['labels_changed']} of {inside['n']} labels changed")
        if "MatMulNBits" not in result["ops"]:
            lines.append("no layer is large enough to gain by computing in int8: this file computes in float32")
    lines += _notes(result)
    if "noise" in result.get("defences", {}):
        lines.append(_noise_line(result["defences"]["noise"]))
    if result.get("head"):
        lines += _head_lines(result["head"])
    return "\n".join(lines)


def _noise_line(noise: dict[str, Any]) -> str:
    shapley = "share_all" in noise
    within = "within every bound for" if shapley else "for"
    return (
        f"{noise['method']} noise on {noise['members']:,} members: entropy {noise['mean_entropy_before']:.3g} -> "
        f"{noise['mean_entropy_after']:.3g} nats, as high as asked {within} "
        f"{noise['share_all' if shapley else 'share_entropy']:.1%}; label kept for {noise['share_label_kept']:.1%}; "
        f"mean L2 norm {noise['mean_norm']:.3g}"
    )


def _head_lines(head: dict[str, Any]) -> list[str]:
    if head["method"] == "memguard":
        return [
            f"MemGuard: mean L1 distance of the answers {head['mean_l1_distance']:.3g} (budget {head['epsilon']:g}), its own "
            f"attack {head['attack_accuracy_plain']:.1%} -> {head['attack_accuracy_guarded']:.1%}",
            "warning: MemGuard is not in the .onnx: ship model.memguard.npz with it and answer through device/predict.py; the "
            "kits for Node and the browser refuse, and any other program shows the model's own probabilities",
        ]
    sides = {"members": "labels_changed_members", "holdout examples": "labels_changed_holdout"}
    changed = " and ".join(f"{head[key]:.2%} of the {side}" for side, key in sides.items() if key in head)
    given = ", trained for another model" if "trained" in head else ""
    return [
        f"head {head['method']}{given}: it changes the label of {changed}; edgepriv audit --cut-head shows what it hides"
    ]


def _notes(result: dict[str, Any]) -> list[str]:
    """What differs from what one may expect of the weights in the file."""
    from edgepriv.artifact.left_float import BY_RECIPE

    left = result["left_float"]
    chosen = [name.removesuffix(".weight") for name, reason in left.items() if reason == BY_RECIPE]
    lines = list(result["notes"])
    if chosen:
        lines.append(f"float by the recipe: {', '.join(chosen)}")
    return lines + [f"left float: {name} ({reason})" for name, reason in left.items() if reason != BY_RECIPE]


def _console_for_progress() -> Console:
    return Console(stderr=True, highlight=False)


def _print(as_json: bool, result: Any, readable: Callable[[], Any]) -> None:
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    console = Console(highlight=False)
    shown = readable()
    for part in shown if isinstance(shown, list) else [shown]:
        console.print(part, soft_wrap=isinstance(part, str))


if __name__ == "__main__":
    main()

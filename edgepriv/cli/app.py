"""The commands: each parses its options, calls the api, and prints what it returns."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from edgepriv.accuracy import MAX_DROP
from edgepriv.cli import options
from edgepriv.cli.messages import console_for_progress, print_result
from edgepriv.errors import GateFailed, UserError
from edgepriv.report.said import exported, trained
from edgepriv.report.utility import accuracy_lines, accuracy_table, cost_in_accuracy

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From a PyTorch classifier to one small, robust, private and audited ONNX file.",
)


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--out", "--output", help="Checkpoint to write.")] = Path("model.pt"),
    data: options.DataName = None,
    model: options.ModelName = None,
    widths: options.Widths = None,
    model_arg: options.ModelArgs = None,
    mean: options.Mean = None,
    std: options.Std = None,
    input_range: options.InputRange = None,
    batch_dependent: options.BatchDependent = False,
    label: options.Label = None,
    image_size: options.ImageSize = None,
    channels: options.Channels = None,
    adv: options.Adv = None,
    eps: options.Eps = None,
    steps: options.Steps = None,
    bits: options.Bits = None,
    first_last: options.FirstLast = None,
    last_k: options.LastK = None,
    granularity: options.Granularity = None,
    quantizer: options.QuantizerName = None,
    flatten: options.Flatten = None,
    baseline: Annotated[str | None, typer.Option(help="A known defence to compare with: dropout.")] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    relax: options.Relax = None,
    patience: options.Patience = None,
    dp_epsilon: options.DpEpsilon = None,
    dp_delta: Annotated[float | None, typer.Option(help="Its delta; default 1 / (10 x members).")] = None,
    dp_clip: Annotated[float | None, typer.Option(help="Bound on the L2 norm of each example's gradient.")] = None,
    seed: options.Seed = None,
    precision: options.Precision = None,
    members: options.Members = None,
    non_members: options.NonMembers = None,
    accept_accuracy_loss: options.AcceptAccuracyLoss = False,
    recipe: options.RecipeFile = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    force: options.Force = False,
    json_: options.AsJson = False,
) -> None:
    """Train a model from scratch."""
    from edgepriv import api

    asked = options.recipe_in(recipe).with_changes(
        seed=seed,
        precision=precision,
        data={"name": options.data_name(data, members, non_members)}
        | options.reading(label, image_size, channels, input_range),
        model=options.model_settings(model, widths, model_arg)
        | options.preprocessing(mean, std, input_range)
        | options.training_baseline(baseline)
        | {"batch_dependent": batch_dependent or None},
        train={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "flatten": flatten,
            "relax": relax,
            **options.stopping(patience),
            "adversarial": None if adv is None else adv != "none",
            "quantized": None if bits is None else True,
        },
        adversary=options.adversary_settings(adv, eps, None, steps),
        dp={"epsilon": dp_epsilon, "delta": dp_delta, "clip": dp_clip},
        quantize=options.quantize_settings(bits, first_last, last_k, granularity, quantizer),
    )
    result = api.train(
        asked,
        output,
        accept_accuracy_loss=accept_accuracy_loss,
        data_dir=data_dir,
        download=download,
        force=force,
        recipe_file=recipe,
    )
    print_result(json_, result, lambda: [trained(result), *accuracy_lines(result["accuracy"])])


@app.command()
def harden(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL.pt", help="Checkpoint, or a bare state_dict with --model and --data.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help="Folder to write into.")] = Path("out"),
    bits: options.Bits = None,
    first_last: options.FirstLast = None,
    last_k: options.LastK = None,
    granularity: options.Granularity = None,
    quantizer: options.QuantizerName = None,
    adv: options.Adv = None,
    eps: options.Eps = None,
    steps: options.Steps = None,
    flatten: options.Flatten = None,
    relax: options.Relax = None,
    patience: options.Patience = None,
    dp_epsilon: Annotated[float | None, typer.Option(hidden=True)] = None,
    noise: options.NoiseMethod = None,
    noise_tau: options.NoiseTau = None,
    noise_eps: options.NoiseEps = None,
    noise_beta: options.NoiseBeta = None,
    noise_alpha: options.NoiseAlpha = None,
    noise_epochs: options.NoiseEpochs = None,
    regenerate: options.Regenerate = None,
    head: Annotated[Path | None, typer.Option(help="A model.head.pt to use instead of training a head.")] = None,
    baseline: options.Baseline = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of adversarial training.")] = None,
    qat_epochs: Annotated[int | None, typer.Option(help="Epochs of quantization-aware fine-tuning.")] = None,
    ptq: Annotated[
        bool,
        typer.Option(
            "--ptq", help="Round the weights after training, without fine-tuning (--adv none trains nothing at all)."
        ),
    ] = False,
    profile: options.Profile = None,
    compute: options.Compute = None,
    input_: options.InputType = None,
    output_form: options.OutputForm = None,
    ort: options.Ort = None,
    precision: options.Precision = None,
    data: options.DataName = None,
    model: options.ModelName = None,
    widths: options.Widths = None,
    model_arg: options.ModelArgs = None,
    mean: options.Mean = None,
    std: options.Std = None,
    input_range: options.InputRange = None,
    batch_dependent: options.BatchDependent = False,
    label: options.Label = None,
    image_size: options.ImageSize = None,
    channels: options.Channels = None,
    seed: options.Seed = None,
    members: options.Members = None,
    non_members: options.NonMembers = None,
    max_drop: options.MaxDrop = MAX_DROP,
    accept_accuracy_loss: options.AcceptAccuracyLoss = False,
    recipe: options.RecipeFile = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    force: options.Force = False,
    json_: options.AsJson = False,
) -> None:
    """Harden a trained model: adversarial training, quantization-aware fine-tuning, export."""
    from edgepriv import api

    if ptq and (qat_epochs or flatten):
        raise UserError(
            "--ptq rounds trained weights without fine-tuning, which --qat-epochs and --flatten belong to: drop it or them"
        )
    fed = options.preprocessing(mean, std, input_range)
    read = options.reading(label, image_size, channels, input_range)
    given = options.for_bare_state_dict(recipe, data, model, widths, seed, members, non_members, fed, read, model_arg)
    changes = {
        "precision": precision,
        "noise": {"method": noise, "tau": noise_tau, "eps": noise_eps, "beta": noise_beta, "alpha": noise_alpha},
        "noisy": {"epochs": noise_epochs, "relax": relax, **options.stopping(patience)},
        "robust": {"epochs": epochs, "relax": relax, **options.stopping(patience)},
        "qat": {"epochs": 0 if ptq else qat_epochs, "flatten": flatten, "relax": relax, **options.stopping(patience)},
        "dp": {"epsilon": dp_epsilon},
        "adversary": options.adversary_settings(adv, eps, None, steps),
        "quantize": options.quantize_settings(bits, first_last, last_k, granularity, quantizer),
        "export": options.export_settings(profile, compute, input_, output_form, ort),
        **options.model_and_head(baseline, regenerate, batch_dependent),
    }
    result = api.harden(
        checkpoint,
        given,
        changes,
        output,
        head=head,
        max_drop=max_drop,
        accept_accuracy_loss=accept_accuracy_loss,
        data_dir=data_dir,
        download=download,
        force=force,
        recipe_file=recipe,
    )
    print_result(json_, result, lambda: [exported(result), *accuracy_lines(result["accuracy"])])


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL.pt", help="Checkpoint, or a bare state_dict with --model and --data.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("model.onnx"),
    bits: options.Bits = None,
    first_last: options.FirstLast = None,
    last_k: options.LastK = None,
    granularity: options.Granularity = None,
    quantizer: options.QuantizerName = None,
    profile: options.Profile = None,
    compute: options.Compute = None,
    input_: options.InputType = None,
    output_form: options.OutputForm = None,
    ort: options.Ort = None,
    data: options.DataName = None,
    model: options.ModelName = None,
    widths: options.Widths = None,
    model_arg: options.ModelArgs = None,
    mean: options.Mean = None,
    std: options.Std = None,
    input_range: options.InputRange = None,
    batch_dependent: options.BatchDependent = False,
    label: options.Label = None,
    image_size: options.ImageSize = None,
    channels: options.Channels = None,
    seed: options.Seed = None,
    members: options.Members = None,
    non_members: options.NonMembers = None,
    max_drop: options.MaxDrop = MAX_DROP,
    accept_accuracy_loss: options.AcceptAccuracyLoss = False,
    recipe: options.RecipeFile = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    force: options.Force = False,
    json_: options.AsJson = False,
) -> None:
    """Export a checkpoint to ONNX with integer weights, and prove parity."""
    from edgepriv import api

    fed = options.preprocessing(mean, std, input_range)
    read = options.reading(label, image_size, channels, input_range)
    given = options.for_bare_state_dict(recipe, data, model, widths, seed, members, non_members, fed, read, model_arg)
    changes = {
        "model": {"batch_dependent": batch_dependent or None},
        "quantize": options.quantize_settings(bits, first_last, last_k, granularity, quantizer),
        "export": options.export_settings(profile, compute, input_, output_form, ort),
    }
    result = api.export(
        checkpoint,
        given,
        changes,
        output,
        max_drop=max_drop,
        accept_accuracy_loss=accept_accuracy_loss,
        data_dir=data_dir,
        download=download,
        force=force,
        recipe_file=recipe,
    )
    print_result(json_, result, lambda: [exported(result), *accuracy_lines(result["accuracy"])])


@app.command()
def audit(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file that ships.")],
    model: options.OwnModel = None,
    members: options.Members = None,
    non_members: options.NonMembers = None,
    label: options.Label = None,
    image_size: options.ImageSize = None,
    channels: options.Channels = None,
    attacks: Annotated[str | None, typer.Option(help="all, quick, or names separated by commas.")] = None,
    references: Annotated[int | None, typer.Option(help="Reference models to train.")] = None,
    threat_model: Annotated[str | None, typer.Option(help="adaptive, oblivious or both.")] = None,
    eps: options.Eps = None,
    norm: options.Norm = None,
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
    mean: options.Mean = None,
    std: options.Std = None,
    input_range: options.InputRange = None,
    output_name: options.OutputName = None,
    batch_dependent: options.BatchDependent = False,
    accept_accuracy_loss: options.AcceptAccuracyLoss = False,
    accept_weak_references: Annotated[
        bool,
        typer.Option("--accept-weak-references", help="Go on though reference models do not behave like the model."),
    ] = False,
    fail_if: Annotated[
        list[str] | None, typer.Option(help='Exit 3 if exceeded: "auc>0.55", "tpr@0.01>0.03", "robust_accuracy<0.6".')
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", "--output", help="JSON to write; default MODEL.audit.json.")
    ] = None,
    data_dir: options.DataDir = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where reference models are kept; default the data folder.")
    ] = None,
    recipe: options.RecipeFile = None,
    force: options.Force = False,
    json_: options.AsJson = False,
) -> None:
    """Attack a deployed model: what it leaks about its training data, how perturbed inputs break it."""
    from edgepriv import api
    from edgepriv.project import beside
    from edgepriv.report import tables
    from edgepriv.report.attack_tables import attack_tables
    from edgepriv.report.not_measured import notes
    from edgepriv.report.summary import proven

    asked: dict[str, dict[str, Any]] = {
        "data": options.reading(label, image_size, channels, None),
        "adversary": {"eps": eps, "norm": norm},
        "audit": {
            "attacks": attacks,
            "references": references,
            "threat_models": options.threat_models(threat_model),
            "robust_examples": robust_examples,
            "pgd_steps": steps,
            "queried_examples": queried_examples,
            "engine": engine,
            "accept_weak_references": accept_weak_references or None,
            **options.preprocessing(mean, std, input_range),
            "output_name": output_name,
            "batch_dependent": batch_dependent or None,
        },
    }
    changes = options.audit_settings(recipe, asked) if recipe else asked

    def report(result: dict[str, Any]) -> None:
        file = (output or beside(path, "cut-head.audit.json" if cut_head else "audit.json")).name
        cost = cost_in_accuracy(result["accuracy"])
        top = [accuracy_table(result["accuracy"]["rows"]), *([f"at export, {cost}"] if cost else [])]
        shown = [*top, *attack_tables(result, file), tables.robustness_table(result["robustness"]), *notes(result)]
        shown += [f"warning: {line}" for line in result["warnings"]]
        print_result(json_, result, lambda: [*shown, *(finding.sentence for finding in proven(result))])
        if (result.get("dp") or {}).get("warning"):
            print(f"warning: {result['dp']['warning']}", file=sys.stderr)

    try:
        result = api.audit(
            path,
            changes,
            members=members,
            non_members=non_members,
            output=output,
            data_dir=data_dir,
            cache_dir=cache_dir,
            float_twin=float_twin,
            cut_head=cut_head,
            accept_accuracy_loss=accept_accuracy_loss,
            factory=model,
            limits=fail_if or (),
            force=force,
            recipe_file=recipe,
        )
    except GateFailed as failed:
        report(failed.audit)
        raise
    report(result)


@app.command()
def attacks(json_: options.AsJson = False) -> None:
    """The membership attacks that an audit knows, and what each needs."""
    from edgepriv import api
    from edgepriv.report import tables

    result = api.attacks()
    print_result(json_, result, lambda: tables.known_attacks_tables(result))


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
    runs: options.Runs = None,
    seconds: options.Seconds = None,
    rounds: Annotated[int | None, typer.Option(help="Processes for each model.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch size (repeatable).")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads, 0 for all (repeatable).")] = None,
    recipe: options.RecipeFile = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--out", "--output", help="JSON to write; default MODEL.bench.json.")
    ] = None,
    force: options.Force = False,
    json_: options.AsJson = False,
) -> None:
    """Measure size, latency and memory beside the float twin, each in a fresh process."""
    from edgepriv import api
    from edgepriv.report import tables

    settings = {
        "runs": runs,
        "seconds": seconds,
        "rounds": rounds,
        "batches": batch or None,
        "threads": threads or None,
    }
    result = api.bench(
        model,
        options.recipe_in(recipe).with_changes(bench=settings),
        against=against or (),
        imports=imports or (),
        output=output,
        force=force,
        recipe_file=recipe,
    )
    print_result(json_, result, lambda: tables.bench_tables(result))


@app.command()
def compare(
    models: Annotated[list[Path], typer.Argument(metavar="A.onnx B.onnx ...", help="Models to set side by side.")],
    runs: options.Runs = None,
    seconds: options.Seconds = None,
    rounds: Annotated[int | None, typer.Option(help="Processes for each model.")] = None,
    recipe: options.RecipeFile = None,
    json_: options.AsJson = False,
) -> None:
    """One table: size, latency, memory, accuracy, robust accuracy, leakage."""
    from edgepriv import api
    from edgepriv.report import tables

    result = api.compare(
        models, options.recipe_in(recipe).with_changes(bench={"runs": runs, "seconds": seconds, "rounds": rounds})
    )
    print_result(
        json_,
        result,
        lambda: [tables.compare_table(result), *tables.stale_audits(result), *tables.compare_notes(result)],
    )


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx|MODEL.pt")],
    model: options.OwnModel = None,
    json_: options.AsJson = False,
) -> None:
    """What a file is: weights by layer and bits, profile, recipe."""
    from edgepriv import api
    from edgepriv.report import tables

    result = api.show(path, model)
    print_result(json_, result, lambda: tables.show_tables(result))


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option("-o", "--out", "--output", help="Folder to write into.")] = Path("quickstart"),
    force: options.Force = False,
    json_: options.AsJson = False,
) -> None:
    """The whole pipeline on scikit-learn's digits: train, harden, export, audit, bench, report."""
    from edgepriv import quickstart as pipeline
    from edgepriv.report import tables

    result = pipeline.run(output, force=force, say=console_for_progress().print)
    print_result(
        json_, result, lambda: [tables.verdict_table(result["rows"]), result["verdict"], f"report: {result['report']}"]
    )


@app.callback(invoke_without_command=True)
def _root(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show_version:
        typer.echo(f"edgepriv {version('edgepriv')}")
        raise typer.Exit()

"""The commands by name: what each is for, and two examples, which end its help."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """``summary``: one sentence, the first of the docstring of the verb; ``recipe``: whether it reads one."""

    summary: str
    examples: tuple[str, str]
    recipe: bool = True

    @property
    def epilog(self) -> str:
        """As typer takes it: paragraphs become lines."""
        note = [AS_RECIPE] if self.recipe else []
        return "\n\n".join([*note, "Examples:", *(f"  $ {line}" for line in self.examples)])


AS_RECIPE = "Defaults are used where neither --recipe nor, of a given checkpoint, its own recipe says otherwise."
COMMANDS = {
    "train": Command(
        "Train a model from scratch.",
        (
            "edgepriv train --data fashion_mnist --model lenet -o model.pt",
            "edgepriv train --data csv:visits.csv --label outcome --model mlp --epochs 40 -o model.pt",
        ),
    ),
    "harden": Command(
        "Harden a trained model: adversarial training, quantization-aware fine-tuning, export.",
        (
            "edgepriv harden model.pt --bits 4 --adv pgd -o out/",
            "edgepriv harden weights.pt --model resnet18 --members a.npz --non-members b.npz -o out/",
        ),
    ),
    "export": Command(
        "Export a checkpoint, or any float ONNX classifier, with integer weights, and prove parity.",
        (
            "edgepriv export model.pt --bits conv1=8,*=4 --input uint8 --returns label -o camera.onnx",
            "edgepriv export theirs.onnx --bits 4 --data theirs.npz --input-shape 3,48,192 -o packed.onnx",
        ),
    ),
    "tune": Command(
        "Search the best file within budgets: bits by layer, quantizer, granularity, layout, epochs.",
        (
            "edgepriv tune model.pt --max-drop 1.0",
            "edgepriv tune model.pt --max-size 60kB --max-drop 2 --time 2h -o small/",
        ),
    ),
    "audit": Command(
        "Attack a deployed model: what it leaks about its training data, how perturbed inputs break it.",
        (
            'edgepriv audit out/model.onnx --fail-if "auc>0.60"',
            "edgepriv audit theirs.onnx --members a.npz --non-members b.npz --attacks quick",
        ),
    ),
    "attacks": Command(
        "The membership attacks that an audit knows, and what each needs.",
        ("edgepriv attacks", "edgepriv attacks --json"),
        recipe=False,
    ),
    "defences": Command(
        "The defences that a recipe knows, how each is asked for, and which exclude each other.",
        ("edgepriv defences", "edgepriv defences --json"),
        recipe=False,
    ),
    "bench": Command(
        "Measure size, latency and memory beside the float twin, each in a fresh process.",
        ("edgepriv bench out/model.onnx --batch 1 --batch 32", "edgepriv bench out/model.onnx --import board.json"),
    ),
    "compare": Command(
        "Versions side by side: both ROC curves, and what became better, worse, or is within noise.",
        ("edgepriv compare out/model.onnx out/model.fp32.onnx", "edgepriv compare a.onnx b.onnx c.onnx --rounds 9"),
    ),
    "show": Command(
        "What a file is: weights by layer and bits, profile, recipe; with ``against`` what each layer loses.",
        (
            "edgepriv show out/model.onnx",
            "edgepriv show packed.onnx --against theirs.onnx --data theirs.npz",
        ),
        recipe=False,
    ),
    "quickstart": Command(
        "The whole pipeline on scikit-learn's digits: train, harden, export, audit, bench, report.",
        ("edgepriv quickstart", "edgepriv quickstart -o first-look --force"),
        recipe=False,
    ),
}

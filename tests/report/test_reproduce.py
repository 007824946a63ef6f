import shlex

from edgepriv.recipe import Recipe
from edgepriv.report.reproduce import audit_command, essentials

AUDIT = {
    "sha256": "ab",
    "seed": 3,
    "references": 4,
    "data": {"name": "digits", "sha256": "cd", "split": {"seed": 7, "sizes": {"members": 600}}},
    "versions": {"onnxruntime": "1.32.0"},
    "settings": {"audit": Recipe().audit.model_dump(mode="json")},
    "robustness": {"eps": 0.1, "norm": "linf"},
}


def test_an_audit_with_default_settings_names_the_perturbations_only():
    assert audit_command("m.onnx", AUDIT) == "edgepriv audit m.onnx --eps 0.1 --norm linf"


def test_settings_and_limits_become_options():
    changed = AUDIT["settings"]["audit"] | {
        "references": 4,
        "attacks": "loss,lira-online",
        "threat_models": ["oblivious"],
    }
    audit = AUDIT | {"settings": {"audit": changed}, "limits": [{"limit": "auc>0.55"}]}
    assert shlex.split(audit_command("my model.onnx", audit))[2:] == [
        "my model.onnx", "--attacks", "loss,lira-online", "--references", "4", "--threat-model", "oblivious",
        "--eps", "0.1", "--norm", "linf", "--fail-if", "auc>0.55",
    ]  # fmt: skip


def test_an_audit_on_files_needs_the_files():
    audit = AUDIT | {"data": {"name": "files", "split": None}}
    assert "--members MEMBERS.npz --non-members NON_MEMBERS.npz" in audit_command("m.onnx", audit)


def test_an_older_audit_gives_the_plain_command():
    assert audit_command("m.onnx", {"attacks": []}) == audit_command("m.onnx", None) == "edgepriv audit m.onnx"


def test_the_essentials_are_file_data_seed_versions_and_recipe():
    recipe = Recipe(seed=3).model_dump(mode="json")
    found = dict(essentials(AUDIT, {"recipe": recipe}))
    assert found == {
        "file audited, sha256": "ab",
        "data": "digits",
        "data, sha256": "cd",
        "split, seed": "7",
        "split, members": "600",
        "seed": "3",
        "reference models": "4",
        "version.onnxruntime": "1.32.0",
        "recipe.seed": "3",
    }

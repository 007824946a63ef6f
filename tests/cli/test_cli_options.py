"""Options come from the recipe's fields; help says what would be used; what is misspelled is answered with the nearest."""

import inspect
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from edgepriv import api
from edgepriv.cli import app, completion, main
from edgepriv.cli.commands import COMMANDS
from edgepriv.cli.defaults import default_text
from edgepriv.errors import UserError
from edgepriv.recipe import GROUPS, Option, Recipe, changes_of, declared, options_of

VERBS = ("train", "harden", "export", "audit", "bench", "compare", "show", "attacks", "defences", "quickstart", "tune")


@pytest.fixture
def told(monkeypatch, capsys):
    """Run a command that must fail with code 2; gives what it said."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["edgepriv", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run


def help_of(*command):
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0, done.output
    return done.output


def build(command):
    group = get_command(app)
    return group.get_command(group.make_context("edgepriv", [], resilient_parsing=True), command)


# --- one declaration ---


def test_an_option_that_is_added_to_a_field_is_an_option_everywhere(monkeypatch):
    """One annotation makes a keyword with its type, an option with its help and default, and a change of the recipe."""
    field = Recipe.model_fields["train"].annotation.model_fields["momentum"]
    monkeypatch.setattr(
        field, "metadata", [*field.metadata, Option("Share of the last step.", "Training", {"train": ("train",)})]
    )
    declared.options_of.cache_clear()
    try:
        again = api.verb.verb(api.train.__wrapped__)
        assert inspect.signature(again).parameters["momentum"].annotation == float | None
        assert changes_of("train", {"momentum": 0.5}) == {"train": {"momentum": 0.5}}
        assert default_text("train", api.verb.arguments_of(again)["momentum"]) == "0.9"
        assert "--momentum" in help_of("train")
    finally:
        monkeypatch.undo()
        declared.options_of.cache_clear()


@pytest.mark.parametrize("command", VERBS)
def test_every_argument_of_a_verb_is_an_option_of_its_command(command):
    verb = getattr(api, command)
    asked = set(inspect.signature(verb).parameters) - {"progress"}
    built = {parameter.name for parameter in build(command).params}
    assert built - {"help", "output", "as_json"} == asked
    assert {argument.option.group for argument in api.verb.arguments_of(verb).values()} <= {"", *GROUPS}


@pytest.mark.parametrize("command", ["train", "harden", "export", "audit", "bench", "compare"])
def test_what_every_option_sets_is_a_field_of_the_recipe(command):
    for name, option in options_of(command).items():
        for target in option.targets:
            section = getattr(Recipe(), target.section) if target.section else Recipe()
            assert target.field in type(section).model_fields, name


def test_values_become_changes_of_the_sections_that_the_command_works_on():
    assert changes_of("train", {"epochs": 3, "patience": 2}) == {
        "train": {"epochs": 3, "patience": 2, "select": "best"}
    }
    hardening = changes_of(
        "harden",
        {
            "epochs": 3,
            "qat_epochs": 2,
            "qat_activations": 8,
            "relax": 0.5,
            "adv": "pgd-l2",
            "baseline": "memguard",
        },
    )
    assert hardening == {
        "noisy": {"relax": 0.5},
        "distilled": {"relax": 0.5},
        "robust": {"epochs": 3, "relax": 0.5},
        "qat": {"epochs": 2, "activations": 8, "relax": 0.5},
        "adversary": {"method": "pgd", "norm": "l2"},
        "head": {"method": "memguard"},
    }
    assert changes_of("audit", {"steps": 3, "threat_model": "both", "attacks": ["loss", "entropy"]}) == {
        "audit": {"pgd_steps": 3, "threat_models": ("adaptive", "oblivious"), "attacks": "loss,entropy"}
    }
    assert changes_of("bench", {"batch": 4, "threads": [1, 2]}) == {"bench": {"batches": (4,), "threads": (1, 2)}}


def test_augmentation_is_asked_for_by_its_name(told):
    assert changes_of("train", {"augment": "crop"}) == {"train": {"augment": "crop"}}
    assert "did you mean 'crop_flip'?" in told("train", "--augment", "crop-flip")
    assert "[default: none]" in help_of("train").partition("--augment")[2][:200]


def test_layers_are_frozen_by_pattern_and_none_freezes_none(told):
    assert changes_of("train", {"freeze": "conv1, layer1.*", "train_last": 3}) == {
        "train": {"freeze": ("conv1", "layer1.*"), "train_last": 3}
    }
    stages = ("noisy", "distilled", "robust", "qat")
    assert changes_of("harden", {"freeze": "none"}) == {stage: {"freeze": ()} for stage in stages}
    assert "--freeze 'conv1,': expected patterns of layers" in told("train", "--data", "digits", "--freeze", "conv1,")


# --- help ---


def test_the_help_of_the_group_lists_every_command_with_its_summary():
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", help_of()).split())
    assert "--install-completion" in shown
    for name, command in COMMANDS.items():
        assert f"{name} {command.summary}" in shown


@pytest.mark.parametrize("command", VERBS)
def test_the_summary_is_the_first_sentence_of_the_docstring(command):
    assert inspect.getdoc(getattr(api, command)).split("\n\n")[0] == COMMANDS[command].summary


def test_help_has_groups_and_two_examples_that_can_be_parsed():
    for group in ("Data", "Model", "Training", "Defences", "Quantization", "Export", "Output"):
        assert f"─ {group} ─" in help_of("harden")
    for name, command in COMMANDS.items():
        shown = help_of(name)
        for example in command.examples:
            assert example in shown
            words = shlex.split(example)
            assert words[:2] == ["edgepriv", name]
            build(name).make_context(name, words[2:])  # raises on an option or a number that is wrong


def test_defaults_are_what_would_be_used():
    """They depend on the command: harden hardens by default, and its stages have epochs of their own."""
    harden, train = (api.verb.arguments_of(getattr(api, name)) for name in ("harden", "train"))
    words = {name: default_text("harden", argument) for name, argument in harden.items()}
    assert (words["adv"], words["bits"], words["epochs"], words["qat_epochs"]) == ("pgd", "4", "10", "5")
    words = {name: default_text("train", argument) for name, argument in train.items()}
    assert (words["adv"], words["bits"], words["epochs"], words["lr"]) == ("none", "32", "20", "0.001")
    assert "[default: 10]" in help_of("harden")


# --- what is misspelled ---


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("hardn", "m.pt"), "harden"),
        (("train", "--epoch", 3), "--epochs"),
        (("train", "--data", "fashon_mnist"), "fashion_mnist"),
        (("train", "--data", "digits", "--model", "lennet"), "lenet"),
        (("train", "--data", "digits", "--model", "resnet81"), "resnet18"),
        (("train", "--data", "cvs:a.csv"), "csv"),
        (("harden", "m.pt", "--adv", "pdg"), "pgd"),
        (("harden", "m.pt", "--noise", "shaply"), "shapley"),
        (("harden", "m.pt", "--regenerate", "nonmembers"), "nonmember"),
        (("harden", "m.pt", "--baseline", "memgard"), "memguard"),
        (("export", "m.pt", "--profile", "latncy"), "latency"),
        (("export", "m.pt", "--quantizer", "min-max"), "minmax"),
        (("export", "m.pt", "--returns", "logit"), "logits"),
        (("audit", "m.onnx", "--threat-model", "adaptve"), "adaptive"),
    ],
)
def test_the_nearest_name_is_suggested(told, tmp_path, monkeypatch, arguments, meant):
    monkeypatch.chdir(tmp_path)
    said = told(*arguments)
    assert f"did you mean '{meant}'?" in said
    assert said.count("error: ") == 1
    assert not list(tmp_path.iterdir())


def test_the_nearest_attack_and_field_of_a_recipe_are_suggested(told, tmp_path):
    from edgepriv.audit.assess import select

    with pytest.raises(UserError, match=r"unknown attack lira-onlin.*did you mean 'lira-online'"):
        select("quick,lira-onlin")
    for written, meant in (
        ("[train]\nepoch = 3", "epochs"),
        ("[trian]\nepochs = 3", "train"),
        ('[export]\nprofile = "fast"\n', ""),
    ):
        (tmp_path / "r.toml").write_text(written)
        said = told("train", "--recipe", tmp_path / "r.toml", "-o", tmp_path / "m.pt")
        assert (f"did you mean '{meant}'?" in said) if meant else ("'latency'" in said)


def test_a_name_that_is_like_nothing_is_answered_with_the_known_ones_only(told):
    said = told("export", "m.pt", "--profile", "zzz")
    assert "known are latency, memory, portable" in said
    assert "did you mean" not in said


# --- forms of old ---


def test_output_is_now_returns_and_says_so(told):
    assert "--output label is now --returns label" in told("export", "none.pt", "--output", "label")
    assert "--output 'm.onnx': the file to write is named by -o or --out" in told(
        "export", "none.pt", "--output", "m.onnx"
    )
    assert "contradict each other" in told("harden", "none.pt", "--output", "label", "--returns", "logits")


@pytest.mark.parametrize("flag", ["-o", "--out", "--output"])
def test_the_path_keeps_its_names(told, flag, tmp_path):
    assert "no data set is named" in told("train", flag, tmp_path / "m.pt")
    assert "no such file" in told("audit", "none.onnx", flag, tmp_path / "a.json")


def test_what_does_not_go_together_is_refused(told):
    said = told("harden", "m.pt", "--baseline", "memguard", "--regenerate", "rank")
    assert "pass one of them" in said
    assert "go together" in told("train", "--members", "a.npz")
    assert "pass one or the other" in told("train", "--members", "a.npz", "--non-members", "b.npz", "--data", "digits")


# --- completion ---


def test_names_are_completed(monkeypatch, tmp_path):
    monkeypatch.setattr(completion.platformdirs, "user_cache_dir", lambda name: str(tmp_path))
    assert completion.completed("attack", "quick,lira-on") == [
        "quick,lira-online", "quick,lira-online-fixed", "quick,lira-online-per-example",
    ]  # fmt: skip
    monkeypatch.setattr(completion, "_ASKED", {})  # they are remembered: nothing heavy is imported again
    assert {"digits", "fashion_mnist", "csv:"} <= set(completion.completed("data", ""))
    assert completion.completed("model", "lene") == ["lenet"]
    assert completion.completed("model", "mobilenet_v3_s") == ["mobilenet_v3_small"]
    kept = json.loads((Path(tmp_path) / "completion.json").read_text())
    assert set(kept) == {"version", "attack", "data", "model"}


def test_profiles_and_defences_are_completed_by_the_shell():
    environment = {
        "_EDGEPRIV_COMPLETE": "complete_bash",
        "COMP_WORDS": "edgepriv harden m.pt --regenerate ",
        "COMP_CWORD": "4",
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="edgepriv")
    assert done.output.split() == ["none", "member", "nonmember", "rank"]
    environment |= {"COMP_WORDS": "edgepriv export m.pt --profile m", "COMP_CWORD": "4"}
    assert CliRunner().invoke(app, [], env=environment, prog_name="edgepriv").output.split() == ["memory"]

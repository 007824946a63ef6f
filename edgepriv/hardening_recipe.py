"""Which recipe hardens a checkpoint: what it was trained by, what the options ask for, and what both leave open."""

from pathlib import Path
from typing import Any

from edgepriv.errors import UserError
from edgepriv.recipe import STAGES, Dp, Recipe, Stage, parse
from edgepriv.recipe.defences import DEFENCES, Defence
from edgepriv.recipe.stages import InStages

FIXED_SECTIONS = ("seed", "data", "model", "start", "train", "dp")
"""What a trained model has behind it: no recipe of hardening can change these any more."""


def hardening_recipe(trained_by: Recipe, recipe: Recipe | None, changes: dict[str, Any], model: Path) -> Recipe:
    """The recipe that hardens a checkpoint: the checkpoint's own, then sections of ``recipe``, then ``changes``.

    Without a recipe, or with one that only describes a bare state_dict, what the options leave open is PGD for 10 epochs,
    then 4 bits for 5, both with the RelaxLoss of the stage ``train`` and the layers that it left as they were. For a model
    trained with differential privacy it is 4 bits without fine-tuning. Noise and distillation without epochs of their own are
    trained as the stage ``train`` was: they start from new weights too.

    Args:
        trained_by: the checkpoint's recipe.
        recipe: a recipe file's, None without one; only its sections on hardening and later steps count.
        changes: sections of the recipe by name, from the options.
        model: the checkpoint's path, for messages.

    Returns:
        The whole recipe, with the checkpoint's seed, data, model and training.

    Raises:
        UserError: where ``recipe`` contradicts the checkpoint.
    """
    if recipe is not None and recipe.model.name == trained_by.model.name and recipe == Recipe(model=recipe.model):
        recipe = None  # --model alone confirms the user's own module, and a checkpoint keeps its seed
    if recipe is not None and (recipe.model.name != trained_by.model.name or recipe.seed != trained_by.seed):
        raise UserError(
            f"the recipe is for model {recipe.model.name!r}, seed {recipe.seed}; "
            f"{model} is {trained_by.model.name!r}, seed {trained_by.seed}: write both into the recipe as they are there"
        )
    asked_dp = {key: value for key, value in changes.get("dp", {}).items() if value is not None}
    total = asked_dp.pop("total", None) or (None if recipe is None else recipe.dp.total)
    if asked_dp or (recipe is not None and recipe.dp.active and _without_total(recipe) != _without_total(trained_by)):
        raise UserError(
            "differential privacy must see every step of the training, and this model has been trained already: give "
            "--dp-epsilon to edgepriv train"
        )
    if total is not None and not trained_by.dp.active:
        raise UserError(
            f"--dp-total-epsilon {total:g} fine-tunes a model that was trained with differential privacy, and this one was "
            "not: train it with --dp-epsilon"
        )
    trained_by = trained_by.with_changes(dp={"total": total})
    sections = [name for name in Recipe.model_fields if name not in (*FIXED_SECTIONS, "device")]
    if recipe is None or all(getattr(recipe, name) == getattr(Recipe(), name) for name in sections):
        chosen = trained_by.with_changes(**_left_open(trained_by)).with_changes(**changes)
        private, more = trained_by.dp.active, trained_by.dp.total is not None
        attacked = changes.get("adversary", {}).get("method") if private else chosen.adversary.method
        robust = 10 if attacked not in (None, "none") else 0
        qat = 5 if chosen.quantize.active and (more or not private) else 0
        stages = {"robust": {"epochs": robust}, "qat": {"epochs": qat}}
        if more:
            unattacked = chosen.with_changes(adversary={"method": attacked or "none"})
            chosen = _as_private(unattacked, trained_by).with_changes(**changes)
        asked = _held_as_trained(
            _with_retraining(chosen.with_changes(**stages), changes, trained_by), changes, trained_by
        )
        return _as_trained(_relaxed_as_trained(asked, changes, trained_by), trained_by)
    settings = {
        name: value for name, value in recipe.model_dump().items() if name in sections and not _leaves_out(recipe, name)
    }
    asked = _with_retraining(parse(trained_by.model_dump() | settings, "the recipe"), changes, recipe)
    return _as_trained(asked, trained_by)


def _without_total(recipe: Recipe) -> Dp:
    return recipe.dp.model_copy(update={"total": None})


def _as_private(chosen: Recipe, trained_by: Recipe) -> Recipe:
    """Fine-tuning under differential privacy takes the large batches of its training, at a tenth of its learning rate."""
    names = ("batch_size", "optimizer", "momentum", "weight_decay", "schedule", "augment")
    own = {name: getattr(trained_by.train, name) for name in names} | {"lr": trained_by.train.lr / 10}
    return chosen.with_changes(robust=own, qat=own)


def _left_open(trained_by: Recipe) -> dict[str, dict[str, Any]]:
    """What hardening is when nobody says: PGD and 4 bits, but for what the training had already."""
    usual: dict[str, dict[str, Any]] = {"adversary": {"method": "pgd"}, "quantize": {"bits": 4}}
    had = {"adversary": DEFENCES["adversarial"], "quantize": DEFENCES["quantization"]}
    return {name: section for name, section in usual.items() if not had[name].acts_in(trained_by, "train")}


def _leaves_out(recipe: Recipe, name: str) -> bool:
    """Whether a recipe file says nothing of a defence of several stages: then the model goes on as it was trained."""
    section = getattr(recipe, name)
    return isinstance(section, InStages) and section == type(section)()


def refuse_idle(hardened_by: Recipe, trained_by: Recipe, changes: dict[str, Any]) -> None:
    """Refuse an option that acts in training where hardening trains nothing that it acts in.

    Args:
        hardened_by: recipe of the hardening.
        trained_by: the checkpoint's recipe.
        changes: sections of the recipe by name, from the options.

    Raises:
        UserError: for such an option.
    """
    stages = hardened_by.stages().keys() - {"train"}
    if hardened_by.qat.activations is not None and hardened_by.export.compute in ("float32", "int8-dynamic"):
        raise UserError(
            f"--qat-activations trains for activations on fixed grids, which a file of --compute {hardened_by.export.compute} "
            "does not have: take --compute int8-static"
        )
    for defence in DEFENCES.values():
        acts = any(defence.acts_in(hardened_by, name) for name in stages)
        if defence.idle and not acts and _is_asked(defence, hardened_by, trained_by):
            raise UserError(defence.idle)
    for name in ("patience", "ema", "weight_decay", "freeze", "train_last", "layer_rates"):
        unasked = (None, Stage.model_fields[name].default)
        if not stages and any(changes.get(stage, {}).get(name) not in unasked for stage in STAGES):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} acts while training, and no stage trains here: use edgepriv train {option}")


def _is_asked(defence: Defence, hardened_by: Recipe, trained_by: Recipe) -> bool:
    """Whether a defence would act if every stage had epochs, and by a field that the training was not run with."""
    later = [name for name in STAGES if name != "train"]
    whole = hardened_by.with_changes(**{name: {"epochs": 1} for name in later})
    acting = [name for name in later if defence.acts_in(whole, name)]
    if not acting:
        return False
    for section, name in defence.paths(whole):
        before = type(getattr(whole, section))() if section in STAGES else getattr(trained_by, section)
        new = getattr(getattr(whole, section), name) != getattr(before, name)
        if new and (section in acting or section not in STAGES):
            return True
    return False


def _relaxed_as_trained(asked: Recipe, changes: dict[str, Any], trained_by: Recipe) -> Recipe:
    """Stages that were not asked for in so many words go on with the loss of the stage ``train``."""
    relax = {name: trained_by.train.relax if getattr(asked, name).epochs > 0 else 0.0 for name in ("robust", "qat")}
    return asked.with_changes(
        **{name: {"relax": value} for name, value in relax.items() if changes.get(name, {}).get("relax") is None}
    )


def _held_as_trained(asked: Recipe, changes: dict[str, Any], trained_by: Recipe) -> Recipe:
    """Layers that the stage ``train`` left as they were stay so, unless it is asked for in so many words what is trained."""
    held = {"freeze": trained_by.train.freeze, "train_last": trained_by.train.train_last}
    stated = any(changes.get(stage, {}).get(name) is not None for stage in STAGES for name in held)
    later = [] if stated else [name for name in STAGES if name != "train" and getattr(asked, name).epochs > 0]
    return asked.with_changes(**{name: dict(held) for name in later})


def _as_trained(asked: Recipe, trained_by: Recipe) -> Recipe:
    """The stage ``train`` is over: dropout that is asked for now was not in it, nor is it in the attacker's; nor is a defence
    of several stages. One that was in it stays as it was: a recipe has one setting for all of its stages."""
    sections: dict[str, Any] = {}
    if asked.model.dropout != trained_by.model.dropout:
        sections["train"] = {"dropout": trained_by.dropout_in("train")}
    for name, defence in DEFENCES.items():
        if defence.acts_in(trained_by, "train"):
            _refuse_changed(defence, asked, trained_by)
        elif isinstance(new := getattr(asked, name, None), InStages) and new != getattr(trained_by, name):
            sections[name] = {"stages": tuple(stage for stage in new.stages if stage != "train")}
    return asked.with_changes(**sections)


def _refuse_changed(defence: Defence, asked: Recipe, trained_by: Recipe) -> None:
    idle = {path for path, unused in defence.unused.items() if unused(trained_by)}
    for section, name in sorted(defence.paths(trained_by)):
        before, now = (getattr(getattr(recipe, section), name) for recipe in (trained_by, asked))
        if section in (*STAGES, *FIXED_SECTIONS) or f"{section}.{name}" in idle or now == before:
            continue
        raise UserError(
            f"the model has been trained with {defence.title} already ({section}.{name} = {_written(before)}), and models "
            f"to compare it with are trained by the same recipe: it cannot become {_written(now)} now; leave it as it is, or "
            "train with what you want"
        )


def _written(value: Any) -> str:
    return "the default" if value is None else str(value)


def _with_retraining(chosen: Recipe, changes: dict[str, Any], trained_by: Recipe) -> Recipe:
    """With the stages that defences have for themselves and that start from new weights, as the stage ``train`` was, but for
    what a recipe's section changes."""
    asked = chosen.with_changes(**changes)
    stages = {each.stage for each in DEFENCES.values() if each.stage is not None and each.asked(asked)}
    missing = [name for name in STAGES if name in stages and getattr(trained_by, name).epochs == 0]
    if not missing:
        return asked
    as_trained: dict[str, Stage] = {
        name: type(getattr(chosen, name))(**chosen.train.model_dump() | _changed(getattr(chosen, name)))
        for name in missing
    }
    return chosen.model_copy(update=as_trained).with_changes(**changes)


def _changed(stage: Stage) -> dict[str, Any]:
    """What a stage says otherwise than one that nobody wrote."""
    usual = type(stage)().model_dump()
    return {name: value for name, value in stage.model_dump().items() if value != usual[name]}

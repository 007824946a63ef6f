"""The verb that searches: tune."""

from pathlib import Path
from typing import Annotated

from edgepriv.api import arguments as given
from edgepriv.api.results import Tuned
from edgepriv.api.verb import verb
from edgepriv.errors import GateFailed, UserError
from edgepriv.recipe import Option, Recipe
from edgepriv.recipe.written import duration

TIME, CANDIDATES = "1h", 40


# One keyword for each option of the command line is the contract of the API.
@verb
def tune(
    checkpoint: Annotated[given.PathLike, Option("Checkpoint of edgepriv train.", metavar="MODEL.pt")],
    recipe: given.Settings = None,
    *,
    out: Annotated[given.PathLike, Option("Folder to write into.", "Output", flags=("-o", "--out"))] = "tuned",
    max_size: Annotated[
        str | None,
        Option(
            "The largest file: a share of the float file (0.15x), or bytes (60kB, 1.5MB).", "Budgets", default="none"
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        Option("Points of accuracy that the file may lose to the float file.", "Budgets", default="none"),
    ] = None,
    max_tpr: Annotated[
        str | None,
        Option(
            "The largest true-positive rate of any membership attack, at a false-positive rate: 0.01@0.001.",
            "Budgets",
            default="none",
        ),
    ] = None,
    min_robust: Annotated[
        float | None,
        Option("The least accuracy under attack by perturbed inputs, a share: 0.45.", "Budgets", default="none"),
    ] = None,
    time: Annotated[
        str | float | None,
        Option("Time for the search, such as 30m or 2h.", "Timing", default=TIME),
    ] = None,
    candidates: Annotated[int, Option("Candidates to draw, at most.", "Timing")] = CANDIDATES,
    model: given.OwnModel = None,
    data_dir: given.DataDir = None,
    force: given.Force = False,
    progress: given.Progress = False,
) -> Tuned:
    """Search the best file within budgets: bits by layer, quantizer, granularity, layout, epochs.

    Args:
        checkpoint: of ``train``.
        recipe: what all candidates have in common, a Recipe or the TOML file of one.
        out: the folder to write into: what ``harden`` writes, recipe.toml, tune.json, tune.html, and work/, from which the same
            call goes on after an interruption.
        max_size: the largest file, such as "0.15x" of the float file, or "60kB". Without it the smallest file is searched
            that keeps the other budgets, with it the most accurate one.
        max_drop: points of accuracy that the file may lose to the float file.
        max_tpr: the largest share of the members that an adaptive attack may find, at a false-positive rate: "0.01@0.001".
        min_robust: the least accuracy under attack, a share from 0 to 1, by perturbations as the recipe has them.
        time: of all runs of the same question together, such as "30m", with the audits of the finalists and the making of the
            file; nothing is begun that would take longer, and what is left out for it is said.
        candidates: that the search draws at most.
        model: your own ``package.module:factory``, without which a checkpoint of such a network is refused.
        data_dir: folder of named data sets.
        force: replace files that exist, and begin a search anew; without it a finished one is shown.
        progress: see ``edgepriv.api.arguments.Progress``.

    Returns:
        The file, its figures on records that chose nothing, and every candidate.

    Raises:
        UserError: for bad input, before the search.
        GateFailed: where the file does not keep a budget; its ``audit`` is the same result, of the nearest file.

    Examples:
        >>> import edgepriv
        >>> tuned = edgepriv.tune("model.pt", max_drop=30.0, time="1s", out="tuned/")
        >>> tuned.figures["size_bytes"] < tuned.figures["float_bytes"], tuned.budgets[0]["met"]
        (True, True)
    """
    from edgepriv import tuning
    from edgepriv.tuning.budgets import budgets_of

    budgets = budgets_of(max_size, max_drop, max_tpr, min_robust)
    if candidates < 1:
        raise UserError(f"--candidates {candidates}: expected 1 or more")
    settings, file = given.opened(recipe)
    if model is not None:
        settings = (settings or Recipe()).with_changes(model={"name": model})
    try:
        content = tuning.tune(
            Path(checkpoint),
            settings,
            budgets,
            Path(out),
            seconds=duration(TIME if time is None else time),
            most=candidates,
            data_dir=given.path(data_dir),
            force=force,
            recipe_file=file,
        )
    except GateFailed as failed:
        failed.audit = Tuned.of(failed.audit)
        raise
    return Tuned.of(content)

"""The audit and the bench as one HTML page: no network, no other file, complete without its script, and good on paper."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from edgepriv.audit.knowledge import MEANINGS, PHRASES, phrase_of
from edgepriv.report import formatting, plots
from edgepriv.report.attackers import cells, steps
from edgepriv.report.canaries import canary_notes, risk_of_a_person
from edgepriv.report.classifier import classifier_section
from edgepriv.report.devices import device_rows
from edgepriv.report.figures import cells as figure_cells
from edgepriv.report.groups import KINDS, by_kind, by_queries, by_strength, by_threat_model, counts, reasons
from edgepriv.report.live_page import attacks_data, scripts
from edgepriv.report.persons import person_cells, persons_title, unresolved
from edgepriv.report.prior import precision_cells, precision_notes
from edgepriv.report.reproduce import essentials, facts
from edgepriv.report.statement import hashes
from edgepriv.report.summary import summary
from edgepriv.report.tables import AT_MOST, tpr, worst_case
from edgepriv.report.utility import accuracy_rows, cost_in_accuracy
from edgepriv.report.verdict import FLOAT, headline, like_guessing, strongest, verdict

FEW = 12
"""Attacks up to which every table is shown unfolded."""
HISTOGRAMS = 4

Row = tuple[str, str, str, str]


def render(
    *,
    title: str,
    audit: Mapping[str, Any] | None,
    bench: Mapping[str, Any] | None,
    layers: Sequence[Mapping[str, Any]] | None,
    manifest: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> str:
    """The audit and the bench of a model as one HTML page; a part that is None is named as not measured.

    Args:
        title: of the page.
        audit: content of model.audit.json; ``audit["float"]`` may hold the same for the undefended float model.
        bench: content of model.bench.json.
        layers: weights by layer: ``name``, ``op``, ``bits``, ``parameters``, ``stored_bytes`` and ``granularity`` of each.
        manifest: of the model, as a plain dictionary; its facts are printed under "How to reproduce".
        command: command line that gives the audit again, printed there too.

    Returns:
        The whole page. It refers to no other file and no address.
    """
    attacks = by_strength(audit["attacks"]) if audit else []
    twin = (audit or {}).get("float") or {}
    has_twin = bool(twin) or (bench is not None and any(row["name"] == FLOAT for row in bench["variants"]))
    own = "hardened" if has_twin else "this model"
    return (
        templates()
        .get_template("report.html")
        .render(
            title=title,
            scripts=scripts(),
            live=attacks_data(audit),
            verdict=verdict(audit, bench, risk_of_a_person(audit)),
            summary=summary(audit, bench),
            own=own,
            has_twin=has_twin,
            classes=sorted(
                (((audit or {}).get("per_class") or {}).get("rows") or []), key=lambda row: -(row["auc"] or 0.0)
            ),
            comparison=list(comparison(audit, bench)),
            audit=audit,
            statement=(audit or {}).get("statement"),
            persons=(audit or {}).get("persons"),
            canaries=(audit or {}).get("canaries"),
            rocs=[plot for plot in (_roc(own, audit), _roc("undefended float", twin)) if plot],
            bench=bench,
            ratios={_setting(ratio): ratio for ratio in bench["ratios"]} if bench else {},
            devices=device_rows(bench) if bench else [],
            layers=_with_bars(layers or []),
            missing=list(missing(audit, bench, layers)),
            essentials=list(essentials(audit, manifest)),
            facts=list(facts(audit, bench, manifest)),
            command=command,
            **_of_accuracy((audit or {}).get("accuracy") or (manifest or {}).get("accuracy")),
            **classifier_section(audit, own),
            **_of_attacks(attacks),
            **_of_robustness(own, audit, twin),
        )
    )


def templates() -> Environment:
    """The pages' templates, which refuse a name that nobody gave them.

    Returns:
        An environment that knows every file beside this one.
    """
    environment = Environment(
        loader=FunctionLoader(lambda name: files("edgepriv.report").joinpath(name).read_text()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        formatting=formatting,
        at_most=AT_MOST.capitalize(),
        worst_case=worst_case,
        tpr=tpr,
        like_guessing=like_guessing,
        counts=counts,
        persons_title=persons_title,
        person_cells=person_cells,
        unresolved=unresolved,
        canary_notes=canary_notes,
        phrase_of=phrase_of,
        steps=steps,
        step_cells=cells,
        phrases=PHRASES,
        figure_cells=figure_cells,
        statement_basis=hashes,
        meanings=MEANINGS,
        precision_cells=precision_cells,
        precision_notes=precision_notes,
    )
    return environment


def _of_accuracy(accuracy: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "accuracy": accuracy["rows"][0] if accuracy else None,
        "accuracies": list(accuracy_rows(accuracy["rows"])) if accuracy else [],
        "cost": cost_in_accuracy(accuracy) if accuracy else "",
    }


def _of_attacks(attacks: list[Any]) -> dict[str, Any]:
    kinds = by_kind(attacks)
    return {
        "attacks": attacks,
        "kinds": [(*KINDS[name], rows) for name, rows in kinds.items()],
        "folded": len(attacks) > FEW,
        "histograms": [plots.histogram(attack) for attack in representatives(kinds)],
        "pairs": [
            (title, text, sides, ordered(list(rows)))
            for title, text, sides, rows in (
                (*_THREAT_MODELS, by_threat_model(attacks)),
                (*_QUERIES, by_queries(attacks)),
            )
        ],
    }


def _of_robustness(own: str, audit: Mapping[str, Any] | None, twin: Mapping[str, Any]) -> dict[str, Any]:
    robustness = audit.get("robustness") if audit else None
    both = {own: robustness, "undefended float": twin.get("robustness")}
    curves = {
        name: measured for name, measured in both.items() if measured and measured["worst_case_accuracy"] is not None
    }
    return {"robustness": robustness, "curve": plots.robust_accuracy(curves) if curves else None}


def _roc(model: str, half: Mapping[str, Any] | None) -> Markup | None:
    if not half or not half.get("attacks"):
        return None
    return plots.roc(model, half["attacks"], half["utility"])


_THREAT_MODELS = (
    "Attackers who know the defence, and who do not",
    "Both know the training and train models to compare with: one without the defence, the other by the model's own recipe, "
    "defence included. A defence that stops only the former does not protect.",
    ("without the defence", "with the defence"),
)
_QUERIES = (
    "Clean queries, and perturbed ones",
    "The same attacks on the answers to the record itself, and to the record changed so that the model errs if it can. "
    "Models trained to resist such changes can give away more under them.",
    ("clean", "perturbed"),
)


def ordered(pairs: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """Pairs of rows, the pair with the strongest side first.

    Args:
        pairs: name, and the two rows of an audit's ``attacks`` to compare.

    Returns:
        The same pairs in a new list.
    """
    return sorted(pairs, key=lambda pair: -max(pair[1]["auc"], pair[2]["auc"]))


def representatives(kinds: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The attacks whose histograms are shown: the strongest of each kind, then the strongest of those left.

    Args:
        kinds: what ``by_kind`` returns.

    Returns:
        At most ``HISTOGRAMS`` rows, strongest first.
    """
    first = [rows[0] for rows in kinds.values()]
    rest = by_strength(attack for rows in kinds.values() for attack in rows[1:])
    return by_strength([*first, *rest][:HISTOGRAMS])


def comparison(audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None) -> Iterator[Row]:
    """The undefended float model beside the hardened one: cost, accuracy, robustness and leakage.

    Args:
        audit: content of model.audit.json, with the float twin's under "float" where it was audited; or None.
        bench: content of model.bench.json, or None.

    Yields:
        Four cells: what is compared, undefended float, hardened, change. A cell is empty where nothing was measured.
    """
    if bench is not None:
        yield from _costs(bench)
    if audit is None:
        return
    own, twin = audit, audit.get("float") or {}
    for key, label in (
        ("non_member_accuracy", "accuracy on unseen data"),
        ("member_accuracy", "accuracy on its training data"),
    ):
        yield _points(label, _accuracy(own.get("utility"), key), _accuracy(twin.get("utility"), key))
    robust, other = own.get("robustness"), twin.get("robustness")
    if robust is not None:
        label = f"robust accuracy, {formatting.budget(robust)}"
        same = other is not None and formatting.budget(other) == formatting.budget(robust)
        yield _points(label, _worst_case(robust), _worst_case(other) if same else None)
    best, against = strongest(own["attacks"]), strongest(twin.get("attacks", []))
    if best is not None:
        yield "strongest attack", _named(against), _named(best), ""
        for label, show in _LEAKAGE.items():
            yield label, show(against) if against else "", show(best), ""
    if own.get("dp"):
        epsilon = own["dp"]["epsilon"]
        shown = "none (trained without noise)" if epsilon is None else formatting.significant(epsilon)
        yield f"proven epsilon, at delta {own['dp']['delta']:.2g}", "", shown, ""


_LEAKAGE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "its AUC (0.5 is guessing)": lambda attack: formatting.with_interval(
        attack["auc"], attack["auc_ci"], formatting.area
    ),
    "like guessing": lambda attack: "yes" if like_guessing(attack) else "no",
    "its TPR at 1% FPR": lambda attack: tpr(attack, "0.01"),
    "its TPR at 0.1% FPR": lambda attack: tpr(attack, "0.001"),
    "its lower bound on epsilon": lambda attack: formatting.significant(attack["epsilon_lower_bound"]),
}


def _named(attack: Mapping[str, Any] | None) -> str:
    return f"{formatting.attack_name(attack)} ({phrase_of(attack)})" if attack else ""


def _accuracy(utility: Mapping[str, Any] | None, key: str) -> tuple[float, Sequence[float] | None] | None:
    return (utility[key], utility.get(f"{key}_ci")) if utility else None


def _worst_case(robustness: Mapping[str, Any] | None) -> tuple[float, Sequence[float] | None] | None:
    if robustness is None or robustness["worst_case_accuracy"] is None:
        return None
    return robustness["worst_case_accuracy"], robustness["ci"]


def _points(
    label: str,
    own: tuple[float, Sequence[float] | None] | None,
    twin: tuple[float, Sequence[float] | None] | None,
) -> Row:
    change = formatting.signed_points(own[0] - twin[0]) if own and twin else ""
    cells = [formatting.with_interval(*side, formatting.percent) if side else "" for side in (twin, own)]
    return label, cells[0], cells[1], change


def _costs(bench: Mapping[str, Any]) -> Iterator[Row]:
    own, ratio = headline(bench)
    wanted = (bench["reference"], own["threads"], own["batch"])
    twin = next((row for row in bench["variants"] if ratio is not None and _setting(row) == wanted), None)
    setting = f"batch {own['batch']}, {own['threads'] or 'all'} thread{'s' * (own['threads'] != 1)}"
    rows: tuple[tuple[str, str, Any], ...] = (
        ("file size", "size", lambda row: formatting.file_size(row["size_bytes"])),
        (f"latency p50, {setting}", "latency_p50", lambda row: formatting.milliseconds(row["latency_ms"]["p50"])),
        ("time to load", "load", lambda row: formatting.milliseconds(row["load_ms"])),
        ("memory, loaded", "rss_loaded", lambda row: formatting.megabytes(row["rss_mb"]["loaded"])),
        ("memory, peak", "rss_peak", lambda row: formatting.megabytes(row["rss_mb"]["peak"])),
    )
    for label, key, show in rows:
        yield label, show(twin) if twin else "", show(own), formatting.times(ratio[key]) if ratio else ""


def _setting(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["name"], row["threads"], row["batch"]


def _with_bars(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    largest = max((layer["stored_bytes"] for layer in layers), default=0)
    return [
        {
            **layer,
            "bar": 100 * layer["stored_bytes"] / max(largest, 1),
            "of_float": layer["stored_bytes"] / max(4 * layer["parameters"], 1),
        }
        for layer in layers
    ]


def missing(
    audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None, layers: Sequence[Mapping[str, Any]] | None
) -> Iterator[tuple[str, str]]:
    """Everything that a reader might expect of the page and does not find.

    Args:
        audit: content of model.audit.json, or None.
        bench: content of model.bench.json, or None.
        layers: weights by layer, or None.

    Yields:
        What is missing, and why.
    """
    if audit is None:
        yield "audit", "not run: leakage and robustness are unknown"
    else:
        yield from reasons(audit["left_out"])
        for fpr in ("0.01", "0.001"):
            rates = [attack["tpr_at_fpr"].get(fpr, {}) for attack in audit["attacks"]]
            notes = dict.fromkeys(entry["note"] for entry in rates if entry.get("note"))
            for note in notes:
                of = sum(entry.get("note") == note for entry in rates)
                which = "" if of == len(rates) else f" of {formatting.count(of, 'attack')}"
                yield f"true-positive rate at {100 * float(fpr):g}% false positives{which}", note
        robustness = audit.get("robustness")
        if robustness is None:
            yield "robustness", "no inputs were perturbed (--robust none)"
        elif robustness["worst_case_accuracy"] is None:
            yield "robustness", "; ".join(robustness["warnings"])
        twin = audit.get("float") or {}
        if not twin:
            why = audit.get("no_float_twin") or "not part of this audit"
            yield "audit of the undefended float model", f"{why}; what the defence changed is not shown"
        own = {row["reason"] for row in audit["left_out"]}
        for names, reason in reasons(twin.get("left_out", ())):
            if reason not in own:
                yield f"undefended float model: {names}", reason
        if (twin.get("robustness") or {}).get("worst_case_accuracy", 0) is None:
            yield "robustness of the undefended float model", "; ".join(twin["robustness"]["warnings"])
    if bench is None:
        yield "bench", "not run: latency and memory are unknown"
    if not layers:
        yield "weights by layer", "no description of the file was given"

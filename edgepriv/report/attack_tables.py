"""The membership attacks of an audit for a terminal of 80 columns: the strongest ones, and the rest by name of the file."""

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.attackers import added
from edgepriv.report.formatting import attack_name, count, parameters, percent
from edgepriv.report.groups import ADVERSARIAL, by_strength, counts, reasons
from edgepriv.report.prior import at_prior
from edgepriv.report.verdict import beyond_guessing

SHOWN, MANY, WIDTH = 15, 4, 80
_LONGEST = len("modified-entropy-classwise")


def attack_tables(audit: Mapping[str, Any], file: str, shown: int = SHOWN) -> list[Table | str]:
    """The strongest attacks, then what is not in their table: how many more there are, attacks left out, warnings, limits.

    Args:
        audit: content of model.audit.json.
        file: name of the file that holds all attacks.
        shown: attacks in the table, at most.

    Returns:
        The table, then one text of several lines; both fit into 80 columns.
    """
    utility, ranked = audit["utility"], by_strength(audit["attacks"])
    title = f"Membership attacks ({utility['n_members']:,} members, {utility['n_non_members']:,} non-members)"
    table = Table(
        title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1)
    )
    table.add_column("attack, by what the attacker has", min_width=_LONGEST + 3, overflow="fold")
    for heading in ("AUC", "TPR@1%", "TPR@0.1%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for phrase in dict.fromkeys(map(phrase_of, ranked[:shown])):
        table.add_section()
        table.add_row(Text(f"{phrase}:"))
        for attack in (row for row in ranked[:shown] if phrase_of(row) == phrase):
            table.add_row(
                Padding(Text(_name(attack, utility)), (0, 0, 0, 2)),
                f"{attack['auc']:.3f} {_bounds(attack['auc_ci'], lambda end: f'{end:.2f}'.removeprefix('0'))}",
                _rate(attack, "0.01", with_interval=True),
                _rate(attack, "0.001", with_interval=False),
            )
    return [table, "\n".join(_notes(audit, file, ranked[:shown], len(ranked) - shown))]


def _name(attack: Mapping[str, Any], utility: Mapping[str, Any]) -> str:
    """A long name breaks where its prefix ends; a star says that fewer candidates were judged."""
    name = attack_name(attack) + ("*" if _is_part(attack, utility) else "")
    return name.replace(ADVERSARIAL, f"{ADVERSARIAL}\n") if len(name) > _LONGEST else name


def _is_part(attack: Mapping[str, Any], utility: Mapping[str, Any]) -> bool:
    return counts(attack, utility) != counts({}, utility)


def _bounds(interval: Any, text_of: Any) -> str:
    return f"{text_of(interval[0])}-{text_of(interval[1])}"


def _rate(attack: Mapping[str, Any], fpr: str, *, with_interval: bool) -> str:
    """ "13.3% 9.7-18", or a dash where no such rate could be resolved."""
    rate = attack["tpr_at_fpr"].get(fpr)
    if rate is None or rate["value"] is None:
        return "-"
    bounds = f" {_bounds(rate['ci'], lambda end: f'{100 * end:.2g}')}" if with_interval else ""
    return percent(rate["value"]) + bounds


def _notes(audit: Mapping[str, Any], file: str, shown: list[Mapping[str, Any]], more: int) -> Iterator[str]:
    if more > 0:
        yield f"... {more} more in {file}"
    yield "TPR@1%: members found with 1% false alarms (guessing: 1%). Ranges: 95%."
    if audit["attacks"]:
        yield _wrapped(_beyond(audit["attacks"]))
        yield _wrapped(f"what each attacker adds: {added(audit)}")
    yield from (_wrapped(f"{finding.topic}: {finding.sentence}") for finding in at_prior(audit))
    if audit.get("releases"):
        yield _wrapped(f"several releases: {audit['releases']['sentence']}")
    if audit.get("loss_trace"):
        yield _wrapped(audit["loss_trace"]["sentence"])
    if any(attack.get("direction") == "reversed" for attack in shown):
        yield "(reversed): members score lower than others; judged the other way round"
    chosen = [f"{attack_name(row)} ({phrase_of(row)}) {parameters(row)}" for row in shown if parameters(row)]
    if chosen:
        yield _wrapped(f"run with: {'; '.join(chosen)}")
    parts = dict.fromkeys(counts(attack, audit["utility"]) for attack in shown if _is_part(attack, audit["utility"]))
    if parts:
        yield f"* on fewer candidates: {'; '.join(f'{members:,} + {others:,}' for members, others in parts)}"
    unresolved = [
        rate["note"]
        for attack in shown
        for rate in attack["tpr_at_fpr"].values()
        if rate["value"] is None and rate.get("note")
    ]
    if unresolved:
        yield f"-: {'; '.join(dict.fromkeys(unresolved))}"
    yield from (_wrapped(f"warning: {warning}") for warning in audit.get("warnings", []))
    left_out = list(reasons(audit["left_out"]))
    if left_out:
        yield f"left out, {count(len(left_out), 'reason')}:"
        yield from (_wrapped(f"- {reason}: {_some(names)}") for names, reason in left_out)
    yield from (_wrapped(limit["sentence"]) for limit in audit.get("limits", []) if limit["outcome"] == "met")


def _beyond(attacks: list[Mapping[str, Any]]) -> str:
    """Which attacks a claim may rest on."""
    names = [f"{attack_name(attack)} ({phrase_of(attack)})" for attack in by_strength(beyond_guessing(attacks))]
    heading = f"beyond guessing, corrected for {count(len(attacks), 'try')}".replace("trys", "tries")
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return f"{heading}: {', '.join(names[:MANY]) or 'none'}{more}"


def _some(names: str) -> str:
    """The first of many names, and how many more; the attackers, which stand in brackets at the end, are dropped then."""
    every = names.split(" (")[0].split(", ")
    return names if len(every) <= MANY else f"{', '.join(every[: MANY - 1])} and {len(every) - MANY + 1} more"


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)

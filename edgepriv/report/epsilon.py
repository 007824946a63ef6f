"""What the attacks show of epsilon, in a sentence, where chance decided who was a member."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.verdict import Finding

TOPIC = "Epsilon that attacks show"


def shown_epsilon(audit: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The bounds from one training.

    Args:
        audit: content of model.audit.json, or None.

    Yields:
        One finding; nothing for an audit without attacks, or of an earlier version.
    """
    part = (audit or {}).get("epsilon")
    if audit is None or part is None or not audit["attacks"]:
        return
    on_canaries = (audit.get("canaries") or {}).get("epsilon")
    sentences = [_sentence(part, "the audited records")]
    if on_canaries is not None:
        sentences.append(_sentence(on_canaries, "the canaries"))
    yield Finding(TOPIC, " ".join(sentences))


def _sentence(part: Mapping[str, Any], of: str) -> str:
    if "not_run" in part:
        return f"Not bounded on {of}: {part['not_run']}."
    own = part["one_run"]
    delta = own.get("delta", part["delta"])
    if own["attack"] is None:
        text = f"On {of}, no attack shows an epsilon above 0 at delta {delta:.2g} from one training"
    else:
        text = (
            f"On {of}, {_by(own)} shows an epsilon of at least {own['lower_bound']:.3g} at delta {delta:.2g}: "
            f"{own['right']:,} of {own['guesses']:,} guesses are right"
        )
    curve = part.get("f_dp")
    if curve is not None and curve["attack"] is not None:
        text += (
            f"; if the training is like a Gaussian mechanism, at least {curve['lower_bound']:.3g} at delta {part['delta']:.2g} "
            f"({_by(curve)})"
        )
    return (
        f"{text} (95% confidence; chosen among {part['attacks']} attacks on one half of the records, judged on the other; "
        "chance decided who was a member)."
    )


def _by(shown: Mapping[str, Any]) -> str:
    threat_model, name = shown["attack"].split("/", 1)
    return name if threat_model == "canaries" else f"{name} ({phrase_of({'name': name, 'threat_model': threat_model})})"

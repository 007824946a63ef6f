from edgepriv.report.groups import by_kind, by_queries, by_threat_model, counts, kind, reasons

UTILITY = {"n_members": 10, "n_non_members": 20}


def row(name, auc=0.6, model="adaptive", **more):
    return {"name": name, "auc": auc, "threat_model": model} | more


def test_kinds_follow_what_is_asked_then_what_is_trained():
    assert kind(row("lira-online")) == "references"
    assert kind(row("lira-online", queries="clean")) == "references"
    assert kind(row("adversarial/lira-online", queries="adversarial")) == "adversarial"
    assert kind(row("label-only-boundary", queries="label-only")) == "label-only"
    assert kind(row("shadow-mlp")) == "shadow"
    assert kind(row("loss")) == "answer"
    assert kind(row("an attack of a later version")) == "other"


def test_the_kind_with_the_strongest_attack_comes_first():
    found = by_kind([row("loss", 0.7), row("lira-online", 0.6), row("entropy", 0.8)])
    assert {name: [attack["name"] for attack in rows] for name, rows in found.items()} == {
        "answer": ["entropy", "loss"],
        "references": ["lira-online"],
    }
    assert next(iter(found)) == "answer"


def test_pairs_need_both_sides():
    rows = [row("loss"), row("lira-online"), row("lira-online", model="oblivious")]
    assert [name for name, *_ in by_threat_model(rows)] == ["lira-online"]
    rows.append(row("adversarial/loss", queries="adversarial"))
    rows.append(row("adversarial/entropy", queries="adversarial"))
    assert [name for name, *_ in by_queries(rows)] == ["loss (asks for answers)"]


def test_candidates_are_all_unless_the_row_says_how_many():
    assert counts(row("loss"), UTILITY) == (10, 20)
    assert counts(row("loss", n_members=3, n_non_members=4), UTILITY) == (3, 4)


def test_each_reason_is_said_once_for_those_who_share_it():
    left_out = [
        {"name": name, "threat_model": model, "reason": "needs more"}
        for name in ("a", "b")
        for model in ("adaptive", "oblivious")
    ]
    left_out += [{"name": "c", "threat_model": "oblivious", "reason": "needs more"}, {"name": "d", "reason": "slow"}]
    assert list(reasons(left_out)) == [
        ("a, b (knows the training)", "needs more"),
        ("c (knows the training, not the defence)", "needs more"),
        ("d", "slow"),
    ]

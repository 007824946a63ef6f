"""What each attacker adds to the one before."""

from edgepriv.report.attackers import added, attacker_rows

BEYOND, GUESSING = {"p_adjusted": 0.001}, {"p_adjusted": 1.0}


def row(name, auc, known=BEYOND, half=0.01):
    rate = {"0.01": {"value": 0.02, "ci": [0.01, 0.03]}}
    model = "adaptive"
    return {
        "name": name,
        "auc": auc,
        "auc_ci": [auc - half, auc + half],
        "tpr_at_fpr": rate,
        "threat_model": model,
    } | known


def test_each_attacker_has_the_attacks_of_those_before():
    rows = attacker_rows([row("loss", 0.6), row("adversarial/loss", 0.55), row("lira-online", 0.7)])
    assert [one["attacker"] for one in rows] == ["answers", "file", "training"]
    assert [one["strongest"] for one in rows] == ["loss", "loss", "lira-online"]
    assert [one["adds"] for one in rows] == ["", "nothing stronger", "AUC +0.100"]


def test_a_difference_within_the_noise_is_called_that():
    rows = attacker_rows([row("loss", 0.6), row("lira-online", 0.61)])
    assert rows[1]["adds"] == "AUC +0.010, no more than the noise"


def test_guessing_adds_nothing_and_a_leak_that_only_the_stronger_sees_is_said():
    guess = row("loss", 0.52, GUESSING)
    assert attacker_rows([guess, row("lira-online", 0.53, GUESSING)])[1]["adds"] == "nothing: still like guessing"
    said = added({"attacks": [guess, row("lira-online", 0.6)]})
    assert "Who asks for answers: like guessing." in said
    assert (
        "Who knows the training as well: AUC 0.600 [0.590, 0.610] by lira-online; this adds a leak that a weaker"
        in said
    )
    assert said.endswith("The verdict is by the strongest of them.")

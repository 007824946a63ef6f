"""``edgepriv.quickstart``: the steps of the command line in one call, said step by step, with a typed result."""

import dataclasses
from pathlib import Path

import pytest

import edgepriv
from edgepriv.errors import UserError
from edgepriv.pipeline import _quickstart

STEPS = ["train", "harden", "bench", "audit"]


@pytest.fixture
def done(monkeypatch, tmp_path):
    """The steps without their work; which were taken, and what they were given."""
    taken = []
    for step in STEPS:

        def recorded(*arguments, step=step, **options):
            taken.append((step, arguments, options))
            if step == "audit":
                (tmp_path / "model.audit.html").write_text("the page")
            return {"step": step}

        monkeypatch.setattr(_quickstart, step, recorded)
    monkeypatch.setattr(_quickstart.html, "comparison", lambda audited, measured: [["accuracy", "0.9", "0.8"]])
    monkeypatch.setattr(
        _quickstart.verdict, "verdict", lambda audited, measured: f"{audited['step']} after {measured['step']}"
    )
    return taken


def test_it_takes_the_steps_in_order_and_prints_nothing(done, tmp_path, capsys):
    steps = []
    finished = edgepriv.quickstart(out=tmp_path, progress=steps.append)
    assert [step for step, *_ in done] == STEPS
    assert [step.title[:4] for step in steps] == ["1/5 ", "2/5 ", "3/5 ", "4/5 ", "5/5 "]
    assert finished.report == Path(tmp_path / "report.html")
    assert finished.report.read_text() == "the page"
    assert (finished.audit, finished.verdict) == ({"step": "audit"}, "audit after bench")
    assert finished.seconds > 0
    assert finished.remarks == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        finished.seconds = 1.0
    assert capsys.readouterr() == ("", "")


def test_a_report_that_exists_is_replaced_only_when_asked(done, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UserError, match=r"report\.html"):
        edgepriv.quickstart(out=tmp_path)
    assert done == []
    edgepriv.quickstart(out=tmp_path, force=True)
    assert (tmp_path / "report.html").read_text() == "the page"

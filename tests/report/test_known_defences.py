"""The verb ``defences``, and the documentation's table of them."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from edgepriv import pipeline
from edgepriv.recipe.defences import DEFENCES
from edgepriv.report.defences import known_defences, markdown

HARDEN = Path(__file__).parents[2] / "docs" / "how-to" / "harden.md"


@pytest.fixture(scope="module")
def shown():
    console = Console(file=io.StringIO(), width=80, highlight=False)
    for part in known_defences(pipeline.defences()):
        console.print(part)
    return console.file.getvalue()


def test_the_list_has_every_defence_and_is_json():
    rows = json.loads(json.dumps(pipeline.defences()))
    assert [row["name"] for row in rows] == list(DEFENCES)
    assert all(row["option"].startswith("--") and row["paper"] and row["what"] for row in rows)


def test_the_table_fits_into_80_columns_and_cuts_no_name(shown):
    lines = shown.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert [line.split()[0] for line in lines if line.strip() and line.split()[0] in DEFENCES][: len(DEFENCES)] == list(
        DEFENCES
    )


def test_what_excludes_what_is_said(shown):
    assert "  noise with relaxloss\n" in shown
    assert "one at a time with flattening, dp, selena, dmp, dropout and mixup" in " ".join(shown.split())


def test_the_documentation_has_the_table_of_the_code():
    """Where it does not, put what ``edgepriv.report.defences.markdown()`` returns into docs/how-to/harden.md."""
    assert markdown() in HARDEN.read_text()

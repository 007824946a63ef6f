"""Every part of the kit opens its session as edgepriv does, whose figures are measured with float32 activations."""

import re
from pathlib import Path

import pytest

KIT = Path(__file__).parents[2] / "export"
OPENS = re.compile(r"InferenceSession(\.create)?\(|\.createSession\(|Ort::Session \w+\(|= try ORTSession\(")
SETS = re.compile(r"qdq_matmulnbits_accuracy_level\W+(value\W+)?1\b")
SOURCES = sorted(
    path
    for path in KIT.rglob("*.*")
    if path.suffix in (".py", ".mjs", ".cpp", ".kt", ".swift") and "node_modules" not in path.parts
)


def test_sessions_are_opened_in_every_language():
    opening = {path.suffix for path in SOURCES if OPENS.search(path.read_text())}
    assert opening == {".py", ".mjs", ".cpp", ".kt", ".swift"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(KIT)))
def test_what_opens_a_session_sets_float_activations(path):
    text = path.read_text()
    assert not OPENS.search(text) or SETS.search(text)

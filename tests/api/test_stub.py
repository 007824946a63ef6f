"""What editors are told of the verbs is what they take."""

from edgepriv.api import stub


def test_the_stub_is_written_from_the_declarations():
    assert stub.STUB.read_text() == stub.text(), "run python -m edgepriv.api.stub"


def test_types_are_written_as_source_has_them():
    shown = stub.text()
    assert 'adv: Literal["none", "fgsm", "pgd", "pgd-l2", "nfgsm", "free", "trades", "mart"] | None = None,' in shown
    assert "bits: int | str | None = None," in shown
    assert "*models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],\n    recipe:" in shown
    assert "progress: bool | Callable[[Step], object] = False,\n) -> Audited:" in shown

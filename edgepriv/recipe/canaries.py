"""How ``--canaries`` is written: a kind and a number, or a file of the user's own records."""

from dataclasses import dataclass
from pathlib import Path

from edgepriv.errors import nearest

KINDS = {
    "mislabelled": "records under a wrong label, drawn from the other classes",
    "rare": "records unlike all others (of one colour, or with cells drawn one by one), under a drawn label",
    "near-duplicate": "near copies of ordinary records, under a wrong label",
}
"""Kinds of canaries -> what they are, in words."""
FILES = (".npz", ".csv", ".tsv", ".txt", ".parquet")
FEWEST = 4


@dataclass(frozen=True)
class Planted:
    """What is asked for: ``count`` canaries of a kind, or those of ``file`` (then ``kind`` is "file" and ``count`` None)."""

    kind: str
    count: int | None = None
    file: Path | None = None

    def __str__(self) -> str:
        return str(self.file) if self.file is not None else f"{self.kind}:{self.count}"


def planted(written: str) -> Planted:
    """Read what ``--canaries`` says.

    Args:
        written: ``"mislabelled:500"``, ``"rare:N"``, ``"near-duplicate:N"``, or the name of a file.

    Returns:
        Kind and number, or the file with its whole path.

    Raises:
        ValueError: for an unknown kind, and for a number that cannot be halved or is below FEWEST.
    """
    text = written.strip()
    kind, colon, number = text.rpartition(":")
    if text.lower().endswith(FILES) and kind not in KINDS:
        return Planted("file", file=Path(text).expanduser().resolve())
    if not colon or kind not in KINDS:
        meant = "" if text in KINDS else nearest(kind or text, KINDS)
        raise ValueError(f"expected {', '.join(f'{known}:N' for known in KINDS)} or a file ({', '.join(FILES)}){meant}")
    if not number.isdecimal() or int(number) < FEWEST or int(number) % 2:
        raise ValueError(f"half of the canaries are trained on, so {kind} needs an even number of {FEWEST} or more")
    return Planted(kind, int(number))

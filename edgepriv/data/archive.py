"""What an .npz holds about each example beside ``x`` and ``y``: whose it is, of which part and of which subgroup."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.data.group_names import refuse_unlike
from edgepriv.data.groups import AMBIGUOUS, agreed, rank
from edgepriv.data.raw import PART_KEYS, names_parts, parts_of
from edgepriv.errors import UserError


@dataclass(frozen=True)
class Columns:
    """Arrays of an .npz by key, for ``count`` examples; those of a file with ``parts`` are called KEY_train, KEY_test, ..."""

    path: Path
    arrays: dict[str, np.ndarray]
    of_parts: tuple[str, ...]
    count: int

    def groups(self, asked: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Whose each example is.

        Args:
            asked: the key; None takes the one whose name says so (``GROUP_NAMES``).

        Returns:
            [N], None where there is none; and what was taken for it, in sentences.

        Raises:
            UserError: where the key does not fit the examples, where two keys contradict each other, and where some parts of
                the file say whose their examples are and others do not.
        """
        key, notes = (asked, ()) if asked is not None else self._of_persons()
        if key is None:
            return None, ()
        values = self.named(key, "--groups")
        keys = self._keys(key)
        refuse_unlike([f"{self.path}: {name}" for name in keys], [self.arrays[name].ravel() for name in keys])
        return values, (f"{key} names groups of examples that stay together", *notes)

    def _of_persons(self) -> tuple[str | None, tuple[str, ...]]:
        """The key whose name says that it holds persons, and what is said of others."""
        named = {key: place for key in self.arrays if (place := rank(self._without_part(key))) is not None}
        ordered = sorted({self._without_part(key) for key in named}, key=lambda key: (rank(key), key))
        for key in ordered:
            missing = [name for name in self._keys(key) if name not in self.arrays]
            if missing:
                there = sorted(name for name in named if self._without_part(name) == key)
                raise UserError(
                    f"{self.path}: {' and '.join(there)} may say whose examples these are, but there is no "
                    f"{' or '.join(missing)}: say it of every part, or leave it out"
                )
        plain = [key for key in ordered if rank(key) != AMBIGUOUS]
        notes = tuple(f"{key} is not taken for persons" for key in ordered if plain and key not in plain)
        return agreed(
            str(self.path), "--groups", [(key, self.named(key, "--groups")) for key in plain or ordered]
        ), notes

    def _without_part(self, key: str) -> str:
        """KEY of KEY_train, in a file of parts."""
        return next((key.removesuffix(f"_{part}") for part in self.of_parts if key.endswith(f"_{part}")), key)

    def parts(self, asked: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Of which part each example is.

        Args:
            asked: the key that ``--split-column`` names; None looks for one whose name and values say parts.

        Returns:
            "train", "val" or "test" [N], None where nothing says it; and sentences on what was taken for it.

        Raises:
            UserError: where a key is named beside parts that the file holds by themselves, for values that are no parts,
                and where two keys contradict each other.
        """
        if self.of_parts:
            if asked is not None:
                raise UserError(
                    f"{self.path}: --split-column names an array beside x and y; this file holds its parts by themselves "
                    f"({', '.join(f'x_{part}' for part in self.of_parts)})"
                )
            sizes = [len(self.arrays[f"y_{part}"]) for part in self.of_parts]
            return (np.repeat(self.of_parts, sizes) if len(self.of_parts) > 1 else None), ()
        if asked is not None:
            return parts_of(f"{self.path}: {asked}", self.named(asked, "--split-column")), (f"{asked} names the parts",)
        there = [key for key in sorted(self.arrays) if key.lower() in PART_KEYS]
        held = {key: self.arrays[key].ravel() for key in there if names_parts(f"{self.path}: {key}", self.arrays[key])}
        notes = tuple(f"{key} names no parts (train, val, test) and is not read" for key in there if key not in held)
        parts = [
            (key, parts_of(f"{self.path}: {key}", self.named(key, "--split-column")))
            for key, cells in held.items()
            if cells.size
        ]
        key = agreed(str(self.path), "--split-column", parts)
        return (None, notes) if key is None else (dict(parts)[key], (f"{key} names the parts", *notes))

    def named(self, key: str, option: str) -> np.ndarray:
        """The array of a key, one value for each example.

        Args:
            key: in a file of parts KEY stands for KEY_train, KEY_val, KEY_test.
            option: that names it, for messages.

        Returns:
            [N].

        Raises:
            UserError: where it is missing, or is not one value for each example.
        """
        keys = self._keys(key)
        missing = [name for name in keys if name not in self.arrays]
        if missing:
            raise UserError(
                f"{self.path} holds {sorted(self.arrays)}, and no {' or '.join(missing)} for {option} {key}"
            )
        sizes = [len(self.arrays[f"y_{part}"]) for part in self.of_parts] or [self.count]
        for name, size in zip(keys, sizes, strict=True):
            if self.arrays[name].size != size:
                raise UserError(
                    f"{self.path}: {name}, for {option}, has {self.arrays[name].size} values for {size} examples"
                )
        return np.concatenate([self.arrays[name].ravel() for name in keys])

    def _keys(self, key: str) -> list[str]:
        return [f"{key}_{part}" for part in self.of_parts] or [key]

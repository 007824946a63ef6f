"""What an .npz holds about each example beside ``x`` and ``y``: whose it is, of which part and of which subgroup."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.data.groups import GROUP_NAMES
from edgepriv.data.raw import PART_KEYS, PART_NAMES, parts_of
from edgepriv.errors import UserError


@dataclass(frozen=True)
class Columns:
    """Arrays of an .npz by key, for ``count`` examples; those of a file with ``parts`` are called KEY_train, KEY_test, ..."""

    path: Path
    arrays: dict[str, np.ndarray]
    of_parts: tuple[str, ...]
    count: int

    def groups(self, asked: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Whose each example is, by the key that is asked for, else by one of GROUP_NAMES; None where there is none. And what
        was taken for it, in a sentence."""
        key = asked or next((name for name in GROUP_NAMES if set(self._keys(name)) <= self.arrays.keys()), None)
        if key is None:
            return None, ()
        return self.named(key, "--groups"), (f"{key} names groups of examples that stay together",)

    def parts(self, asked: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Of which part each example is, and what was taken for it."""
        if self.of_parts:
            if asked is not None:
                raise UserError(
                    f"{self.path}: --split-column names an array beside x and y; this file holds its parts by themselves "
                    f"({', '.join(f'x_{part}' for part in self.of_parts)})"
                )
            sizes = [len(self.arrays[f"y_{part}"]) for part in self.of_parts]
            return (np.repeat(self.of_parts, sizes) if len(self.of_parts) > 1 else None), ()
        key = asked or next((key for key in sorted(PART_KEYS & self.arrays.keys()) if self._names_parts(key)), None)
        if key is None:
            return None, ()
        return parts_of(f"{self.path}: {key}", self.named(key, "--split-column")), (f"{key} names the parts",)

    def named(self, key: str, option: str) -> np.ndarray:
        """The array [N] of that key. Raises UserError where it is missing, or is not one value for each example."""
        keys = self._keys(key)
        missing = [name for name in keys if name not in self.arrays]
        if missing:
            raise UserError(
                f"{self.path} holds {sorted(self.arrays)}, and no {' or '.join(missing)} for {option} {key}"
            )
        values = np.concatenate([self.arrays[name].ravel() for name in keys])
        if len(values) != self.count:
            raise UserError(f"{self.path}: {' and '.join(keys)} name {len(values)} groups for {self.count} examples")
        return values

    def _keys(self, key: str) -> list[str]:
        return [f"{key}_{part}" for part in self.of_parts] or [key]

    def _names_parts(self, key: str) -> bool:
        cells = self.arrays[key]
        return (
            cells.dtype.kind in "US" and {text.strip().lower() for text in cells.ravel().tolist()} <= PART_NAMES.keys()
        )

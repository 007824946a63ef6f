"""What every result of a verb has: fields, the JSON that its command prints, how it is read on a terminal and in a notebook."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from edgepriv.recipe import Recipe

Row = Mapping[str, Any]


@dataclass(frozen=True, repr=False, kw_only=True)
class Result(ABC):
    """What every result has.

    ``remarks``: assumptions and findings that came up on the way, one line each.
    """

    remarks: tuple[str, ...] = ()
    _content: Any = field(default=None, compare=False)

    _named: ClassVar[Mapping[str, str]] = {}
    """Fields whose name in the JSON is another one."""

    @classmethod
    def of(cls, content: Any, **more: Any) -> Self:
        """A result from what a command prints as JSON.

        Args:
            content: what the command prints: a dictionary with the fields by name, or by ``_named``.
            more: fields that are not in it.

        Returns:
            The result; ``json()`` gives ``content`` back.
        """
        values = dict(more)
        for each in fields(cls):
            key = cls._named.get(each.name, each.name)
            if each.name not in values and isinstance(content, Mapping) and key in content:
                value = content[key]
                values[each.name] = _TYPED.get(each.type if isinstance(each.type, type) else object, _as_it_is)(value)
        return cls(**values, _content=content)

    def with_remarks(self, remarks: Sequence[str]) -> Self:
        """The same result with other remarks.

        Args:
            remarks: one line each.

        Returns:
            A copy.
        """
        return replace(self, remarks=tuple(remarks))

    def json(self) -> str:
        """What the command prints with ``--json``, one line."""
        return json.dumps(self._content, allow_nan=False)

    @abstractmethod
    def readable(self) -> list[Any]:
        """What the command prints without: strings and tables of rich."""

    def _repr_html_(self) -> str:
        import io

        from rich.console import Console

        console = Console(record=True, file=io.StringIO(), width=110, highlight=False)
        for part in (*(f"note: {remark}" for remark in self.remarks), *self.readable()):
            console.print(part, soft_wrap=isinstance(part, str), markup=False)
        return console.export_html(inline_styles=True, code_format='<pre style="line-height: 1.2">{code}</pre>')

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{each.name}={str(value) if isinstance(value, Path) else value!r}"
            for each in fields(self)
            if isinstance(value := getattr(self, each.name), (str, int, float, Path)) and not each.name.startswith("_")
        )
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, repr=False, kw_only=True)
class Rows(Result):
    """A table, whose rows can be gone through."""

    rows: Sequence[Row]

    @classmethod
    def of(cls, content: Any, **more: Any) -> Self:
        """A table from what a command prints as JSON.

        Args:
            content: the rows.
            more: fields that are not in them.

        Returns:
            The result; ``json()`` gives ``content`` back.
        """
        return cls(rows=tuple(content), _content=content, **more)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _as_it_is(value: Any) -> Any:
    return value


_TYPED: Mapping[type, Any] = {Path: Path, Recipe: Recipe.model_validate}
"""How what JSON holds becomes what a field is."""

"""What a foreign file is fed: a few random examples, or those of an .npz, exactly as the file takes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgepriv.artifact import choice, outputs
from edgepriv.artifact.contract import TOKENS, Contract, Source, as_fed, ask, source_of
from edgepriv.artifact.session import agree_on
from edgepriv.data import read_arrays
from edgepriv.errors import UserError

_LARGEST_TOKEN = 256
"""Random tokens are below: as many as a byte has. Halved where an embedding has fewer rows."""


def example_shape(source: Source, asked: Sequence[int] | None) -> tuple[int, ...]:
    """The sizes of one example.

    Args:
        source: the input of the file.
        asked: what the user says of them; None for nothing.

    Returns:
        The sizes without the batch.

    Raises:
        UserError: where a size is open and nobody says it, and where what is said does not fit the file.
    """
    declared = "[" + ", ".join(["N", *("?" if size is None else str(size) for size in source.row_shape)]) + "]"
    if asked is None:
        if None in source.row_shape:
            raise UserError(
                f"the model's input {source.name!r} leaves sizes open ({declared}): say them with --input-shape, such as "
                f"--input-shape {','.join('224' if size is None else str(size) for size in source.row_shape)}"
            )
        return tuple(size for size in source.row_shape if size is not None)
    fits = len(asked) == len(source.row_shape) and all(
        size in (None, own) for size, own in zip(source.row_shape, asked, strict=True)
    )
    if not fits:
        raise UserError(
            f"--input-shape {','.join(map(str, asked))}: the model's input {source.name!r} is {declared}; give the sizes of "
            "one example, without the batch"
        )
    return tuple(asked)


def random_examples(session: ort.InferenceSession, shape: Sequence[int], count: int, seed: int = 0) -> np.ndarray:
    """Examples from a fixed seed: uniform in [0, 1), or tokens that the file knows.

    Args:
        session: of the file.
        shape: of one example.
        count: at least 1; rounded up to whole batches of a file that takes a fixed one.
        seed: of the generator.

    Returns:
        float32 [n, ...], as ``predict`` takes them; whole numbers for tokens.

    Raises:
        UserError: when the file does not run on them.
    """
    source = source_of(session)
    generator = np.random.default_rng(seed)
    rows = -(-count // source.fixed_batch) * source.fixed_batch if source.fixed_batch else count
    if source.dtype not in TOKENS:
        return generator.random((rows, *shape), dtype=np.float32)
    below = _LARGEST_TOKEN
    while True:
        x = generator.integers(0, below, (rows, *shape)).astype(np.float32)
        try:
            names = [output.name for output in session.get_outputs()]
            ask(session, names, source.name, as_fed(x[: source.fixed_batch or 1], source.dtype))
        except UserError:
            if below <= 2:
                raise
            below //= 2
        else:
            return x


def given_examples(path: Path, source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """The examples of an .npz as the file takes them.

    Args:
        path: of the .npz: ``x`` [n, ...], and the labels ``y`` int [n] where they are known.
        source: the input of the file.

    Returns:
        float32 [n, ...] as ``predict`` takes them, and int64 [n] or None.

    Raises:
        UserError: for arrays that do not fit.
    """
    arrays = read_arrays(path)
    if "x" not in arrays:
        raise UserError(f"{path} has keys {sorted(arrays)}: expected x, exactly as the model takes it, and y if known")
    x, y = arrays["x"], arrays.get("y")
    wanted = ["N", *("any" if size is None else size for size in source.row_shape)]
    if (
        x.dtype.kind not in "fiu"
        or not len(x)
        or x.ndim != len(wanted)
        or any(size not in (None, own) for size, own in zip(source.row_shape, x.shape[1:], strict=True))
    ):
        raise UserError(
            f"{path}: x is {x.dtype} {list(x.shape)}, but the model takes {source.dtype} [{', '.join(map(str, wanted))}]"
        )
    fed = x.astype(np.float32)
    if not np.isfinite(fed).all():
        raise UserError(f"{path}: x holds NaN or infinity: leave these examples out")
    if source.dtype == "uint8":
        if x.dtype != np.uint8:
            raise UserError(f"{path}: x is {x.dtype}, but the model takes bytes: save uint8")
        fed /= np.float32(255)
    elif source.dtype in TOKENS and (x.dtype.kind == "f" or np.abs(x.astype(np.int64)).max() >= 2**24):
        raise UserError(f"{path}: x is {x.dtype}, but the model takes tokens: save whole numbers below 2^24")
    if y is None:
        return fed, None
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise UserError(
            f"{path}: y must be whole numbers [{len(x)}], one for each example (it is {y.dtype} {list(y.shape)})"
        )
    return fed, y.astype(np.int64)


def read_by(
    session: ort.InferenceSession, few: np.ndarray, output_name: str | None, y: np.ndarray | None = None
) -> tuple[Contract, list[str]]:
    """Decide which output holds the scores of the classes; the session is read so from now on.

    Args:
        session: of the file.
        few: float32 [n, ...], some examples.
        output_name: the output that the user names; None to decide.
        y: int64 [n], their true classes; None where they are not known.

    Returns:
        The contract, and what there is to say about it.

    Raises:
        UserError: where no output holds one number for each class, or several may.
    """
    source = source_of(session)
    returned = outputs.collect(session, source, as_fed(few, source.dtype), None)
    if output_name is not None and output_name not in returned.shapes:
        listed = ", ".join(f"{name} {shape}" for name, shape in returned.shapes.items())
        raise UserError(f"--output-name {output_name!r}: there is no such output; the model's outputs are {listed}")
    classes = max((one.classes for one in returned.scores), default=0)

    def codes_of(names: Sequence[str]) -> np.ndarray:
        if y is None:
            raise UserError("the true classes are not known")
        if y.max(initial=0) >= len(names):
            raise UserError(f"y goes up to {y.max()}, but the model has {len(names)} classes")
        return y

    contract, notes = choice.choose(returned, source, codes_of, classes, output_name)
    if contract.returns == "label":
        raise UserError(
            f"the output {contract.output_name!r} holds labels alone, which do not tell how far two files are apart: name the "
            "output with the scores by --output-name"
        )
    agree_on(session, contract)
    return contract, notes

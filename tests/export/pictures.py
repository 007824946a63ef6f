"""Picture files of every kind that people have, and what training's data reader makes of them."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from edgepriv.data.dataset import Dataset
from edgepriv.data.sources import load
from edgepriv.recipe import Data

_DRAWN = np.random.default_rng(0)
COLOUR = np.asarray(
    Image.fromarray(_DRAWN.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize((37, 29), Image.Resampling.BICUBIC)
)
GREY = np.asarray(Image.fromarray(COLOUR).convert("L"))
DEEP = GREY.astype(np.uint16) * 257 - (GREY > 99)
ALPHA = np.full((*GREY.shape, 1), 255, np.uint8)
ORIENTATION = 0x0112


def saved(folder: Path) -> dict[str, Path]:
    """Name -> a file, of every kind that each of the kits reads."""
    made: dict[str, Path] = {}

    def keep(name: str, picture: Image.Image, **options: object) -> None:
        made[name] = folder / name
        picture.save(made[name], **options)

    colour, grey = Image.fromarray(COLOUR), Image.fromarray(GREY)
    for sampling in (0, 1, 2):
        for progressive in (False, True):
            name = f"sampled-{sampling}{'-progressive' * progressive}.jpg"
            keep(name, colour, subsampling=sampling, progressive=progressive, quality=80)
    keep("grey.jpeg", grey, quality=60)
    for orientation in range(2, 9):
        turned = Image.Exif()
        turned[ORIENTATION] = orientation
        keep(f"turned-{orientation}.jpg", colour, exif=turned)
    keep("turned-6.png", colour, exif=turned)
    for name, picture in {"colour": colour, "grey": grey, "deep": Image.fromarray(DEEP)}.items():
        keep(f"{name}.png", picture)
    keep("black-and-white.png", grey.point(lambda shade: 255 * (shade > 127)).convert("1"))
    keep("opaque.png", Image.fromarray(np.concatenate([COLOUR, ALPHA], axis=2)))
    keep("opaque-grey.png", Image.fromarray(np.concatenate([GREY[..., None], ALPHA], axis=2)))
    keep("palette.png", colour.quantize(200))
    keep("palette-of-4-bits.png", colour.quantize(11))
    keep("palette-opaque.png", colour.quantize(9), transparency=bytes([255] * 9))
    keep("small-colour.png", colour.resize((12, 12)))
    made["colour-of-16-bits.png"] = png(folder / "colour-of-16-bits.png", COLOUR.astype(">u2") * 257, 2, 16)
    for bits in (2, 4):
        made[f"grey-of-{bits}-bits.png"] = png(folder / f"grey-of-{bits}-bits.png", GREY >> (8 - bits), 0, bits)
    made["interlaced.png"] = png(folder / "interlaced.png", COLOUR, 2, 8, interlaced=True)
    return made


def png(path: Path, pixels: np.ndarray, kind: int, bits: int, interlaced: bool = False) -> Path:
    """Write whole numbers [height, width(, channels)] as a PNG of ``kind`` (0 grey, 2 colour), each row filtered by another
    of the five filters."""
    height, width = pixels.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b""
    for top, left, down, right in passes:
        part = pixels[top::down, left::right]
        lines += filtered(rows_of(part, bits), max(1, pixels[0, 0].size * bits // 8)) if part.size else b""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def rows_of(pixels: np.ndarray, bits: int) -> np.ndarray:
    """uint8 [height, bytes of a row]."""
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    if bits >= 8:
        return flat.view(np.uint8).reshape(len(pixels), -1)
    single = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.astype(np.uint8).reshape(len(pixels), -1), axis=1)


def filtered(rows: np.ndarray, step: int) -> bytes:
    """The rows as PNG stores them; row r by filter r modulo 5."""
    above = np.zeros_like(rows[0], dtype=np.int64)
    stored = b""
    for number, row in enumerate(rows.astype(np.int64)):
        left, corner = (np.concatenate([np.zeros(step, np.int64), line])[: len(line)] for line in (row, above))
        guess = left + above - corner
        gaps = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(gaps.argmin(axis=0), [left, above, corner])
        taken = [0, left, above, (left + above) // 2, paeth][number % 5]
        stored += bytes([number % 5]) + ((row - taken) % 256).astype(np.uint8).tobytes()
        above = row
    return stored


def as_trained_on(files: dict[str, Path], folder: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    """float32 [n, channels, *size]: the files as training reads a folder of them, in their order."""
    of_class = folder / "set" / "all"
    of_class.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(files.values()):
        (of_class / f"{number:03d}{path.suffix}").write_bytes(path.read_bytes())
    (folder / "set" / "none").mkdir(exist_ok=True)
    Image.fromarray(COLOUR).save(folder / "set" / "none" / "one.png")
    read: Dataset = load(f"folder:{folder / 'set'}", asked=Data(channels=channels, image_size=size))
    x = read.x[read.y == 0]
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x

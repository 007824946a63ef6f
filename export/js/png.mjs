// PNG files -> the samples that they store, exactly: every colour type and depth, interlaced or not. The browser's canvas
// would drop the lower half of 16 bits, and the colour below transparency.

import { KitError } from "./classifier.mjs";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
/** First row and column, and steps, of the seven passes of an interlaced picture. */
const PASSES = [[0, 0, 8, 8], [0, 4, 8, 8], [4, 0, 8, 4], [0, 2, 4, 4], [2, 0, 4, 2], [0, 1, 2, 2], [1, 0, 2, 1]];
const LARGEST = 2 ** 28;
const XMP = "XML:com.adobe.xmp\0";

export const isPng = (bytes) => SIGNATURE.every((byte, at) => bytes[at] === byte);

/**
 * What a PNG file stores.
 * @typedef {object} Png
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {0 | 2 | 3 | 4 | 6} kind grey, colour, palette, grey with alpha, colour with alpha
 * @property {number} bits of a sample
 * @property {number} count samples of a pixel
 * @property {Uint8Array | Uint16Array} samples [height, width, count], places in the palette for kind 3
 * @property {Uint8Array | null} palette [colours, 3]
 * @property {Uint8Array | null} transparency content of tRNS
 * @property {Uint8Array | null} exif a TIFF header with its entries
 * @property {string} xmp empty if there is none
 */

/** @returns {Promise<Png>} */
export async function readPng(bytes) {
  const chunks = new Map();
  const data = [];
  for (const [name, content] of chunksOf(bytes)) {
    if (name === "IDAT") data.push(content);
    else if (!chunks.has(name)) chunks.set(name, content);
    if (name === "iTXt" && latin(content.subarray(0, 18)) === XMP) chunks.set("XMP", content);
    if (name === "acTL" && content.length >= 4 && view(content).getUint32(0) > 1) throw new KitError("it holds several pictures, and an example is one");
    if (/^[tz]TXt$/.test(name) && latin(content).startsWith("Raw profile type exif\0")) {
      throw new KitError("it holds its EXIF data as text, which predict.py alone reads");
    }
  }
  const header = view(chunks.get("IHDR") ?? new Uint8Array());
  if (header.byteLength !== 13 || !data.length) throw new KitError("it is no whole PNG file");
  const [width, height, bits, kind] = [header.getUint32(0), header.getUint32(4), header.getUint8(8), header.getUint8(9)];
  const palette = chunks.get("PLTE") ?? null;
  if (!width || !height || !DEPTHS[kind]?.includes(bits) || header.getUint8(12) > 1 || (kind === 3 && palette === null)) {
    throw new KitError("its header is not that of a PNG file");
  }
  if (width * height * SAMPLES[kind] > LARGEST) throw new KitError(`it has ${width} x ${height} pixels, too many to read`);
  const interlaced = header.getUint8(12) === 1;
  const count = SAMPLES[kind];
  const samples = new (bits === 16 ? Uint16Array : Uint8Array)(width * height * count);
  const lines = await inflated(data);
  let at = 0;
  for (const [top, left, down, right] of interlaced ? PASSES : [[0, 0, 1, 1]]) {
    const [rows, columns] = [Math.ceil((height - top) / down), Math.ceil((width - left) / right)];
    if (rows <= 0 || columns <= 0) continue;
    const stride = Math.ceil((columns * count * bits) / 8);
    if (at + rows * (stride + 1) > lines.length) throw new KitError("it is cut short");
    unfilter(lines.subarray(at, at + rows * (stride + 1)), stride, Math.max(1, (count * bits) >> 3));
    for (let row = 0; row < rows; row++) {
      const line = lines.subarray(at + row * (stride + 1) + 1, at + (row + 1) * (stride + 1));
      const start = (top + row * down) * width + left;
      for (let column = 0; column < columns; column++) {
        for (let c = 0; c < count; c++) {
          samples[(start + column * right) * count + c] = sample(line, column * count + c, bits);
        }
      }
    }
    at += rows * (stride + 1);
  }
  return {
    width, height, kind, bits, count, samples, palette,
    transparency: chunks.get("tRNS") ?? null,
    exif: chunks.get("eXIf") ?? null,
    xmp: latin(chunks.get("XMP") ?? new Uint8Array()),
  };
}

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

function* chunksOf(bytes) {
  const whole = view(bytes);
  for (let at = 8; ; ) {
    if (at + 12 > bytes.length) throw new KitError("it is cut short");
    const length = whole.getUint32(at);
    if (at + 12 + length > bytes.length) throw new KitError("it is cut short");
    const name = latin(bytes.subarray(at + 4, at + 8));
    if (crc(bytes.subarray(at + 4, at + 8 + length)) !== whole.getUint32(at + 8 + length)) {
      throw new KitError(`its chunk ${name} is damaged`);
    }
    if (name === "IEND") return;
    yield [name, bytes.subarray(at + 8, at + 8 + length)];
    at += 12 + length;
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

async function inflated(parts) {
  try {
    const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new KitError("its compressed pixels are damaged");
  }
}

/** Undo the filters of rows that each begin with the number of theirs. `step`: bytes from a sample to the same of the next pixel. */
function unfilter(lines, stride, step) {
  const none = new Uint8Array(stride);
  let above = none;
  for (let at = 0; at < lines.length; at += stride + 1) {
    const line = lines.subarray(at + 1, at + 1 + stride);
    const filter = lines[at];
    if (filter > 4) throw new KitError("its compressed pixels are damaged");
    for (let x = 0; x < stride; x++) {
      const left = x < step ? 0 : line[x - step];
      const corner = x < step ? 0 : above[x - step];
      if (filter === 1) line[x] += left;
      else if (filter === 2) line[x] += above[x];
      else if (filter === 3) line[x] += (left + above[x]) >> 1;
      else if (filter === 4) line[x] += paeth(left, above[x], corner);
    }
    above = line;
  }
}

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const [l, a, c] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  return l <= a && l <= c ? left : a <= c ? above : corner;
}

function sample(line, index, bits) {
  if (bits === 8) return line[index];
  if (bits === 16) return 256 * line[2 * index] + line[2 * index + 1];
  const bit = index * bits;
  return (line[bit >> 3] >> (8 - bits - (bit & 7))) & (2 ** bits - 1);
}

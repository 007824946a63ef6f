// JPEG files -> pixels, by libjpeg compiled to WebAssembly (@jsquash/jpeg), whose arithmetic is that of Pillow's libjpeg:
// a browser's own decoder may round otherwise. Here: what the file says about itself, and what Pillow would refuse.

import { KitError } from "./classifier.mjs";

/** Frame headers: all kinds of compression. */
const FRAMES = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];

export const isJpeg = (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;

/** A decoder of @jsquash/jpeg's decode.js (`decode` and `init`): bytes -> ImageData of RGBA. `wasm`: its compiled module. */
export const decoderOf = ({ default: decode, init }, wasm) => async (bytes) => {
  const complaints = [];
  // Each file gets a fresh instance: one that met a damaged file is not to be used again.
  await init(wasm, { print: () => {}, printErr: (text) => complaints.push(text) });
  let pixels;
  try {
    pixels = await decode(bytes);
  } catch {
    throw new KitError(complaints[0] ?? "it is damaged");
  }
  if (complaints.some((text) => text.startsWith("Premature end"))) throw new KitError("it is cut short");
  return pixels;
};

/**
 * Pixels and what the file says about them.
 * @returns {Promise<{width: number, height: number, count: 1 | 3, samples: Uint8Array, exif: Uint8Array | null, xmp: string}>}
 * samples [height, width, count]
 */
export async function readJpeg(bytes, decode) {
  const { count, exif, xmp, pictures } = headerOf(bytes);
  if (count === 4) throw new KitError("its colours are those of printers (CMYK), which predict.py alone reads");
  if (count !== 1 && count !== 3) throw new KitError("it is damaged or cut short: it does not say what colours it has");
  if (pictures > 1) throw new KitError(`it holds ${pictures} pictures, and an example is one: save each to a file`);
  const { width, height, data } = await decode(bytes);
  const samples = new Uint8Array(width * height * count);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < count; c++) samples[pixel * count + c] = data[4 * pixel + c];
  }
  return { width, height, count, samples, exif, xmp };
}

function headerOf(bytes) {
  const about = { count: 0, exif: null, xmp: "", pictures: 1 };
  const text = (from, to) => Array.from(bytes.subarray(from, to), (byte) => String.fromCharCode(byte)).join("");
  let gain = false;
  for (let at = 2; at + 4 <= bytes.length; ) {
    if (bytes[at] !== 0xff) throw new KitError("its markers are damaged");
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at++;
      continue;
    }
    if (marker === 0xda) break;
    const end = at + 2 + 256 * bytes[at + 2] + bytes[at + 3];
    const name = text(at + 4, Math.min(end, at + 40));
    if (FRAMES.includes(marker)) about.count = bytes[at + 9];
    else if (marker === 0xe1 && name.startsWith("Exif\0\0")) about.exif ??= bytes.subarray(at + 10, end);
    else if (marker === 0xe1 && name.startsWith("http://ns.adobe.com/xap/1.0/\0")) {
      about.xmp = text(at + 33, end);
      gain ||= about.xmp.includes(' hdrgm:Version="');
    } else if (marker === 0xe2 && name.startsWith("MPF\0")) about.pictures = entryOf(bytes.subarray(at + 8, end), 0xb001) ?? 1;
    at = end;
  }
  if (gain) about.pictures = 1; // the second one is a gain map of the first
  return about;
}

/** The number under a tag in the first directory of a TIFF structure; null if there is none. */
export function entryOf(bytes, tag) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const start = view.getUint32(4, little);
    for (let entry = 0; entry < view.getUint16(start, little); entry++) {
      const at = start + 2 + 12 * entry;
      if (view.getUint16(at, little) !== tag) continue;
      return view.getUint16(at + 2, little) === 3 ? view.getUint16(at + 8, little) : view.getUint32(at + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return null;
}

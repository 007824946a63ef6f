// Picture files -> the numbers that a model takes, as training reads them: picture.py in JavaScript, number for number.

import { KitError } from "./classifier.mjs";
import { entryOf, isJpeg, readJpeg } from "./jpeg.mjs";
import { isPng, readPng } from "./png.mjs";

export const PICTURES = /\.(jpe?g|png)$/i;
const ORIENTATION = 0x0112;
const FEWER_BITS = 14;
const WHITE = 65535;
/** Weights of red, green and blue in thousandths (ITU-R BT.601). */
const LUMINANCE = [299, 587, 114];

/**
 * A picture by planes.
 * @typedef {object} Planes
 * @property {number} channels
 * @property {number} height
 * @property {number} width
 * @property {Uint8Array | Uint16Array | Float32Array} values [channels, height, width]
 */

/**
 * Where a picture's numbers stand in one example: channels first or last. Null if the shape is not that of a picture.
 * @returns {{channels: number, height: number, width: number, last: boolean} | null}
 */
export function layoutOf(row) {
  if (row.length !== 3) return null;
  const colours = (size) => size === 1 || size === 3 || size === 4;
  if (colours(row[0])) return { channels: row[0], height: row[1], width: row[2], last: false };
  if (colours(row[2])) return { channels: row[2], height: row[0], width: row[1], last: true };
  return null;
}

/**
 * Pictures from the bytes of files, as a model takes them.
 * @param {{name: string, bytes: Uint8Array}[]} files
 * @param {number[]} row shape of one example
 * @param {(bytes: Uint8Array) => Promise<ImageData>} decodeJpeg see jpeg.mjs
 * @param {[number, number] | null} span black and white in pictures of more than 8 bits, if that is known
 * @returns {Promise<{values: Uint8Array | Float32Array, shape: number[], notes: string[]}>}
 */
export async function examples(files, row, decodeJpeg, span = null) {
  const layout = layoutOf(row);
  if (layout === null) throw new KitError(`${files[0].name} is a picture, but the model takes examples of shape [${row.join(", ")}]`);
  const { channels, height, width } = layout;
  const done = new Map();
  const note = (what) => done.set(what, (done.get(what) ?? 0) + 1);
  const pictures = [];
  for (const { name, bytes } of files) {
    try {
      const picture = await readPicture(bytes, channels, decodeJpeg);
      let planes = withChannels(picture.planes, channels);
      if (planes !== picture.planes) note(channels === 1 ? "turned from colour to grey" : `of grey, repeated in ${channels} channels`);
      if (planes.height !== height || planes.width !== width) {
        note(`resized to ${height}x${width} regardless of their proportions, as --image-size does in training`);
        planes = resized(planes, height, width);
      }
      if (picture.turned) note("rotated as their EXIF data say");
      if (picture.shortened) note("of colour with 16 bits for each channel, of which the upper 8 are read");
      pictures.push(arranged(inRange(planes, span), layout.last));
    } catch (error) {
      if (error instanceof KitError) error.message = `${name} cannot be used: ${error.message}`;
      throw error;
    }
  }
  const notes = [...done].map(([what, count]) => `pictures ${what}: ${count} of ${files.length}`);
  const deep = pictures.some((values) => values instanceof Float32Array);
  const values = new (deep ? Float32Array : Uint8Array)(pictures.length * pictures[0].length);
  pictures.forEach((one, index) => {
    values.set(deep && one instanceof Uint8Array ? Float32Array.from(one, (byte) => byte / 255) : one, index * one.length);
  });
  return { values, shape: [pictures.length, ...row], notes };
}

/** @returns {Promise<{planes: Planes, turned: boolean, shortened: boolean}>} */
export async function readPicture(bytes, channels, decodeJpeg) {
  let stored;
  let shortened = false;
  if (isPng(bytes)) {
    const png = await readPng(bytes);
    shortened = png.bits === 16 && png.kind !== 0;
    stored = { ...png, ...shades(png, channels) };
  } else if (isJpeg(bytes)) stored = await readJpeg(bytes, decodeJpeg);
  else throw new KitError("it is neither a JPEG nor a PNG file, which are the pictures that are read here");
  const { height, width, count, samples } = stored;
  const values = new samples.constructor(samples.length);
  for (let pixel = 0; pixel < height * width; pixel++) {
    for (let c = 0; c < count; c++) values[c * height * width + pixel] = samples[pixel * count + c];
  }
  const said = stored.exif === null ? null : entryOf(stored.exif, ORIENTATION);
  const orientation = said ?? Number(/tiff:Orientation(?:="|>)([0-9])/.exec(stored.xmp)?.[1] ?? 1);
  const planes = turned({ channels: count, height, width, values }, orientation);
  return { planes, turned: orientation >= 2 && orientation <= 8, shortened };
}

/** The samples of a PNG as grey or colour of 8 bits, or grey of 16; with alpha where the model takes four channels. */
function shades({ kind, bits, count, samples, palette, transparency }, channels) {
  if (kind === 0) return { count, samples: bits < 8 ? samples.map((value) => (value * 255) / (2 ** bits - 1)) : samples };
  const pixels = samples.length / count;
  if (kind === 2 && transparency === null) return { count, samples: upper(samples) };
  if (kind === 2 && bits === 16) throw new KitError("it has 16 bits and a transparent colour, which predict.py alone reads");
  const grey = kind === 4;
  const kept = grey ? 1 : 3;
  const alpha = new Uint8Array(pixels).fill(255);
  const colours = new Uint8Array(pixels * kept);
  const bytes = upper(samples);
  const clear = kind === 2 ? [1, 3, 5].map((at) => transparency[at]) : null;
  for (let pixel = 0; pixel < pixels; pixel++) {
    if (kind === 3) {
      const place = samples[pixel];
      if (3 * place + 2 >= palette.length) throw new KitError("its pixels name colours that its palette does not hold");
      colours.set(palette.subarray(3 * place, 3 * place + 3), 3 * pixel);
      alpha[pixel] = transparency?.[place] ?? 255;
      continue;
    }
    for (let c = 0; c < kept; c++) colours[pixel * kept + c] = bytes[pixel * count + c];
    if (kind === 2) alpha[pixel] = clear.every((shade, c) => bytes[3 * pixel + c] === shade) ? 0 : 255;
    else alpha[pixel] = bytes[pixel * count + kept];
  }
  if (channels === kept + 1 && (kind !== 3 || transparency !== null)) {
    const all = new Uint8Array(pixels * (kept + 1));
    for (let pixel = 0; pixel < pixels; pixel++) {
      all.set(colours.subarray(pixel * kept, (pixel + 1) * kept), pixel * (kept + 1));
      all[pixel * (kept + 1) + kept] = alpha[pixel];
    }
    return { count: kept + 1, samples: all };
  }
  if (alpha.some((value) => value !== 255)) {
    throw new KitError(
      "it has transparent pixels, whose colour is the background's: save the pictures on the background that the model is to " +
        "see, without an alpha channel",
    );
  }
  return { count: kept, samples: colours };
}

const upper = (samples) => (samples instanceof Uint16Array ? Uint8Array.from(samples, (value) => value >> 8) : samples);

/** A picture turned upright: `orientation` 1 to 8 as EXIF numbers them. */
export function turned({ channels, height, width, values }, orientation) {
  if (!(orientation >= 2 && orientation <= 8)) return { channels, height, width, values };
  const swapped = orientation >= 5;
  const [rows, columns] = swapped ? [width, height] : [height, width];
  const from = {
    2: (y, x) => [y, width - 1 - x],
    3: (y, x) => [height - 1 - y, width - 1 - x],
    4: (y, x) => [height - 1 - y, x],
    5: (y, x) => [x, y],
    6: (y, x) => [height - 1 - x, y],
    7: (y, x) => [height - 1 - x, width - 1 - y],
    8: (y, x) => [x, width - 1 - y],
  }[orientation];
  const upright = new values.constructor(values.length);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const [row, column] = from(y, x);
        upright[(c * rows + y) * columns + x] = values[(c * height + row) * width + column];
      }
    }
  }
  return { channels, height: rows, width: columns, values: upright };
}

/** Grey repeated, or the luminance of colour. */
export function withChannels(planes, channels) {
  const { height, width, values } = planes;
  if (planes.channels === channels) return planes;
  const size = height * width;
  const made = new values.constructor(channels * size);
  if (planes.channels === 1) {
    for (let c = 0; c < channels; c++) made.set(values, c * size);
  } else if (planes.channels === 3 && channels === 1) {
    for (let at = 0; at < size; at++) {
      made[at] = rint(LUMINANCE.reduce((sum, weight, c) => sum + weight * values[c * size + at], 0) / 1000);
    }
  } else throw new KitError(`pictures of ${planes.channels} channels cannot be turned into ${channels}`);
  return { channels, height, width, values: made };
}

/** Rounded, halves to even, as numpy does. */
function rint(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Antialiased bilinear resizing as Pillow does it in floating point: columns first, then rows, float32 in between. */
export function resized({ channels, height, width, values }, rows, columns) {
  const across = columns === width ? null : kernel(width, columns);
  const down = rows === height ? null : kernel(height, rows);
  const made = new values.constructor(channels * rows * columns);
  for (let c = 0; c < channels; c++) {
    let plane = Float32Array.from(values.subarray(c * height * width, (c + 1) * height * width));
    if (across) plane = passed(plane, across, columns, height, (x, y, at) => y * width + at, (x, y) => y * columns + x);
    if (down) plane = passed(plane, down, rows, columns, (y, x, at) => at * columns + x, (y, x) => y * columns + x);
    for (let at = 0; at < rows * columns; at++) made[c * rows * columns + at] = rint(plane[at]);
  }
  return { channels, height: rows, width: columns, values: made };
}

function passed(plane, weights, size, lines, source, target) {
  const made = new Float32Array(size * lines);
  for (let line = 0; line < lines; line++) {
    for (let part = 0; part < size; part++) {
      const { first, shares } = weights[part];
      let sum = 0;
      for (let at = 0; at < shares.length; at++) sum += plane[source(part, line, first + at)] * shares[at];
      made[target(part, line)] = sum;
    }
  }
  return made;
}

/** For each of `to` target pixels: the first of `from` source pixels that it takes from, and their shares (a triangle). */
function kernel(from, to) {
  const scale = from / to;
  const widened = Math.max(scale, 1);
  return Array.from({ length: to }, (_, part) => {
    const centre = (part + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - widened + 0.5));
    const end = Math.min(from, Math.trunc(centre + widened + 0.5));
    const shares = [];
    for (let at = first; at < end; at++) shares.push(Math.max(0, 1 - Math.abs((at - centre + 0.5) * (1 / widened))));
    const sum = shares.reduce((total, share) => total + share, 0);
    return { first, shares: shares.map((share) => share / sum) };
  });
}

/** Bytes as they are; 16 bits divided by their range. */
function inRange(planes, span) {
  const { values } = planes;
  if (values instanceof Uint8Array) return planes;
  const high = values.reduce((most, value) => Math.max(most, value), 0);
  if (span === null) {
    const used = Math.max(8, high ? Math.floor(Math.log2(high)) + 1 : 0);
    if (used <= FEWER_BITS) {
      throw new KitError(
        `the pixels have 16 bits, but none is above ${high}, as if they were recorded with ${used}: say in which range they ` +
          `were, --input-range 0:${2 ** used - 1} or --input-range 0:${WHITE}`,
      );
    }
  }
  const [low, top] = span ?? [0, WHITE];
  const unit = Float32Array.from(values, (value) => Math.fround(value - low) / Math.fround(top - low));
  if (!unit.every((value) => value >= -1e-4 && value <= 1 + 1e-4)) {
    throw new KitError(`its pixels lie outside [${low}, ${top}]: say in which range they were recorded, such as --input-range 0:4095`);
  }
  return { ...planes, values: unit.map((value) => Math.min(Math.max(value, 0), 1)) };
}

/** One example in the order of the model's. */
function arranged({ channels, height, width, values }, last) {
  if (!last) return values;
  const size = height * width;
  return values.map((_, at) => values[(at % channels) * size + Math.floor(at / channels)]);
}

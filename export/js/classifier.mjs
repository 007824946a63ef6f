// What Node and the browser share: what a classifier's file takes and returns, feeding it, checking it.
// Imports nothing; the runtime (onnxruntime-node or onnxruntime-web) is handed in as `ort`.

/** Bad input; the message is one sentence. */
export class KitError extends Error {}

/** KitError for a model that answers through MemGuard, which only predict.py computes. `device`: content of device.json. */
export function refuseUnguarded(device, sha256) {
  if (device.guard && Object.values(device.files).includes(sha256)) {
    throw new KitError("this model answers through MemGuard, which only device/predict.py computes: serve it with Python");
  }
}

/**
 * What a file takes and returns.
 * @typedef {object} Contract
 * @property {string} input name of the input
 * @property {"float32" | "uint8"} type of the input; float32 lies in [0, 1]
 * @property {number[]} row shape of one example
 * @property {number | null} fixedBatch the only number of rows that the model accepts, null if any
 * @property {string} output name of the first output
 * @property {string[]} classNames empty if the file and `names` hold none
 * @property {boolean} own made by edgepriv
 * @property {Object<string, string>} metadata of the file, empty for a .ort
 */

/**
 * The contract of an open session. `bytes`: of the .onnx, for its metadata, which the runtimes do not hand out; `names`:
 * class names for a file without them (.ort).
 * @returns {Contract}
 */
export function contractOf(session, bytes, names = []) {
  if (session.inputMetadata.length !== 1) {
    throw new KitError(`the model takes ${session.inputMetadata.length} inputs, but only models with one can be fed`);
  }
  const [input] = session.inputMetadata;
  if (input.type !== "float32" && input.type !== "uint8") {
    throw new KitError(`the model takes ${input.type}, but only float32 and uint8 can be fed`);
  }
  const [batch, ...row] = input.shape;
  if (!row.every((size) => typeof size === "number" && size > 0)) {
    throw new KitError(`the model's input shape [${input.shape}] leaves more open than the batch size`);
  }
  const metadata = metadataOf(bytes);
  return {
    input: input.name,
    type: input.type,
    row,
    fixedBatch: typeof batch === "number" && batch > 0 ? batch : null,
    output: session.outputNames[0],
    classNames: namesIn(metadata.class_names) ?? names,
    own: "edgepriv_version" in metadata,
    metadata,
  };
}

function namesIn(text) {
  try {
    const names = JSON.parse(text);
    return Array.isArray(names) ? names.map(String) : null;
  } catch {
    return null;
  }
}

/** metadata_props of a .onnx; empty for anything else (a .ort is not protocol buffers). */
export function metadataOf(bytes) {
  const found = {};
  try {
    for (const [field, entry] of fields(bytes)) {
      if (field !== 14) continue;
      const texts = Object.fromEntries([...fields(entry)].map(([key, text]) => [key, new TextDecoder().decode(text)]));
      found[texts[1]] = texts[2] ?? "";
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return {};
  }
  return found;
}

/** Number and content of the length-delimited fields of a protocol-buffers message; scalar fields are skipped. */
export function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new RangeError("truncated");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const size = varint();
      if (at + size > bytes.length) throw new RangeError("truncated");
      yield [Math.floor(tag / 8), bytes.subarray(at, at + size)];
      at += size;
    } else throw new RangeError("not protocol buffers");
  }
}

export const sizeOf = (shape) => shape.reduce((product, size) => product * size, 1);

/**
 * `{values, shape}` as the array that the model takes: uint8 becomes float32 by division by 255 when it takes float32,
 * whole numbers up to 255 become uint8 when it takes that. A single example may come without its batch axis.
 * @param {{values: Uint8Array | number[] | Float32Array | Float64Array, shape: number[]}} x
 * @returns {{values: Float32Array | Uint8Array, count: number}}
 */
export function fitInputs(contract, { values, shape }) {
  const { row, type } = contract;
  const same = (left, right) => left.length === right.length && left.every((size, axis) => size === right[axis]);
  const batched = same(shape, row) ? [1, ...shape] : shape;
  if (batched.length !== row.length + 1 || !same(batched.slice(1), row)) {
    throw new KitError(`the inputs have shape [${shape.join(", ")}], but the model takes [${["N", ...row].join(", ")}]`);
  }
  const count = batched[0];
  if (values instanceof Uint8Array) {
    return { values: type === "uint8" ? values : Float32Array.from(values, (value) => value / 255), count };
  }
  let [low, high, whole] = [Infinity, -Infinity, true];
  for (const value of values) {
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw new KitError("the inputs hold values that are not finite numbers");
    }
    low = Math.min(low, value);
    high = Math.max(high, value);
    whole &&= Number.isInteger(value);
  }
  if (type === "uint8") {
    const scaled = values instanceof Float32Array && high <= 1;
    if (!whole || low < 0 || high > 255 || scaled) {
      throw new KitError("the model takes bytes: whole numbers from 0 to 255");
    }
    return { values: Uint8Array.from(values), count };
  }
  if (contract.own && values.length && (low < 0 || high > 1)) {
    throw new KitError(`the inputs lie in [${low}, ${high}], but the model takes [0, 1]: scale them first`);
  }
  return { values: Float32Array.from(values), count };
}

/** A model with a fixed batch, in words that go on behind its name; empty for any other. */
export const saidOfBatch = ({ fixedBatch }) =>
  fixedBatch === null ? "" : fixedBatch === 1 ? "takes one example at a time: each is asked alone" : `takes ${fixedBatch} examples at a time`;

/**
 * First output for fitted inputs, `batch` rows at a time, or as many as the model takes if that is fixed (what is left over
 * is filled up with zeros): `{data, dims}`, data a plain typed array or BigInt64Array.
 */
export async function run(ort, session, contract, { values, count }, batch = 256) {
  const size = sizeOf(contract.row);
  const rows = contract.fixedBatch ?? batch;
  const parts = [];
  for (let start = 0; start < count; start += rows) {
    let part = values.subarray(start * size, Math.min(start + rows, count) * size);
    if (contract.fixedBatch !== null && part.length < rows * size) {
      const whole = new part.constructor(rows * size);
      whole.set(part);
      part = whole;
    }
    const feed = new ort.Tensor(contract.type, part, [part.length / size, ...contract.row]);
    const outputs = await session.run({ [contract.input]: feed }, [contract.output]);
    parts.push(outputs[contract.output]);
  }
  const dims = [count, ...parts[0].dims.slice(1)];
  const wanted = sizeOf(dims);
  if (parts.length === 1 && parts[0].data.length === wanted) return { data: parts[0].data, dims };
  const data = new parts[0].data.constructor(wanted);
  let at = 0;
  for (const part of parts) {
    const used = part.data.subarray(0, wanted - at);
    data.set(used, at);
    at += used.length;
  }
  return { data, dims };
}

/**
 * What an output says: `kind` is probabilities, logits or label; `labels` are numbers; `scores` [n][K] as returned and
 * `probabilities` [n][K], both null for labels.
 */
export function read(contract, { data, dims }) {
  const [count, classes] = dims;
  if (typeof data[0] === "bigint" && dims.length === 1) {
    return { kind: "label", labels: Array.from(data, Number), scores: null, probabilities: null };
  }
  if (typeof data[0] !== "number" || dims.length !== 2) {
    throw new KitError(`the model returns shape [${dims}] first, not one number per class`);
  }
  const scores = Array.from({ length: count }, (_, row) => Array.from(data.subarray(row * classes, (row + 1) * classes)));
  const strange = scores.findIndex((row) => row.some((score) => Number.isNaN(score) || score === Infinity));
  if (strange >= 0) throw new KitError(`the model answers example ${strange} with values that are not numbers`);
  const sumsToOne = (row) => Math.abs(row.reduce((sum, score) => sum + score, 0) - 1) < 1e-3 && row.every((p) => p >= 0);
  const named = contract.output === "probabilities" || contract.output === "logits";
  const kind = named ? contract.output : scores.every(sumsToOne) ? "probabilities" : "logits";
  const labels = scores.map((row) => row.indexOf(Math.max(...row)));
  return { kind, labels, scores, probabilities: kind === "logits" ? scores.map(softmax) : scores };
}

export function softmax(row) {
  const largest = Math.max(...row);
  const powers = row.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** The class called `label`: its name, else its number. */
export const nameOf = (contract, label) => contract.classNames[label] ?? String(label);

/**
 * Run golden.json's inputs and compare: `{examples, difference, tolerance, labels}`. Throws KitError where the model
 * computes something else. With labels, `difference` counts those that are not equal.
 */
export async function checkGolden(ort, session, contract, golden, record) {
  const values = Uint8Array.from(atob(golden.x), (character) => character.charCodeAt(0));
  const fitted = fitInputs(contract, { values, shape: golden.shape });
  const { data } = await run(ort, session, contract, fitted, fitted.count);
  const expected = golden.outputs.flat();
  const labels = typeof data[0] === "bigint";
  const gaps = Array.from(data, (value, at) => Math.abs(Number(value) - expected[at]));
  const difference = labels ? gaps.filter((gap) => gap !== 0).length : gaps.reduce(larger, 0);
  const tolerance = labels ? 0 : record.tolerance;
  if (data.length !== expected.length || !(difference <= tolerance)) {
    const found = labels
      ? `${difference} of ${expected.length} labels are not those at export`
      : `outputs differ by up to ${difference.toExponential(1)} from those at export, ${tolerance.toExponential(0)} is allowed`;
    throw new KitError(`the model computes something else here: ${found}; try another version of onnxruntime`);
  }
  return { examples: fitted.count, difference, tolerance, labels };
}

// Math.max, with NaN (a gap that is not a number, or an output that is missing) winning.
const larger = (left, right) => (Number.isNaN(left) || right <= left ? left : right);

/** The p-th percentile of sorted numbers, interpolated like numpy's default. */
export function percentile(sorted, p) {
  const at = ((sorted.length - 1) * p) / 100;
  const below = Math.floor(at);
  return sorted[below] + (at - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
}

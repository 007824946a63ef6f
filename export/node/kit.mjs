// What the commands share: the kit's records, opening a model, reading inputs, ending with one sentence.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { KitError, contractOf, refuseUnguarded } from "../js/classifier.mjs";
import { decoderOf } from "../js/jpeg.mjs";

export { KitError };

/** The folder of device.json. */
export const KIT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The module onnxruntime-node. */
export async function runtime() {
  // Sends usage events to its makers otherwise, under a number for this device; read when it is imported.
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
  try {
    const ort = (await import("onnxruntime-node")).default;
    ort.env.logLevel = "fatal"; // an error is thrown anyway; logged as well, it would reach the terminal twice
    return ort;
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new KitError(`onnxruntime-node is not installed: run npm install --ignore-scripts in ${path.join(KIT, "node")}`);
  }
}

/** Decodes JPEG files (see jpeg.mjs); the package is looked for when the first one comes. */
export async function decodeJpeg(bytes) {
  const absent = `@jsquash/jpeg, which reads JPEG files, is not installed: run npm install --ignore-scripts in ${path.join(KIT, "node")}`;
  const codec = await import("@jsquash/jpeg/decode.js").catch(() => {
    throw new KitError(absent);
  });
  const file = createRequire(import.meta.url).resolve("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm");
  return decoderOf(codec, await WebAssembly.compile(readFileSync(file)))(bytes);
}

/** A JSON file of the kit: device.json or golden.json. */
export function record(name) {
  const file = path.join(KIT, name);
  try {
    const content = JSON.parse(readFileSync(file, "utf8"));
    for (const key of name === "device.json" ? ["model", "files", "tolerance"] : ["x", "shape", "outputs"]) {
      if (content[key] === undefined) throw new Error(`it has no ${key}`);
    }
    return content;
  } catch (error) {
    throw new KitError(`${file} cannot be read (${error.message}): copy the kit again`);
  }
}

/** The file that device.json names, in the folder above the kit, else in the kit. */
export function shippedModel() {
  const { model } = record("device.json");
  const beside = [path.join(path.dirname(KIT), model), path.join(KIT, model)];
  return beside.find(existsSync) ?? beside[0];
}

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

export function bytesOf(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new KitError(error.code === "ENOENT" ? `no such file: ${file}` : `cannot read ${file}: ${error.message}`);
  }
}

/** Weights of 4 bits in standard operators run in a kernel that rounds activations to 8 bits by itself; 1 is float32. */
const FLOAT_ACTIVATIONS = { session: { qdq_matmulnbits_accuracy_level: "1" } };

/** Default options except for that and the number of threads (0: all cores), as in session.py. */
export async function openSession(ort, file, threads, more = {}) {
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 4, extra: FLOAT_ACTIVATIONS, ...more };
  try {
    return await ort.InferenceSession.create(file, options);
  } catch (error) {
    throw new KitError(`${file} cannot be opened as an ONNX model: ${reasonOf(error)}`);
  }
}

export const reasonOf = (error) => String(error.message ?? error).trim().split("\n")[0];

/** Refuse a model whose answers this kit cannot guard (see refuseUnguarded). */
export function refuseUnprotected(file) {
  if (existsSync(path.join(KIT, "device.json"))) refuseUnguarded(record("device.json"), sha256(bytesOf(file)));
}

/** Session and contract of `file`, and device.json if it is on record there; class names come from the file, else from there. */
export async function openClassifier(ort, file, threads = 1) {
  const bytes = bytesOf(file);
  const session = await openSession(ort, file, threads);
  const names = existsSync(path.join(KIT, "device.json")) ? record("device.json") : { files: {} };
  const shipped = Object.values(names.files).includes(sha256(bytes));
  return { session, contract: contractOf(session, bytes, shipped ? names.class_names : []), device: shipped ? names : null };
}

/** The numbers of a .json (nested lists), .csv or .npy file: {values, shape}. */
export function readInputs(file) {
  const bytes = bytesOf(file);
  try {
    if (file.endsWith(".npy")) return readNpy(bytes);
    const text = bytes.toString("utf8").trim();
    const rows = file.endsWith(".csv")
      ? text.split(/\r?\n/).map((line) => line.split(",").map((cell) => (cell.trim() === "" ? NaN : Number(cell))))
      : JSON.parse(text);
    if (!Array.isArray(rows)) throw new Error("it holds no list");
    const shape = [];
    for (let level = rows; Array.isArray(level); level = level[0]) shape.push(level.length);
    if (!isRegular(rows, shape)) throw new Error("its rows differ in length");
    return { values: rows.flat(Infinity), shape };
  } catch (error) {
    throw new KitError(`${file} is not a readable .json, .csv or .npy file of numbers: ${error.message}`);
  }
}

/** Whether nested lists are an array of `shape`. */
function isRegular(rows, [size, ...inner]) {
  if (size === undefined) return !Array.isArray(rows);
  return Array.isArray(rows) && rows.length === size && rows.every((row) => isRegular(row, inner));
}

/** NumPy's format (NEP 1): magic, version, header length, a Python dictionary, then the numbers. */
function readNpy(bytes) {
  const types = { "|u1": Uint8Array, "<f4": Float32Array, "<f8": Float64Array };
  if (bytes.toString("latin1", 0, 6) !== "\x93NUMPY") throw new Error("it does not start as one");
  const [length, start] = bytes[6] === 1 ? [bytes.readUInt16LE(8), 10] : [bytes.readUInt32LE(8), 12];
  const header = bytes.toString("latin1", start, start + length);
  const type = types[/'descr': '([^']*)'/.exec(header)?.[1]];
  if (!type || !header.includes("'fortran_order': False")) {
    throw new Error("only uint8, float32 and float64 in C order can be read");
  }
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1].match(/\d+/g) ?? []).map(Number);
  const content = bytes.subarray(start + length);
  const count = shape.reduce((product, size) => product * size, 1);
  if (content.length < count * type.BYTES_PER_ELEMENT) throw new Error("it is truncated");
  // A copy, because a typed array must start at a multiple of its element's size.
  return { values: new type(Uint8Array.from(content).buffer, 0, count), shape };
}

/** A number of threads from the command line. */
export function wholeNumber(name, text, least) {
  if (!/^\d+$/.test(text) || Number(text) < least) throw new KitError(`--${name} ${text}: give a number from ${least} up`);
  return Number(text);
}

/** A range from the command line, such as 0:4095; null for none. */
export function ends(text) {
  if (text === undefined) return null;
  const [low, high, more] = text.split(":").map((end) => (end.trim() === "" ? NaN : Number(end)));
  if (!(low < high) || !Number.isFinite(high - low) || more !== undefined) {
    throw new KitError(`--input-range ${text}: give two numbers such as 0:4095, the smaller one first`);
  }
  return [low, high];
}

/** Run a command; bad input is one line on standard error and exit code 2. */
export async function runCommand(command) {
  try {
    await command();
  } catch (error) {
    const usage = String(error.code ?? "").startsWith("ERR_PARSE_ARGS");
    if (!(error instanceof KitError) && !usage) throw error;
    console.error("error:", error.message.split(/\s+/).join(" "));
    process.exitCode = 2;
  }
}

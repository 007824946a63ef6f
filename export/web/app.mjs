// The page: loads the shipped model (or another), classifies what is drawn, opened or typed, verifies and times.

import {
  KitError, checkGolden, contractOf, fitInputs, nameOf, percentile, read, refuseUnguarded, run, saidOfBatch, sizeOf,
} from "../js/classifier.mjs";
import { decoderOf } from "../js/jpeg.mjs";
import { examples, layoutOf } from "../js/picture.mjs";
import { encoded, readRows, tableOf } from "../js/table.mjs";
import { drawable, inverted, pixelsOf, show, toBytes } from "./picture.mjs";
import { loadRuntime, openFastest, wordsOf } from "./runtime.mjs";

const KIT = new URL("../", import.meta.url);
const BARS = 10;
const SAMPLES = 11;
const SAMPLE_MS = 4;
const at = (id) => document.getElementById(id);

/** What is open: {name, bytes, ort, session, provider, contract, layout, table}. */
let open = null;
let device = null;
let pad = null;
/** What runs models, see runtime.mjs. */
let runtime = null;
/** The example of the picture that was opened last, {values, shape, notes}; null while drawing. */
let picture = null;

async function bytesOf(url) {
  const response = await fetch(url);
  if (!response.ok) throw new KitError(`cannot load ${url} (${response.status}): copy the kit again`);
  return new Uint8Array(await response.arrayBuffer());
}

const jsonOf = async (name) => JSON.parse(new TextDecoder().decode(await bytesOf(new URL(name, KIT))));

async function openShipped(name) {
  const beside = [new URL(`../${name}`, KIT), new URL(name, KIT)];
  let bytes = null;
  for (const url of beside) bytes ??= await bytesOf(url).catch(() => null);
  if (bytes === null) throw new KitError(`${name} is neither beside the kit nor in it`);
  await openModel(name, bytes, device.class_names);
}

async function openModel(name, bytes, names) {
  let opened;
  try {
    opened = await openFastest(runtime, bytes);
  } catch (error) {
    throw new KitError(`${name} cannot be opened as an ONNX model: ${String(error.message ?? error).split("\n")[0]}`);
  }
  const shipped = names === device.class_names ? device : null;
  let read;
  try {
    const contract = contractOf(opened.session, bytes, names);
    if (contract.fixedBatch > 1) throw new KitError(`the model takes ${contract.fixedBatch} examples at once, not one`);
    read = { contract, layout: layoutOf(contract.row), table: tableOf(contract.metadata, shipped) };
  } catch (error) {
    await opened.session.release(); // the model that was open before stays
    throw error;
  }
  await open?.session.release();
  open = { name, bytes, shipped, ...opened, ...read };
  describe();
}

function describe() {
  const { name, bytes, contract, layout } = open;
  const classes = contract.classNames.length ? `, ${contract.classNames.length} classes` : "";
  document.title = at("name").textContent = name;
  at("facts").textContent =
    `${bytes.length.toLocaleString("en")} bytes, takes ${contract.type} [${contract.row.join(" × ")}]${classes}, ` +
    `onnxruntime-web ${open.ort.env.versions.web}, ${wordsOf(runtime, open.provider)}` +
    (open.tried ? ` (${open.tried})` : "") + (contract.fixedBatch === null ? "" : `; ${saidOfBatch(contract)}`);
  at("classes").textContent = contract.classNames.join(", ") || "The file names none.";
  at("verified").className = "soft";
  at("verified").textContent = "Compares the file with device.json, and its outputs with those at export.";
  at("verify").disabled = false;
  at("picture").hidden = !layout;
  at("numbers").hidden = !!layout;
  at("label").textContent = "\u00a0";
  at("bars").replaceChildren();
  at("latency").textContent = "Nothing has been classified yet.";
  if (layout) preparePicture(layout);
  else prepareNumbers(contract);
}

function preparePicture(layout) {
  const canvas = at("drawing");
  const scale = Math.max(1, Math.round(336 / Math.max(layout.width, layout.height)));
  canvas.width = layout.width * scale;
  canvas.height = layout.height * scale;
  document.querySelector(".colour").hidden = layout.channels === 1;
  at("size").value = Math.max(4, Math.min(60, Math.round(canvas.width / 13)));
  at("seen-size").textContent = `What the model sees: ${layout.width} × ${layout.height}, ${layout.channels === 1 ? "grey" : "colour"}`;
  clear();
}

function prepareNumbers(contract) {
  at("random").hidden = open.table !== null;
  if (open.table !== null) {
    at("values-label").textContent = "A row of the table, below the titles of its columns";
    at("values").value = open.table.titled ? `${open.table.columns.map(({ name }) => quoted(name)).join(",")}\n` : "";
    return;
  }
  const range = contract.type === "uint8" ? "whole numbers from 0 to 255" : contract.own ? "numbers from 0 to 1" : "numbers";
  at("values-label").textContent = `${sizeOf(contract.row)} ${range}, separated by commas or spaces`;
  at("values").value = "";
}

const quoted = (name) => (/[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name);

function clear() {
  picture = null;
  pad.clear();
  at("hint").hidden = false;
  at("invert").checked = false;
  show(at("seen"), new Uint8Array(sizeOf(open.contract.row)), open.layout);
}

async function classifyPicture() {
  at("hint").hidden = true;
  const { layout, contract } = open;
  const values = picture === null ? toBytes(pixelsOf(at("drawing")), layout) : picture.values;
  const x = at("invert").checked ? inverted(values, layout) : values;
  show(at("seen"), x, layout);
  await classify({ values: x, shape: contract.row });
  if (picture?.notes.length) at("latency").textContent += ` ${picture.notes.map((note) => note.replace(": 1 of 1", "")).join("; ")}.`;
}

async function openPicture(file) {
  const { contract, shipped } = open;
  const files = [{ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) }];
  const x = await examples(files, contract.row, decodeJpeg, shipped?.picture_range ?? null);
  if (contract.type === "uint8" && x.values instanceof Float32Array) {
    throw new KitError(`${file.name}: the pixels have more than 8 bits, but the model takes bytes: save them with 8 bits`);
  }
  picture = x;
  const small = document.createElement("canvas");
  show(small, x.values, open.layout);
  const canvas = at("drawing");
  canvas.getContext("2d").imageSmoothingEnabled = false;
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
  return classifyPicture();
}

/** Decodes JPEG files (see jpeg.mjs); the decoder is loaded when the first one comes. */
async function decodeJpeg(bytes) {
  const codec = "node_modules/@jsquash/jpeg/";
  const wasm = await bytesOf(new URL(`${codec}codec/dec/mozjpeg_dec.wasm`, import.meta.url));
  return decoderOf(await import(`./${codec}decode.js`), await WebAssembly.compile(wasm))(bytes);
}

async function classifyNumbers() {
  if (open.table !== null) {
    const { values, shape, notes } = encoded(open.table, readRows(at("values").value, open.table));
    if (shape[0] !== 1) throw new KitError(`there are ${shape[0]} rows below the titles, but one is classified at a time`);
    await classify({ values, shape });
    if (notes.length) at("latency").textContent += ` ${notes.map((note) => note.replace(" (1 of 1 rows)", "")).join("; ")}.`;
    return;
  }
  const cells = at("values").value.split(/[\s,;]+/).filter((cell) => cell);
  const wanted = sizeOf(open.contract.row);
  if (cells.length !== wanted) throw new KitError(`there are ${cells.length} numbers, but the model takes ${wanted}`);
  return classify({ values: cells.map(Number), shape: open.contract.row });
}

async function classify(x) {
  const { bytes, ort, session, contract } = open;
  if (device.guard) refuseUnguarded(device, (await sha256Of(bytes)) ?? Object.values(device.files)[0]);
  const fitted = fitInputs(contract, x);
  const answer = read(contract, await run(ort, session, contract, fitted));
  const [label] = answer.labels;
  at("label").textContent = nameOf(contract, label);
  at("bars").replaceChildren(...bars(contract, answer.probabilities?.[0] ?? []));
  const latency = await time(() => run(ort, session, contract, fitted));
  const only = answer.kind === "label" ? "The file returns the label alone. " : "";
  at("latency").textContent = `${only}${latency.median.toPrecision(3)} ms for one example, median of ${SAMPLES} × ${latency.runs} runs, ${wordsOf(runtime, open.provider).replace(/ \(.*/, "")}.`;
}

/** The largest probabilities as rows of name, bar and number. */
function bars(contract, probabilities) {
  const order = probabilities.map((probability, label) => ({ probability, label }));
  order.sort((left, right) => right.probability - left.probability);
  return order.slice(0, BARS).map(({ probability, label }) => {
    const row = document.createElement("li");
    const [name, track, value] = ["name", "track", "value"].map((kind) => {
      const part = document.createElement("span");
      part.className = kind;
      row.append(part);
      return part;
    });
    name.textContent = name.title = nameOf(contract, label);
    value.textContent = `${(100 * probability).toFixed(1)}%`;
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.style.width = `${100 * probability}%`;
    track.append(bar);
    return row;
  });
}

/** Median milliseconds of a run. A browser's clock is coarse, so each sample is the mean of enough runs to be seen. */
async function time(once) {
  let one = Infinity;
  for (let tried = 0; tried < 5; tried++) {
    const start = performance.now();
    await once();
    one = Math.min(one, performance.now() - start);
  }
  const runs = Math.min(200, Math.max(1, Math.ceil(SAMPLE_MS / Math.max(one, 0.02))));
  const samples = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    const before = performance.now();
    for (let done = 0; done < runs; done++) await once();
    samples.push((performance.now() - before) / runs);
  }
  samples.sort((left, right) => left - right);
  return { median: percentile(samples, 50), runs };
}

/** sha256 in hex; null where the browser offers none (neither https nor localhost). */
async function sha256Of(bytes) {
  if (!crypto.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function verify() {
  const { bytes, ort, session, contract } = open;
  const sha256 = await sha256Of(bytes);
  let identity = "The bytes were not compared: a browser offers sha256 only over https or on localhost. ";
  if (sha256 !== null) {
    if (!Object.values(device.files).includes(sha256)) {
      throw new KitError("this is not the file that was shipped (its sha256 differs): copy it again");
    }
    identity = "The bytes are those that were shipped. ";
  }
  const found = await checkGolden(ort, session, contract, await jsonOf("golden.json"), device);
  const outputs = found.labels
    ? `${found.examples} golden labels are the same.`
    : `${found.examples} golden outputs agree within ${found.difference.toExponential(1)} (allowed ${found.tolerance.toExponential(0)}).`;
  at("verified").className = "good";
  at("verified").textContent = identity + outputs;
}

/** Run a step; what goes wrong is shown in `place`. */
function shown(step, place = "problem") {
  return async (...given) => {
    at("problem").hidden = true;
    try {
      return await step(...given);
    } catch (error) {
      at(place).className = place === "problem" ? "" : "bad";
      at(place).textContent = error instanceof KitError ? error.message : `unexpected: ${error.message ?? error}`;
      at(place).hidden = false;
      if (!(error instanceof KitError)) console.error(error);
      return null;
    }
  };
}

function connect() {
  const redraw = shown(classifyPicture);
  pad = drawable(
    at("drawing"),
    () => ({ size: Number(at("size").value), colour: open.layout.channels === 1 ? "#fff" : at("colour").value }),
    redraw,
  );
  at("drawing").addEventListener("pointerdown", () => {
    picture = null; // what is drawn over an opened picture counts as a drawing
    at("hint").hidden = true;
  });
  at("clear").addEventListener("click", shown(clear));
  at("invert").addEventListener("change", redraw);
  at("classify").addEventListener("click", shown(classifyNumbers));
  at("random").addEventListener("click", shown(randomNumbers));
  at("verify").addEventListener("click", shown(verify, "verified"));
  at("shipped").addEventListener("change", shown(() => openShipped(at("shipped").value)));
  const files = (id, use) =>
    at(id).addEventListener("change", async () => {
      const [file] = at(id).files;
      if (file) await shown(use)(file);
      at(id).value = "";
    });
  files("upload", openPicture);
  files("other", async (file) => openModel(file.name, new Uint8Array(await file.arrayBuffer()), []));
}

function randomNumbers() {
  const bytes = open.contract.type === "uint8";
  const values = Array.from({ length: sizeOf(open.contract.row) }, () =>
    bytes ? Math.floor(256 * Math.random()) : Math.random().toFixed(3),
  );
  at("values").value = values.join(", ");
  return classifyNumbers();
}

async function start() {
  connect();
  runtime = await loadRuntime();
  device = await jsonOf("device.json");
  at("shipped").replaceChildren(...Object.keys(device.files).map((name) => new Option(name, name)));
  at("shipped").value = device.model;
  at("shipped").hidden = Object.keys(device.files).length < 2;
  await openShipped(device.model);
}

await shown(start)();

// Classify pictures, or the rows of a .json, .csv or .npy file: node predict.mjs model.onnx picture.jpg

import path from "node:path";
import { parseArgs } from "node:util";
import { fitInputs, nameOf, read, run, saidOfBatch } from "../js/classifier.mjs";
import { PICTURES, examples } from "../js/picture.mjs";
import { encoded, readRows, tableOf, textOf } from "../js/table.mjs";
import {
  KitError, bytesOf, decodeJpeg, ends, openClassifier, readInputs, reasonOf, refuseUnprotected, runCommand, runtime, wholeNumber,
} from "./kit.mjs";

/** What the files of a command line hold, as the model takes it: pictures, rows of a table, numbers. */
async function inputsOf(paths, contract, device, span) {
  const pictures = paths.filter((file) => PICTURES.test(file));
  if (pictures.length === paths.length) {
    const files = paths.map((file) => ({ name: file, bytes: bytesOf(file) }));
    const x = await examples(files, contract.row, decodeJpeg, span ?? device?.picture_range ?? null);
    if (contract.type === "uint8" && x.values instanceof Float32Array) {
      throw new KitError(`${paths[0]}: the pixels have more than 8 bits, but the model takes bytes: save them with 8 bits`);
    }
    const scale = contract.own || contract.type === "uint8" ? [] : ["the model does not say how its inputs are scaled: black is 0 and white 1"];
    return { ...x, notes: [...x.notes, ...scale] };
  }
  if (paths.length > 1) throw new KitError("give pictures alone, or one file of numbers");
  const [file] = paths;
  const table = tableOf(contract.metadata, device);
  if (table === null || !/\.(csv|tsv|txt)$/i.test(file)) return { ...readInputs(file), notes: [] };
  try {
    return encoded(table, readRows(textOf(bytesOf(file)), table));
  } catch (error) {
    if (error instanceof KitError && !error.message.includes(file)) error.message = `${file}: ${error.message}`;
    throw error;
  }
}

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      threads: { type: "string", default: "1" },
      "input-range": { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (positionals.length < 2) throw new KitError("usage: node predict.mjs MODEL INPUTS... [--threads N] [--input-range LO:HI] [--json]");
  const [model, ...paths] = positionals;
  refuseUnprotected(model);
  const ort = await runtime();
  const { session, contract, device } = await openClassifier(ort, model, wholeNumber("threads", options.threads, 0));
  const { notes, ...inputs } = await inputsOf(paths, contract, device, ends(options["input-range"]));
  for (const note of notes) console.error(`note: ${note}`);
  const fitted = fitInputs(contract, inputs);
  if (!fitted.count) throw new KitError(`${paths[0]} holds no example`);
  const outputs = await run(ort, session, contract, fitted).catch((error) => {
    throw new KitError(`${model} cannot classify these inputs: ${reasonOf(error)}`);
  });
  const { kind, labels, scores, probabilities } = read(contract, outputs);
  const names = labels.map((label) => nameOf(contract, label));
  if (options.json) {
    const predictions = labels.map((label, row) => ({ label, name: names[row], ...(scores && { [kind]: scores[row] }) }));
    const told = contract.fixedBatch === null ? {} : { batch: contract.fixedBatch };
    console.log(JSON.stringify({ class_names: contract.classNames, ...told, predictions }));
    return;
  }
  if (contract.fixedBatch !== null) console.error(`${path.basename(model)} ${saidOfBatch(contract)}`);
  const width = Math.max(...names.map((name) => name.length));
  for (const [row, label] of labels.entries()) {
    const probability = probabilities ? `  ${probabilities[row][label].toFixed(4)}` : "";
    console.log(`${String(row).padStart(6)}  ${names[row].padEnd(width)}${probability}`.trimEnd());
  }
}

runCommand(main);

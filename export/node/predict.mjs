// Classify the rows of a .json, .csv or .npy file: node predict.mjs model.onnx inputs.npy

import path from "node:path";
import { parseArgs } from "node:util";
import { fitInputs, nameOf, read, run, saidOfBatch } from "../js/classifier.mjs";
import { encoded, readRows, tableOf, textOf } from "../js/table.mjs";
import { KitError, bytesOf, openClassifier, readInputs, reasonOf, refuseUnprotected, runCommand, runtime, wholeNumber } from "./kit.mjs";

/** What the model takes of a file: rows of a table if that is what it was trained on, else numbers. */
function inputsOf(file, table) {
  if (table === null || !/\.(csv|tsv|txt)$/i.test(file)) return readInputs(file);
  try {
    const { notes, ...inputs } = encoded(table, readRows(textOf(bytesOf(file)), table));
    for (const note of notes) console.error(`note: ${note}`);
    return inputs;
  } catch (error) {
    if (error instanceof KitError && !error.message.includes(file)) error.message = `${file}: ${error.message}`;
    throw error;
  }
}

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "string", default: "1" }, json: { type: "boolean", default: false } },
  });
  if (positionals.length !== 2) throw new KitError("usage: node predict.mjs MODEL INPUTS [--threads N] [--json]");
  const [model, inputs] = positionals;
  refuseUnprotected(model);
  const ort = await runtime();
  const { session, contract, device } = await openClassifier(ort, model, wholeNumber("threads", options.threads, 0));
  const fitted = fitInputs(contract, inputsOf(inputs, tableOf(contract.metadata, device)));
  if (!fitted.count) throw new KitError(`${inputs} holds no example`);
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

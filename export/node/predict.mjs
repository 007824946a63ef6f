// Classify the rows of a .json, .csv or .npy file: node predict.mjs model.onnx inputs.npy

import path from "node:path";
import { parseArgs } from "node:util";
import { fitInputs, nameOf, read, run, saidOfBatch } from "../js/classifier.mjs";
import { KitError, openClassifier, readInputs, reasonOf, refuseUnprotected, runCommand, runtime, wholeNumber } from "./kit.mjs";

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "string", default: "1" }, json: { type: "boolean", default: false } },
  });
  if (positionals.length !== 2) throw new KitError("usage: node predict.mjs MODEL INPUTS [--threads N] [--json]");
  const [model, inputs] = positionals;
  refuseUnprotected(model);
  const ort = await runtime();
  const { session, contract } = await openClassifier(ort, model, wholeNumber("threads", options.threads, 0));
  const fitted = fitInputs(contract, readInputs(inputs));
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

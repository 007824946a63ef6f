// Check that a shipped model arrived whole and computes here what it computed at export: node verify.mjs

import path from "node:path";
import { parseArgs } from "node:util";
import { checkGolden, saidOfBatch } from "../js/classifier.mjs";
import { KitError, bytesOf, openClassifier, reasonOf, record, runCommand, runtime, sha256, shippedModel, wholeNumber } from "./kit.mjs";

async function main() {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: "string", default: "1" }, json: { type: "boolean", default: false } },
  });
  const device = record("device.json");
  const model = positionals[0] ?? shippedModel();
  const digest = sha256(bytesOf(model));
  if (!Object.values(device.files).includes(digest)) {
    throw new KitError(`${model} is not the file that was shipped (its sha256 differs): copy it again`);
  }
  const golden = record("golden.json");
  const ort = await runtime();
  const { session, contract } = await openClassifier(ort, model, wholeNumber("threads", options.threads, 0));
  const { examples, difference, tolerance, labels } = await checkGolden(ort, session, contract, golden, device).catch(
    (error) => {
      throw error instanceof KitError ? error : new KitError(`${model} does not run here: ${reasonOf(error)}`);
    },
  );
  const name = path.basename(model);
  if (options.json) {
    console.log(JSON.stringify({ model: name, sha256: digest, examples, difference, tolerance, batch: contract.fixedBatch }));
    return;
  }
  console.log(`${name}: the bytes are those that were shipped`);
  if (contract.fixedBatch !== null) console.log(`${name} ${saidOfBatch(contract)}`);
  console.log(
    labels
      ? `${examples} golden labels are the same`
      : `${examples} golden outputs agree within ${difference.toExponential(1)} (allowed ${tolerance.toExponential(0)})`,
  );
}

runCommand(main);

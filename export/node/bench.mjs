// Time a model on this machine: node bench.mjs [model.onnx]. The same measurements, in the same JSON, as bench.py.

import path from "node:path";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { KitError, contractOf, percentile, sizeOf } from "../js/classifier.mjs";
import { bytesOf, openSession, reasonOf, runCommand, runtime, sha256, shippedModel, wholeNumber } from "./kit.mjs";
import { executedOps, machine, memory } from "./machine.mjs";

const WARMUP = "20";

async function measure(file, batch, threads, runs, warmup) {
  let bytes = bytesOf(file); // reading the file also puts it into the page cache, so that load times compare
  const facts = { model: path.basename(file), runtime: "onnxruntime-node", sha256: sha256(bytes), size_bytes: bytes.length };
  bytes = null;
  const ort = await runtime();
  // The first session, even of a file that is none, starts the runtime's environment; Python does that on import.
  await openSession(ort, new Uint8Array(1), threads).catch(() => {});
  const resident = memory();

  let start = performance.now();
  const session = await openSession(ort, file, threads);
  const load = performance.now() - start;
  const loaded = resident.current();

  const contract = contractOf(session, new Uint8Array());
  if (contract.fixedBatch !== null && contract.fixedBatch !== batch) {
    const takes = `the model takes ${contract.fixedBatch} example${contract.fixedBatch === 1 ? "" : "s"} at a time`;
    throw new KitError(`${takes}, so it cannot run a batch of ${batch}: pass --batch ${contract.fixedBatch}`);
  }
  const values = contract.type === "uint8" ? new Uint8Array(batch * sizeOf(contract.row)) : new Float32Array(batch * sizeOf(contract.row));
  for (let at = 0; at < values.length; at++) values[at] = contract.type === "uint8" ? Math.random() * 256 : Math.random();
  const feed = { [contract.input]: new ort.Tensor(contract.type, values, [batch, ...contract.row]) };
  const fetch = [contract.output];
  const latencies = new Float64Array(runs);
  let first;
  try {
    start = performance.now();
    await session.run(feed, fetch);
    first = performance.now() - start;
    for (let done = 0; done < warmup; done++) await session.run(feed, fetch);
    for (let done = 0; done < runs; done++) {
      start = performance.now();
      await session.run(feed, fetch);
      latencies[done] = performance.now() - start;
    }
  } catch (error) {
    throw new KitError(`${file} cannot run a batch of ${batch}: ${reasonOf(error)}`);
  }
  const peak = resident.peak();
  const sorted = latencies.slice().sort();
  return {
    ...facts,
    batch,
    fixed_batch: contract.fixedBatch,
    threads,
    load_ms: load,
    first_ms: first,
    latency_ms: { p50: percentile(sorted, 50), p90: percentile(sorted, 90), p99: percentile(sorted, 99), n: runs },
    rss_mb: { baseline: resident.baseline, loaded: loaded - resident.baseline, peak: peak - resident.baseline },
    ops: await executedOps(ort, file, threads),
    method: {
      warmup,
      inputs: "uniform random",
      memory: resident.source,
      timer: "performance.now around an awaited run: a turn of the event loop is part of every latency",
      session_options: { intra_op_num_threads: threads, inter_op_num_threads: 1 },
    },
    machine: machine(ort),
    samples_ms: Array.from(latencies),
  };
}

function table(found) {
  const { latency_ms: latency, rss_mb: rss } = found;
  const rows = {
    model: `${found.model}, ${found.size_bytes.toLocaleString("en")} bytes`,
    machine: `${found.machine.cpu}, ${found.machine.cores} cores`,
    runtime: `${found.runtime} ${found.machine.onnxruntime}, ${found.threads || "all"} threads`,
    load: `${found.load_ms.toFixed(2)} ms`,
    "first inference": `${found.first_ms.toFixed(3)} ms`,
    latency: `p50 ${latency.p50.toFixed(3)}  p90 ${latency.p90.toFixed(3)}  p99 ${latency.p99.toFixed(3)} ms (batch ${found.batch}${found.fixed_batch ? ", the only one that it takes" : ""}, n ${latency.n})`,
    memory: `${rss.loaded.toFixed(1)} MB after loading, ${rss.peak.toFixed(1)} MB at its peak, above a baseline of ${rss.baseline.toFixed(1)} MB`,
    operators: Object.entries(found.ops).map(([name, count]) => `${name} ${count}`).join(", "),
  };
  return Object.entries(rows).map(([name, value]) => name.padEnd(16) + value).join("\n");
}

async function main() {
  const number = (fallback) => ({ type: "string", default: fallback });
  const flag = { type: "boolean", default: false };
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: { batch: number("1"), threads: number("1"), runs: number("200"), warmup: number(WARMUP), json: flag, samples: flag },
  });
  const { samples_ms: samples, ...found } = await measure(
    positionals[0] ?? shippedModel(),
    wholeNumber("batch", options.batch, 1),
    wholeNumber("threads", options.threads, 0),
    wholeNumber("runs", options.runs, 1),
    wholeNumber("warmup", options.warmup, 0),
  );
  console.log(options.json ? JSON.stringify(options.samples ? { ...found, samples_ms: samples } : found) : table(found));
}

runCommand(main);

// Which onnxruntime-web runs a model: on the processor, with threads where the page is isolated from other origins, or by
// WebGPU where the browser has it and it is faster. ?on=processor, ?on=webgpu and ?threads=N in the address decide otherwise.

import { KitError, contractOf, run, sizeOf } from "../js/classifier.mjs";

const DIST = new URL("node_modules/onnxruntime-web/dist/", import.meta.url).href;
/** "webgpu.bundle" lacks the operators on 4-bit numbers that our files have. */
const BUNDLES = { wasm: "wasm.bundle", webgpu: "bundle" };
const MOST_THREADS = 4;
const TRIED = 5;
/** Largest difference of an output between the two, as verifying allows of another processor with 8-bit activations. */
const ALIKE = 1e-2;
/** Weights of 4 bits in standard operators run in a kernel that rounds activations to 8 bits by itself; 1 is float32. */
const FLOAT_ACTIVATIONS = { session: { qdq_matmulnbits_accuracy_level: "1" } };

/**
 * @typedef {object} Runtime
 * @property {{wasm: object, webgpu?: object}} modules that may run a model, by their execution provider
 * @property {number} threads that the processor works with
 * @property {string} threadsReason why there is one thread; empty where there are more
 */

/** @returns {Promise<Runtime>} */
export async function loadRuntime() {
  const asked = new URLSearchParams(location.search);
  const on = asked.get("on");
  const gpu = on !== "processor" && (await adapter()) !== null;
  if (on === "webgpu" && !gpu) throw new KitError("this browser offers no WebGPU here: open the page without ?on=webgpu");
  const most = Math.min(MOST_THREADS, navigator.hardwareConcurrency ?? 1);
  const threads = crossOriginIsolated ? Number(asked.get("threads") ?? most) : 1;
  if (!Number.isInteger(threads) || threads < 1) throw new KitError(`?threads=${asked.get("threads")}: give a whole number from 1 up`);
  const modules = {};
  if (on !== "webgpu") modules.wasm = await loaded("wasm", threads);
  // The one with WebGPU is twice as large, so it is loaded only where it can be used.
  if (gpu) modules.webgpu = await loaded("webgpu", threads);
  const threadsReason = crossOriginIsolated ? "" : " (more need a page that is cross-origin isolated: serve.mjs sends the headers, which count over https and on localhost)";
  return { modules, threads, threadsReason };
}

async function loaded(provider, threads) {
  const ort = await import(`${DIST}ort.${BUNDLES[provider]}.min.mjs`);
  ort.env.wasm.wasmPaths = DIST;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "fatal";
  return ort;
}

async function adapter() {
  try {
    return (await navigator.gpu?.requestAdapter()) ?? null;
  } catch {
    return null;
  }
}

/** How a provider is called. */
export function wordsOf({ threads, threadsReason }, provider) {
  return provider === "webgpu" ? "WebGPU" : threads === 1 ? `one thread${threadsReason}` : `${threads} threads`;
}

/**
 * Open a model with the provider that is fastest here, of those that run it and compute the same.
 * @returns {Promise<{ort: object, session: object, provider: string, tried: string}>} `tried`: what else was tried, or empty
 */
export async function openFastest(runtime, bytes) {
  const opened = [];
  let tried = "";
  const several = Object.keys(runtime.modules).length > 1;
  for (const [provider, ort] of Object.entries(runtime.modules)) {
    try {
      const options = { executionProviders: [provider], logSeverityLevel: 4, extra: FLOAT_ACTIVATIONS };
      const session = await ort.InferenceSession.create(bytes, options);
      opened.push({ provider, ort, session, ...(several ? await timed(ort, session) : {}) });
    } catch (error) {
      if (!opened.length) throw error;
      tried = `${wordsOf(runtime, provider)} does not run it`;
    }
  }
  const [processor, gpu] = opened;
  if (gpu === undefined) return { ...processor, tried };
  const differs = processor.data.some((value, at) => !(Math.abs(Number(value) - Number(gpu.data[at])) <= ALIKE));
  const [taken, left] = !differs && gpu.ms < processor.ms ? [gpu, processor] : [processor, gpu];
  await left.session.release();
  const times = [taken, left].map(({ provider, ms }) => `${wordsOf(runtime, provider)} ${ms.toPrecision(3)} ms`);
  return { ...taken, tried: differs ? "WebGPU computes something else and is not used" : times.join(", ") };
}

/** The shortest of a few runs in milliseconds, and what the model answers. */
async function timed(ort, session) {
  const contract = contractOf(session, new Uint8Array());
  const size = sizeOf(contract.row) * (contract.fixedBatch ?? 1);
  const values = contract.type === "uint8" ? new Uint8Array(size) : new Float32Array(size);
  for (let at = 0; at < size; at++) values[at] = contract.type === "uint8" ? (at * 97) % 256 : ((at * 97) % 256) / 255;
  const x = { values, count: contract.fixedBatch ?? 1 };
  let { data } = await run(ort, session, contract, x);
  let ms = Infinity;
  for (let tried = 0; tried < TRIED; tried++) {
    const start = performance.now();
    ({ data } = await run(ort, session, contract, x));
    ms = Math.min(ms, performance.now() - start);
  }
  return { ms, data };
}

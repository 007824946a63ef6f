// What bench.mjs asks the machine it runs on: memory, processor, operators. As machine.py and ops.py.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fields } from "../js/classifier.mjs";
import { openSession } from "./kit.mjs";

/** Resident memory of this process in MB (10^6 bytes), and its peak since this function was called. */
export function memory() {
  const status = (key) => (Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024) / 1e6;
  try {
    const baseline = status("VmRSS");
    let source = "VmRSS and VmHWM of /proc/self/status; ";
    try {
      writeFileSync("/proc/self/clear_refs", "5");
      source += "the peak was reset before loading";
    } catch {
      source += "the peak could not be reset before loading: importing may have set it";
    }
    return { baseline, current: () => status("VmRSS"), peak: () => status("VmHWM"), source };
  } catch {
    return {
      baseline: process.memoryUsage.rss() / 1e6,
      current: () => process.memoryUsage.rss() / 1e6,
      peak: () => process.resourceUsage().maxRSS * 1.024e-3,
      source: "process.memoryUsage; the peak is that of the process, importing included",
    };
  }
}

/** Facts without which a timing means nothing. */
export const machine = (ort) => ({
  cpu: os.cpus()[0]?.model ?? os.arch(),
  cores: os.availableParallelism?.() ?? os.cpus().length,
  onnxruntime: ort.env.versions.node,
  node: process.versions.node,
  os: `${os.type()} ${os.release()} ${os.machine?.() ?? os.arch()}`,
});

/** How often each operator stands in the graph that onnxruntime executes after its own optimizations. */
export async function executedOps(ort, file, threads) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "edgepriv-"));
  try {
    const dump = path.join(folder, "optimized.onnx");
    const session = await openSession(ort, file, threads, { optimizedModelFilePath: dump });
    await session.release();
    const counts = {};
    for (const [field, graph] of fields(readFileSync(dump))) {
      if (field !== 7) continue;
      for (const name of opNames(graph)) counts[name] = (counts[name] ?? 0) + 1;
    }
    return Object.fromEntries(Object.entries(counts).sort((left, right) => right[1] - left[1]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Operators of a GraphProto: nodes are field 1; subgraphs hang on attributes (field 5 of a node) as 6 and 11. */
function* opNames(graph) {
  const text = new TextDecoder();
  for (const [field, node] of fields(graph)) {
    if (field !== 1) continue;
    const parts = [...fields(node)];
    const find = (wanted) => text.decode(parts.find(([number]) => number === wanted)?.[1]);
    const domain = find(7).replace(/^ai\.onnx/, "").replace(/^com\.microsoft/, "").replace(/^\./, "");
    yield domain ? `${domain}.${find(4)}` : find(4);
    for (const [number, attribute] of parts) {
      if (number !== 5) continue;
      for (const [key, subgraph] of fields(attribute)) if (key === 6 || key === 11) yield* opNames(subgraph);
    }
  }
}

// Serve the page, the kit's records, the runtime and the shipped files, and nothing else: node serve.mjs
// The folder above the kit may hold files that must not leave the house (a manifest, a checkpoint).

import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const WEB = path.dirname(fileURLToPath(import.meta.url));
const KIT = path.dirname(WEB);
const RUNTIME = "node_modules/onnxruntime-web/dist/";
const CODEC = "node_modules/@jsquash/jpeg/";
const DECODER = ["decode.js", "utils.js", "meta.js", "codec/dec/mozjpeg_dec.js", "codec/dec/mozjpeg_dec.wasm"].map((name) => CODEC + name);
const PAGE = ["index.html", "style.css", "app.mjs", "picture.mjs", "runtime.mjs"];
const SHARED = ["classifier", "table", "picture", "png", "jpeg"].map((name) => `js/${name}.mjs`);
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** The file behind a path of the site, null if there is none. The site looks like the folder that the kit stands in. */
function fileAt(place) {
  const { files } = JSON.parse(readFileSync(path.join(KIT, "device.json"), "utf8"));
  const name = place.slice(1);
  if (Object.hasOwn(files, name)) return [path.join(path.dirname(KIT), name), path.join(KIT, name)].find(existsSync) ?? null;
  if (place === "/device/web/") return path.join(WEB, "index.html");
  const inside = name.startsWith("device/") ? name.slice("device/".length) : "";
  if (["device.json", "golden.json", ...SHARED].includes(inside)) return path.join(KIT, inside);
  const inWeb = inside.startsWith("web/") ? inside.slice("web/".length) : "";
  const runtime = inWeb.startsWith(RUNTIME) && /^[\w.-]+\.(mjs|wasm)$/.test(inWeb.slice(RUNTIME.length));
  const file = path.join(WEB, inWeb);
  return (PAGE.includes(inWeb) || DECODER.includes(inWeb) || runtime) && existsSync(file) ? file : null;
}

function answer(request, response) {
  const place = decodeURIComponent(new URL(request.url, "http://site").pathname);
  if (place === "/") {
    response.writeHead(302, { Location: "/device/web/" }).end();
    return;
  }
  const file = request.method === "GET" || request.method === "HEAD" ? fileAt(place) : null;
  if (file === null) {
    response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
    return;
  }
  response.writeHead(200, {
    "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream",
    "Content-Length": statSync(file).size,
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    // A page that is isolated from other origins may use threads, and reads a finer clock.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  });
  if (request.method === "HEAD") response.end();
  else createReadStream(file).pipe(response);
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

function options() {
  try {
    return parseArgs({ options: { port: { type: "string", default: "8080" }, host: { type: "string", default: "127.0.0.1" } } }).values;
  } catch (error) {
    return fail(error.message.split(/\s+/).join(" "));
  }
}

const { port, host } = options();
if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) fail(`--port ${port}: give a number from 0 to 65535`);
if (!existsSync(path.join(WEB, RUNTIME))) fail(`onnxruntime-web is not installed: run npm install --ignore-scripts in ${WEB}`);
const server = createServer((request, response) => {
  try {
    answer(request, response);
  } catch (error) {
    response.writeHead(error instanceof URIError || error.code === "ERR_INVALID_URL" ? 400 : 500).end(`${error.message}\n`);
  }
});
server.on("error", (error) => fail(`cannot listen on ${host}:${port} (${error.code}): choose another --port`));
server.listen(Number(port), host, () => {
  console.log(`http://${host}:${server.address().port}/ (Ctrl-C ends it)`);
});

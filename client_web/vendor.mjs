// @ts-check
/**
 * Part of `make web`: copies what the page runs out of node_modules into built/, in folders that carry the version, and names
 * them in built/runtime.json. Then node_modules is removed: it holds a hundred times as much.
 */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));

/** By name in runtime.json: the package, and files or folders of it. */
const WANTED = {
  onnxruntime: {
    package: "onnxruntime-web",
    from: "dist",
    files: [
      "ort.wasm.bundle.min.mjs",
      "ort-wasm-simd-threaded.mjs",
      "ort-wasm-simd-threaded.wasm",
      "ort.webgpu.bundle.min.mjs",
      "ort-wasm-simd-threaded.asyncify.mjs",
      "ort-wasm-simd-threaded.asyncify.wasm",
    ],
  },
  msgpack: { package: "@msgpack/msgpack", from: "dist.esm", files: ["."] },
};

/** @type {{[name: string]: string}} */
const folders = {};
for (const [name, wanted] of Object.entries(WANTED)) {
  const source = join(HERE, "node_modules", wanted.package);
  const { version } = JSON.parse(await readFile(join(source, "package.json"), "utf8"));
  folders[name] = `${name}-${version}`;
  const target = join(HERE, "built", folders[name]);
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  for (const file of wanted.files) {
    await cp(join(source, wanted.from, file), join(target, file), { recursive: true, filter: (path) => !/\.(map|d\.ts|tsbuildinfo)$/.test(path) });
  }
}
await writeFile(join(HERE, "built", "runtime.json"), `${JSON.stringify(folders, null, 1)}\n`);
await rm(join(HERE, "node_modules"), { recursive: true, force: true });

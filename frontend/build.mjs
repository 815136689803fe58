// Bundles the dashboard into the gateway's static folder. The same sources and lock file give the same bytes.
//
//   node build.mjs [--watch] [--outdir FOLDER]

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import * as esbuild from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const chosen = process.argv.indexOf('--outdir');
const outdir = chosen > 0 ? resolve(process.argv[chosen + 1]) : join(here, '../src/drone_orchestrator/gateway/static');

const options = {
  absWorkingDir: here,
  entryPoints: { dashboard: 'src/main.jsx', theme: 'src/theme.js' },
  outdir,
  bundle: true,
  minify: true,
  charset: 'utf8',
  format: 'iife',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  // What browsers of the last two years understand.
  target: ['chrome123', 'firefox128', 'safari17.5'],
  banner: { js: '/* Built by frontend/build.mjs: change frontend/, not this file. Contains Preact: licences.txt. */' },
};

await rm(outdir, { recursive: true, force: true });
await mkdir(outdir, { recursive: true });
await cp(join(here, 'public'), outdir, { recursive: true });
const bundled = ['preact', '@preact/signals', '@preact/signals-core'];
const licences = await Promise.all(bundled.map((name) => readFile(join(here, 'node_modules', name, 'LICENSE'), 'utf8')));
await writeFile(join(outdir, 'licences.txt'), bundled.map((name, i) => `${name}\n\n${licences[i].trim()}\n`).join('\n\n'));
if (process.argv.includes('--watch')) {
  await (await esbuild.context(options)).watch();
} else {
  await esbuild.build(options);
}

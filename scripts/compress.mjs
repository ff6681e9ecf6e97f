// node scripts/compress.mjs PUBLIC SITE
//
// Makes SITE hold what PUBLIC holds (what is built, SITE/pkg/glimpse…, is left alone), and lays a .br and
// a .gz beside every file that shrinks, so that the server compresses nothing
// twice. Only what is not up to date is done again.

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const [from, site] = process.argv.slice(2)
const shrinks = new Set(['.css', '.html', '.ico', '.js', '.json', '.svg', '.txt', '.wasm'])
const made = new Set(['.br', '.gz'])

const files = (folder) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true }).filter((name) => statSync(join(folder, name)).isFile())
    : []
const current = (out, source) => existsSync(out) && statSync(out).mtimeMs >= statSync(source).mtimeMs

const wanted = new Set(files(from))
const count = { copied: 0, compressed: 0, removed: 0 }

for (const name of wanted) {
  const source = join(from, name)
  const out = join(site, name)
  if (current(out, source)) continue
  mkdirSync(dirname(out), { recursive: true })
  copyFileSync(source, out)
  utimesSync(out, new Date(), statSync(source).mtime)
  count.copied += 1
}

for (const name of files(site)) {
  const origin = made.has(extname(name)) ? name.slice(0, -3) : name
  const kept = name.startsWith('pkg/glimpse') ? existsSync(join(site, origin)) : wanted.has(origin)
  if (!kept) {
    rmSync(join(site, name))
    count.removed += 1
  }
}

for (const name of files(site).filter((name) => shrinks.has(extname(name)))) {
  const source = join(site, name)
  if (current(`${source}.br`, source) && current(`${source}.gz`, source)) continue
  const bytes = readFileSync(source)
  const best = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  writeFileSync(`${source}.br`, brotliCompressSync(bytes, { params: best }))
  writeFileSync(`${source}.gz`, gzipSync(bytes, { level: 9 }))
  count.compressed += 1
}

const wasm = join(site, 'pkg/glimpse_bg.wasm')
const kB = (path) => `${Math.round(statSync(path).size / 1000)} kB`
console.log(`page: 5 public/ and compression: ${count.copied} copied, ${count.compressed} compressed, ${count.removed} removed`)
if (existsSync(wasm)) console.log(`page: WebAssembly ${kB(wasm)}, in brotli ${kB(`${wasm}.br`)}`)

// How heavy the page is and how soon one can type in it, beside a Gradio page with a picture and a chat, in the same
// browser; and how soon a token is shown that the engine has.
//
//   node benches/page.mjs [--runs 7] [--python .venv-gradio/bin/python] [--results FILE]
//
// The two take turns, each run in a new browser profile. Ready is when the box for the question is there and the
// page listens. The time of a token includes the request by which the test lets it come, so it is an upper bound.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium } from '@playwright/test'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '7' },
    python: { type: 'string', default: '.venv-gradio/bin/python' },
    results: { type: 'string' },
  },
})
const runs = Number(values.runs)
const folder = mkdtempSync(join(tmpdir(), 'glimpse-page-'))
const started = []

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function reachable(url) {
  for (let tries = 0; tries < 600; tries++) {
    try {
      if ((await fetch(url)).ok) return url
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  throw new Error(`nothing answers at ${url}`)
}

async function glimpse(environment = {}) {
  const data = mkdtempSync(join(folder, 'data-'))
  const port = await freePort()
  const server = spawn(join(root, 'target/release/glimpse'), ['serve', '--addr', `127.0.0.1:${port}`, '--data', data], {
    env: { ...process.env, ...environment },
    stdio: 'ignore',
  })
  started.push(server)
  await reachable(`http://127.0.0.1:${port}/readyz`)
  return `http://127.0.0.1:${port}/`
}

async function gradio() {
  const port = await freePort()
  const server = spawn(join(root, values.python), [join(root, 'benches/gradio_page.py'), '--port', String(port)], {
    env: { ...process.env, GRADIO_ANALYTICS_ENABLED: 'False' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  started.push(server)
  return reachable(`http://127.0.0.1:${port}/`)
}

/** Opens a page in a new profile: milliseconds until `ready`, requests, and bytes on the wire. */
async function visit(browser, url, ready, again = false) {
  const context = await browser.newContext()
  const page = await context.newPage()
  const session = await context.newCDPSession(page)
  await session.send('Network.enable')
  const seen = { requests: 0, bytes: 0 }
  const load = async () => {
    Object.assign(seen, { requests: 0, bytes: 0 })
    const begin = performance.now()
    await page.goto(url, { waitUntil: 'commit' })
    await ready(page)
    const time = performance.now() - begin
    await page.waitForLoadState('networkidle')
    return { ...seen, time }
  }
  const kept = new Set()
  session.on('Network.requestServedFromCache', ({ requestId }) => kept.add(requestId))
  session.on('Network.responseReceived', ({ requestId, response }) => {
    const isKept = response.fromDiskCache || kept.has(requestId)
    if (!isKept && response.url.startsWith('http')) seen.requests += 1
  })
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (seen.bytes += encodedDataLength))
  const first = await load()
  const second = again ? await load() : undefined
  await context.close()
  return { first, second }
}

const glimpseReady = (page) => page.locator('html[data-hydrated] textarea[name=question]').waitFor()
const gradioReady = (page) => page.getByLabel('Question').and(page.locator(':enabled')).waitFor()

/** Milliseconds from when the engine may say a token until it is on the page. */
async function shown(browser) {
  const control = `127.0.0.1:${await freePort()}`
  const url = await glimpse({ GLIMPSE_ENGINE: 'scripted', GLIMPSE_SCRIPT_CONTROL: control })
  const page = await (await browser.newContext()).newPage()
  await page.goto(url)
  await glimpseReady(page)
  const times = []
  const post = (path) => fetch(`http://${control}/${path}`, { method: 'POST' })
  for (let run = 0; run < runs; run++) {
    await page.getByRole('group', { name: 'Examples' }).getByRole('button').first().click()
    await page.waitForURL(/\/c\//)
    await fetch(`http://${control}/wait?waiting=1`)
    await page.evaluate(() => {
      window.shown = new Promise((resolve) => {
        const look = () => {
          if (!document.querySelector('.turn:last-of-type .answer')?.textContent) return
          observer.disconnect()
          resolve(performance.timeOrigin + performance.now())
        }
        const observer = new MutationObserver(look)
        observer.observe(document.body, { childList: true, subtree: true, characterData: true })
      })
    })
    await post('begin')
    const begin = performance.timeOrigin + performance.now()
    await post('release')
    times.push((await page.evaluate(() => window.shown)) - begin)
    await post('release?tokens=all')
    await page.locator('.turn:last-of-type[aria-busy=false]').waitFor()
    await page.getByRole('button', { name: 'New conversation' }).click()
    await page.waitForURL(url)
  }
  return times
}

try {
  // Nothing is fetched from elsewhere: there may be no network, and it would only be slower.
  const args = ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']
  const executablePath = execFileSync(join(root, 'scripts/browser.sh'), { encoding: 'utf8' }).trim()
  const browser = await chromium.launch({ executablePath, args })
  const [ours, theirs] = [await glimpse(), await gradio()]
  const [times, others] = [[], []]
  let light, heavy
  for (let run = 0; run < runs; run++) {
    light = await visit(browser, ours, glimpseReady, true)
    heavy = await visit(browser, theirs, gradioReady)
    times.push(light.first.time)
    others.push(heavy.first.time)
  }
  const tokens = await shown(browser)
  const kilobytes = (bytes) => (bytes / 1000).toFixed(0)
  const ratio = median(times.map((time, run) => time / others[run]))
  const report = `# The page beside a Gradio page with a picture and a chat

${cpus()[0].model.trim()}, ${cpus().length} cores, ${browser.browserType().name()} ${browser.version()}, ${runs} runs in turns, medians. \`make bench-page\`.

| | Glimpse | Gradio |
|---|---|---|
| first load, kB on the wire | ${kilobytes(light.first.bytes)} | ${kilobytes(heavy.first.bytes)} |
| first load, requests | ${light.first.requests} | ${heavy.first.requests} |
| second visit, requests | ${light.second.requests} | |
| ready to type in, ms | ${median(times).toFixed(0)} | ${median(others).toFixed(0)} |

Ready in ${ratio.toFixed(2)} of Gradio's time (${times.map((time, run) => (time / others[run]).toFixed(2)).join(', ')}; asked 0.25).
A token is shown ${median(tokens).toFixed(1)} ms after the engine may say it (at most ${Math.max(...tokens).toFixed(1)}; asked 15).
`
  console.log(report)
  if (values.results) writeFileSync(values.results, report)
  await browser.close()
} finally {
  for (const server of started) server.kill()
  rmSync(folder, { recursive: true, force: true })
}

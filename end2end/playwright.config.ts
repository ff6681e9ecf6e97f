import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { defineConfig } from '@playwright/test'

const root = join(__dirname, '..')

// This file is read again by every worker: what it finds out is left in the environment.
process.env.GLIMPSE_BROWSER ||= execFileSync(join(root, 'scripts/browser.sh'), { encoding: 'utf8' }).trim()
process.env.GLIMPSE_TEST_PORT ??= execFileSync(process.execPath, [
  '-e',
  "const s = require('net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close() })",
]).toString().trim()

const address = `127.0.0.1:${process.env.GLIMPSE_TEST_PORT}`

export default defineConfig({
  testDir: '.',
  // Those have a configuration of their own: `make nginx-check`, `make firefox-check`.
  testIgnore: [join(__dirname, 'nginx/**'), join(__dirname, 'firefox/**')],
  outputDir: 'results/failures',
  snapshotPathTemplate: '{testDir}/kept/{arg}{ext}',
  fullyParallel: true,
  forbidOnly: true,
  workers: 2,
  timeout: 30_000,
  expect: { timeout: 15_000 },
  reporter: [['list'], ['./summary.ts']],
  use: {
    baseURL: `http://${address}`,
    browserName: 'chromium',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.GLIMPSE_BROWSER,
      args: [
        '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        // Further names of servers, for network.spec.ts and nginx/.
        '--host-resolver-rules=MAP glimpse.lan 127.0.0.1, MAP glimpse.example 127.0.0.1',
        '--disable-background-networking', '--disable-component-update', '--disable-sync',
      ],
    },
  },
  webServer: {
    // What is at Glimpse's own address may be fetched, so that its files are the pictures from addresses.
    command: `target/release/glimpse serve --addr ${address} --host-name glimpse.lan --max-conversations 10000 --allow-picture-source ${address}`,
    cwd: root,
    url: `http://${address}/readyz`,
    timeout: 60_000,
  },
})

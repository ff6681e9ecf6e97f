// A Glimpse whose model is being loaded, for as long as a test wants.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test as base } from './scripted'

export { expect } from './scripted'

/** Gets its model from a hub that never answers. */
export class Loading {
  url = ''
  private hub?: Server
  private process?: ChildProcess
  private readonly home = mkdtempSync(join(tmpdir(), 'glimpse-'))

  async start() {
    this.hub = await listening()
    const taken = await listening()
    this.url = addressOf(taken)
    await closed(taken)
    const program = join(__dirname, '../target/release/glimpse')
    const flags = ['serve', '--addr', new URL(this.url).host, '--model', 'glimpse-tests/never-there']
    const env = { ...process.env, HF_HOME: this.home, HF_ENDPOINT: addressOf(this.hub), HF_HUB_OFFLINE: '0' }
    this.process = spawn(program, flags, { stdio: 'ignore', env })
    while (this.process.exitCode === null && !(await fetch(`${this.url}/healthz`).catch(() => null))) await passing()
  }

  /** Ends it, so that another may be started at its address. */
  async end() {
    const { process, hub } = this
    if (process && process.exitCode === null && process.signalCode === null) {
      const ended = once(process, 'exit')
      process.kill('SIGKILL')
      await ended
    }
    if (hub?.listening) await closed(hub)
    rmSync(this.home, { recursive: true, force: true })
  }
}

async function listening() {
  const server = createServer(() => {}).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

async function closed(server: Server) {
  const ended = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await ended
}

const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const passing = () => new Promise((resolve) => setTimeout(resolve, 50))

/** A page of a server whose model is being loaded. */
export const test = base.extend<{ loading: Loading }>({
  loading: async ({}, use) => {
    const loading = new Loading()
    await loading.start()
    await use(loading)
    await loading.end()
  },
  baseURL: async ({ loading }, use) => use(loading.url),
})

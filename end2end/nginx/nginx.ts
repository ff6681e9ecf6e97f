// A real nginx before a Glimpse that answers from a script, both of a test's own.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test as base } from '../glimpse'
import { Scripted } from '../scripted'

export { expect, Glimpse } from '../glimpse'
export { answer } from '../scripted'

/** How nginx stands before Glimpse. */
export interface Setup {
  name: string
  /** Where visitors find the page, with the port of nginx. */
  url: (port: number) => string
  /** Flags of `glimpse serve`. */
  flags?: (url: string) => string[]
  /** What is put into nginx's `http { }`. */
  config: (place: Place) => string
}

/** What a configuration is about. */
export interface Place {
  port: number
  /** Host and port of Glimpse. */
  upstream: string
  /** With a certificate and its key for glimpse.example. */
  folder: string
}

/** One line, and everything else as nginx has it by default. */
export const naive = (location = '', http = '') => ({ port, upstream }: Place) => `
  ${http}
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://${upstream}; ${location} }
  }`

/** A file of deploy/ as it is, but for what has to be a test's own. */
export function shipped(file: string, own: [string, string][]): string {
  let text = readFileSync(join(__dirname, '../../deploy', file), 'utf8')
  for (const [written, wanted] of own) {
    if (!text.includes(written)) throw new Error(`deploy/${file} has no ${written}`)
    text = text.replaceAll(written, wanted)
  }
  return text
}

/** deploy/nginx.conf, with what the head of the file says to start Glimpse with. */
export const shippedHost = (own: [string, string][] = []): Setup => ({
  name: 'deploy/nginx.conf',
  url: (port) => `https://glimpse.example:${port}`,
  flags: shippedFlags,
  config: ({ port, upstream, folder }) =>
    shipped('nginx.conf', [
      ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
      ['/etc/ssl/glimpse.example.pem', `${folder}/certificate.pem`],
      ['/etc/ssl/private/glimpse.example.key', `${folder}/key.pem`],
      ['127.0.0.1:7860', upstream],
      ...own,
    ]),
})

/** What the heads of the files in deploy/ say. */
export const shippedFlags = (url: string) => ['--public-url', url, '--trusted-proxies', '127.0.0.1,::1']

export class Nginx {
  private readonly folder = mkdtempSync(join(tmpdir(), 'glimpse-nginx-'))
  private process?: ChildProcess
  private said = ''

  constructor(readonly port: number) {
    // Its workers are nobody's.
    chmodSync(this.folder, 0o755)
  }

  async start(config: Setup['config'], upstream: string) {
    this.certify()
    this.configure(config, upstream)
    this.process = spawn('nginx', ['-p', this.folder, '-c', 'nginx.conf', '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.process.stderr!.on('data', (text) => (this.said += text))
    while (!(await this.listens())) {
      if (this.process.exitCode !== null) throw new Error(`nginx ended: ${this.said}`)
      await sleep(10)
    }
  }

  /** Goes on with another configuration; the workers of the old one are gone when it does. */
  async restart(config: Setup['config'], upstream: string) {
    await this.stop()
    await this.start(config, upstream)
  }

  async end() {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }

  private async stop() {
    const { process } = this
    if (!process || process.exitCode !== null) return
    const ended = once(process, 'exit')
    process.kill('SIGTERM')
    await ended
  }

  private configure(config: Setup['config'], upstream: string) {
    const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`)
    const text = `
      daemon off; pid nginx.pid; worker_processes 1;
      events { worker_connections 256; }
      http { access_log off; ${folders.join(' ')} ${config({ port: this.port, upstream, folder: this.folder })} }`
    writeFileSync(join(this.folder, 'nginx.conf'), text)
  }

  private certify() {
    const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => join(this.folder, name))
    const made = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=glimpse.example'
    execFileSync('openssl', ['req', ...made.split(' '), '-keyout', key, '-out', certificate], { stdio: 'pipe' })
  }

  private async listens(): Promise<boolean> {
    const socket = connect(this.port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return true
    } catch {
      return false
    } finally {
      socket.destroy()
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Glimpse as `scripted`, found at `site` through `nginx`. */
export const test = base.extend<{ setup: Setup; nginx: Nginx; site: string; scripted: Scripted; upstream: string }>({
  setup: [{ name: '', url: (port) => `http://127.0.0.1:${port}`, config: naive() }, { option: true }],
  nginx: async ({}, use) => {
    const nginx = new Nginx(await freePort())
    await use(nginx)
    await nginx.end()
  },
  site: async ({ setup, nginx }, use) => use(setup.url(nginx.port)),
  scripted: async ({ setup, site }, use) => {
    const scripted = new Scripted(setup.flags?.(site))
    await scripted.start()
    await use(scripted)
    await scripted.end()
  },
  upstream: async ({ scripted }, use) => use(`127.0.0.1:${new URL(scripted.url).port}`),
  baseURL: async ({ setup, nginx, site, upstream }, use) => {
    await nginx.start(setup.config, upstream)
    await use(new URL(site).origin)
  },
})

// A Glimpse of a test's own that answers from a script, when the test says so. Which gates there
// are is said in src/engine/scripted.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test as base } from './glimpse'

export { expect, Glimpse } from './glimpse'

/** What the script answers to what it was told nothing about, token by token. */
export const answer = ['a', ' scripted', ' answer']

type State = Partial<
  Record<'waiting' | 'running' | 'sent' | 'begun' | 'answered' | 'failed' | 'cancelled', number>
>

export class Scripted {
  url = ''
  private control = ''
  private process?: ChildProcess
  private readonly data = mkdtempSync(join(tmpdir(), 'glimpse-'))
  /** What it has written to its log. */
  readonly said: string[] = []

  constructor(private readonly flags: string[] = []) {}

  /** Starts the server, or starts it again at the same address and with the same data. */
  async start() {
    const address = this.url ? new URL(this.url).host : '127.0.0.1:0'
    const own = ['--addr', address, '--data', this.data, '--engine', 'scripted', '--script-control', '127.0.0.1:0']
    const program = join(__dirname, '../target/release/glimpse')
    this.process = spawn(program, ['serve', ...own, ...this.flags], { stdio: ['ignore', 'ignore', 'pipe'] })
    const lines = createInterface(this.process.stderr!)
    const isReady = await new Promise<boolean>((resolve) => {
      lines.on('close', () => resolve(false))
      lines.on('line', (line) => {
        this.said.push(line)
        this.control = /the script is controlled at (http:\S+)/.exec(line)?.[1] ?? this.control
        const url = /open (http:\S+) in a browser/.exec(line)?.[1]
        if (!url) return
        this.url = url.replace(/\/$/, '')
        resolve(true)
      })
    })
    if (!isReady) throw new Error(`the server ended: ${this.said.join('\n')}`)
  }

  /** Ends the server at once, as a crash or a power cut would. */
  async kill() {
    const { process } = this
    if (!process || process.exitCode !== null || process.signalCode !== null) return
    const ended = once(process, 'exit')
    process.kill('SIGKILL')
    await ended
  }

  /** Asks the server to end, as systemd and containers do. */
  askToEnd = () => this.process?.kill('SIGTERM')

  /** Waits until it has ended. */
  async ended() {
    const { process } = this
    if (process && process.exitCode === null && process.signalCode === null) await once(process, 'exit')
  }

  /** Lets the server do nothing, and go on: one that hangs. */
  pause = () => this.process?.kill('SIGSTOP')
  resume = () => this.process?.kill('SIGCONT')

  async end() {
    await this.kill()
    rmSync(this.data, { recursive: true, force: true })
  }

  /** Lets so many questions begin. */
  begin = (answers = 1) => this.post(`begin?answers=${answers}`)

  /** Lets so many tokens come. */
  release = (tokens: number | 'all' = 1) => this.post(`release?tokens=${tokens}`)

  /** Lets everything through from now on. */
  open = () => this.post('open')

  /** Ends the answer that is running with an error. */
  fail = (error = 'panicked') => this.post(`fail?error=${error}`)

  /** Says what is answered to a question. */
  answers = (tokens: Record<string, string[]>) => this.post('answers', tokens)

  /** Waits until the script is in this state. */
  async wait(state: State) {
    const wanted = new URLSearchParams(Object.entries(state).map(([name, count]) => [name, String(count)]))
    await this.call(`wait?${wanted}`)
  }

  private post(gate: string, body?: object) {
    const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    return this.call(gate, { method: 'POST', ...(body && json) })
  }

  private async call(path: string, init?: RequestInit) {
    const reply = await fetch(`${this.control}/${path}`, init)
    if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`)
  }
}

/** A page with Glimpse on it, whose server answers from a script. */
export const test = base.extend<{ scripted: Scripted }>({
  scripted: async ({}, use) => {
    const scripted = new Scripted()
    await scripted.start()
    await use(scripted)
    await scripted.end()
  },
  baseURL: async ({ scripted }, use) => use(scripted.url),
})

// A Glimpse of a test's own, with data of its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export class OwnServer {
  url = ''
  private process?: ChildProcess
  private readonly data = mkdtempSync(join(tmpdir(), 'glimpse-'))
  /** What it has written to its log. */
  readonly said: string[] = []

  constructor(private readonly flags: string[] = []) {}

  /** Starts the server, or starts it again at the same address and with the same data. */
  async start() {
    const address = this.url ? new URL(this.url).host : '127.0.0.1:0'
    const own = ['--addr', address, '--data', this.data]
    const program = join(__dirname, '../target/release/glimpse')
    this.process = spawn(program, ['serve', ...own, ...this.flags], { stdio: ['ignore', 'ignore', 'pipe'] })
    const lines = createInterface(this.process.stderr!)
    const isReady = await new Promise<boolean>((resolve) => {
      lines.on('close', () => resolve(false))
      lines.on('line', (line) => {
        this.said.push(line)
        this.heard(line)
        const url = /open (http:\S+) in a browser/.exec(line)?.[1]
        if (!url) return
        this.url = url.replace(/\/$/, '')
        resolve(true)
      })
    })
    if (!isReady) throw new Error(`the server ended: ${this.said.join('\n')}`)
  }

  /** Called with each line of its log. */
  protected heard(_line: string) {}

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
}

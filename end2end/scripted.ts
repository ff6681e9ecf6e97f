// A Glimpse of a test's own that answers from a script, when the test says so. Which gates there
// are is said in src/engine/scripted.

import { test as base } from './glimpse'
import { OwnServer } from './own_server'

export { expect, Glimpse } from './glimpse'

/** What the script answers to what it was told nothing about, token by token. */
export const answer = ['a', ' scripted', ' answer']

type State = Partial<
  Record<'waiting' | 'running' | 'sent' | 'begun' | 'answered' | 'failed' | 'cancelled', number>
>

export class Scripted extends OwnServer {
  private control = ''

  constructor(flags: string[] = []) {
    super(['--engine', 'scripted', '--script-control', '127.0.0.1:0', ...flags])
  }

  protected override heard(line: string) {
    this.control = /the script is controlled at (http:\S+)/.exec(line)?.[1] ?? this.control
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

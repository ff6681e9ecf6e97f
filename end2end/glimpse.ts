// What the tests do on the page, found as a screen reader finds it.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test as base, expect, type Locator, type Page } from '@playwright/test'

export { expect }

export interface Example {
  file: string
  question: string
  answer: string
  alt: string
}

export const examples: Example[] = JSON.parse(
  readFileSync(join(__dirname, '../public/examples/examples.json'), 'utf8'),
)

export class Glimpse {
  constructor(readonly page: Page) {}

  get picture() {
    return this.page.getByLabel('Picture', { exact: true })
  }
  get question() {
    return this.page.getByRole('textbox', { name: 'Question' })
  }
  get ask() {
    return this.page.getByRole('button', { name: 'Ask', exact: true })
  }
  get stop() {
    return this.page.getByRole('button', { name: 'Stop', exact: true })
  }
  get describe() {
    return this.page.getByRole('button', { name: 'Describe', exact: true })
  }
  get log() {
    return this.page.getByRole('log', { name: 'Conversation' })
  }
  get turns() {
    return this.log.getByRole('article')
  }
  get last() {
    return this.turns.last()
  }
  get anew() {
    return this.page.getByRole('button', { name: 'New conversation' })
  }
  get examples() {
    return this.page.getByRole('group', { name: 'Examples' }).getByRole('button')
  }
  /** What the examples are behind, once there is a picture. */
  get examplesButton() {
    return this.page.getByRole('button', { name: 'Examples' })
  }
  get fromAddress() {
    return this.page.getByRole('button', { name: 'From an address' })
  }
  get address() {
    return this.page.getByRole('textbox', { name: 'Picture address' })
  }
  get settings() {
    return this.page.getByRole('button', { name: 'Settings' })
  }
  get model() {
    return this.page.getByRole('combobox', { name: 'Model', exact: true })
  }
  get panel() {
    return this.page.locator('#settings')
  }
  get status() {
    return this.page.getByRole('status')
  }

  /** The server, not the page alone, knows of the question. */
  async waits() {
    await expect(this.status).toContainText(/place \d+ in the queue/)
  }
  get alert() {
    return this.page.getByRole('alert')
  }
  /** The picture, at a tenth of its density, so that it fills its room: ten times as wide as its file. */
  get shown() {
    return this.page.locator('.stage img')
  }

  /** Opens the page and waits until it listens. */
  async open(path = '/') {
    await this.page.goto(path)
    await this.hydrated()
  }

  async hydrated() {
    await this.page.locator('html[data-hydrated]').waitFor({ state: 'attached' })
  }

  /** Puts a picture in, and waits until the server has it. */
  async put(files: Parameters<Locator['setInputFiles']>[0]) {
    await this.picture.setInputFiles(files)
    await this.page.waitForURL(/\/c\/[0-9a-f]{32}$/)
  }

  /** Puts the next questions to a second model too; the empty name is nobody's. */
  async compareWith(name: string) {
    await this.page.getByRole('button', { name: 'Compare' }).click()
    await this.page.getByRole('combobox', { name: 'Compare with' }).selectOption(name)
    await this.page.keyboard.press('Escape')
  }

  /** Chooses how answers are decoded, in the settings, which are open. */
  async decode(way: string) {
    await this.panel.getByRole('radio', { name: way }).check()
  }

  /** Fills in fields of the settings, in the order given. */
  async set(values: Record<string, string>) {
    await this.settings.click()
    for (const [label, value] of Object.entries(values)) {
      if (label === 'Decoding') await this.decode(value)
      else await this.panel.getByLabel(label, { exact: true }).fill(value)
    }
    await this.page.keyboard.press('Escape')
  }

  /** Waits for the answer of turn number `count`, the last. */
  async answered(count: number) {
    await expect(this.turns).toHaveCount(count)
    await expect(this.last).toHaveAttribute('aria-busy', 'false')
    await expect(this.stop).toHaveCount(0)
  }
}

/** Opens what there is to know of an answer, or closes it. */
export async function details(turn: Locator) {
  await turn.locator('summary').click()
}

/** A page with Glimpse on it, which must not complain or look elsewhere. */
export const test = base.extend<{ glimpse: Glimpse; refusals: boolean; cuts: boolean }>({
  // Whether the server refuses something in this test, which a browser reports too.
  refusals: [false, { option: true }],
  // Whether connections are cut in it, which a browser reports for the streams on them.
  cuts: [false, { option: true }],
  glimpse: async ({ page, refusals, cuts, baseURL, javaScriptEnabled }, use) => {
    const isExpected = (complaint: string) =>
      (refusals && /^Failed to load resource/.test(complaint)) ||
      (cuts && /network error$|^lost /.test(complaint)) ||
      // Without JavaScript scripts are not loaded, and nothing uses what is preloaded.
      (javaScriptEnabled === false && /was preloaded using link preload but not used|^lost \S+\.js: csp$/.test(complaint))
    const complaints = await complaintsOf(page, [baseURL!])
    await use(new Glimpse(page))
    expect(complaints.filter((complaint) => !isExpected(complaint))).toEqual([])
  },
})

/** What a page has to complain of from now on: in its console, of its policy, of requests that fail or go elsewhere. */
export async function complaintsOf(page: Page, origins: string[]): Promise<string[]> {
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('request', (request) => {
    const url = new URL(request.url())
    if (!origins.includes(url.origin) && !['blob:', 'data:'].includes(url.protocol)) complaints.push(`asked ${url}`)
  })
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText
    // The page itself, or whoever leaves it, ends what it does not want any more.
    if (reason !== 'net::ERR_ABORTED') complaints.push(`lost ${request.url()}: ${reason}`)
  })
  await page.addInitScript(() =>
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      console.error(`the policy's ${violatedDirective} forbids ${blockedURI}`),
    ),
  )
  return complaints
}

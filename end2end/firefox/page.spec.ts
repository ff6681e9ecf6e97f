// What visitors do, in Firefox. Playwright runs the tests and Puppeteer drives the browser, over WebDriver BiDi:
// Playwright's own Firefox is no distribution's, and it asks of a distribution's what that does not have.

import { join } from 'node:path'
import { expect, test as base } from '@playwright/test'
import { launch, type ElementHandle, type Page } from 'puppeteer-core'

const picture = join(__dirname, '../../public/examples/3.png')

/** A page of Firefox at Glimpse's address, which must not complain. */
const test = base.extend<{ firefox: Page }>({
  firefox: async ({ baseURL }, use) => {
    const browser = await launch({
      browser: 'firefox',
      executablePath: process.env.GLIMPSE_FIREFOX ?? 'firefox-esr',
      headless: true,
      defaultViewport: { width: 1280, height: 800 },
    })
    const page = await browser.newPage()
    const complaints: string[] = []
    page.on('console', (message) => {
      if (['error', 'warn'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.goto(baseURL!)
    await use(page)
    await browser.close()
    expect(complaints).toEqual([])
  },
})

const hydrated = (page: Page) => page.waitForSelector('html[data-hydrated]')

async function put(page: Page) {
  const chosen = await page.waitForSelector('input[type=file]')
  await (chosen as ElementHandle<HTMLInputElement>).uploadFile(picture)
  await page.waitForFunction(() => /\/c\/[0-9a-f]{32}$/.test(location.pathname))
}

async function ask(page: Page, question: string, turns: number) {
  await page.type('textarea[name=question]', question)
  await page.keyboard.press('Enter')
  await page.waitForSelector(`.turn:nth-of-type(${turns})[aria-busy=false]`)
}

const text = (page: Page, selector: string) => page.$$eval(selector, (all) => all.map((one) => one.textContent?.trim()))

test('a picture is put in, asked about, and the answer looked into', async ({ firefox }) => {
  await hydrated(firefox)
  await put(firefox)
  await ask(firefox, 'How many snails are in the picture?', 1)
  expect(await text(firefox, '.answer')).toEqual(['4'])
  await firefox.click('button[title="Where it looked"]')
  await firefox.waitForSelector('.looked .words button:nth-of-type(2)')
  await firefox.click('.details summary')
  expect((await text(firefox, '.details pre'))[0]).toBe('Question: How many snails are in the picture? Answer:')
  await firefox.reload()
  await hydrated(firefox)
  expect(await text(firefox, '.answer')).toEqual(['4'])
})

test('an example, another answer, another question, and the conversation found again', async ({ firefox }) => {
  await hydrated(firefox)
  await firefox.click('[aria-label=Examples] button:nth-of-type(3)')
  await firefox.waitForSelector('.turn[aria-busy=false] .answer')
  await firefox.click('button[title="Try again"]')
  await firefox.waitForFunction(() => document.querySelector('.attempts')?.textContent?.includes('2/2'))
  await firefox.waitForSelector('.turn[aria-busy=false] .answer')
  await firefox.click('button[title="Edit"]')
  await firefox.waitForSelector('.edit textarea')
  await firefox.keyboard.down('Control')
  await firefox.keyboard.press('a')
  await firefox.keyboard.up('Control')
  await firefox.keyboard.type('What is on the right?')
  await firefox.keyboard.press('Enter')
  await firefox.waitForFunction(() => document.querySelector('.asked')?.textContent === 'What is on the right?')
  await firefox.waitForSelector('.turn[aria-busy=false] .answer')
  expect(await text(firefox, '.answer')).toEqual(['a butterfly'])
  await firefox.click('.history-button')
  await firefox.waitForSelector('.history li a')
  expect((await text(firefox, '.history .title'))[0]).toBe('How many snails are in the picture?')
})

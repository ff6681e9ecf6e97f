// What others may read of a conversation, what is saved of it, and what its owner thinks of answers.

import { readFileSync } from 'node:fs'
import type { Browser, Page } from '@playwright/test'
import { examples, expect, Glimpse, test } from './glimpse'
import { asFile, red, square } from './pictures'

const dialog = (glimpse: Glimpse) => glimpse.page.getByRole('dialog', { name: 'Share and export' })
const open = (glimpse: Glimpse) => glimpse.page.getByRole('button', { name: 'Share', exact: true }).click()
const button = (glimpse: Glimpse, name: string) => dialog(glimpse).getByRole('button', { name })

async function asked(glimpse: Glimpse) {
  await glimpse.open()
  await glimpse.examples.nth(2).click()
  await glimpse.answered(1)
}

/** The address that the page makes. */
async function share(glimpse: Glimpse) {
  await open(glimpse)
  await button(glimpse, 'Make an address').click()
  const address = dialog(glimpse).getByRole('textbox', { name: 'Address' })
  await expect(address).toBeFocused()
  return address.inputValue()
}

/** A page of somebody else's. */
const stranger = async (browser: Browser): Promise<Page> => (await browser.newContext()).newPage()

test('somebody else reads what was said until it was shared, and no more', async ({ glimpse, browser }) => {
  await asked(glimpse)
  const address = await share(glimpse)
  await glimpse.page.keyboard.press('Escape')
  await glimpse.question.fill('What is said later?')
  await glimpse.ask.click()
  await glimpse.answered(2)

  const page = await stranger(browser)
  const asked_for: string[] = []
  page.on('request', (request) => asked_for.push(new URL(request.url()).pathname))
  expect((await page.goto(address))?.status()).toBe(200)
  const article = page.getByRole('article')
  await expect(article).toHaveCount(1)
  await expect(article.getByRole('heading')).toHaveText(examples[2].question)
  await expect(article).toContainText(examples[2].answer)
  await expect(page.getByRole('img')).toHaveJSProperty('complete', true)
  expect(await page.getByRole('img').evaluate((picture: HTMLImageElement) => picture.naturalWidth)).toBeGreaterThan(0)
  expect(await page.content()).not.toContain('later')
  // Nothing can be asked there, and nothing runs.
  await expect(page.getByRole('textbox')).toHaveCount(0)
  await expect(page.locator('script')).toHaveCount(0)
  const path = new URL(address).pathname
  expect(asked_for.filter((asked) => ![path, `${path}/picture.jpg`, '/favicon.svg'].includes(asked))).toEqual([])
  await page.getByRole('link', { name: 'Open Glimpse' }).click()
  await expect(page).toHaveURL(new URL('/', address).href)
  await expect(page.getByRole('article')).toHaveCount(0)
})

test('what is not shared any more, or deleted, is gone at once', async ({ glimpse, browser }) => {
  await asked(glimpse)
  const first = await share(glimpse)
  const page = await stranger(browser)
  await page.goto(first)
  await button(glimpse, 'Stop sharing').click()
  await expect(button(glimpse, 'Stop sharing')).toBeHidden()
  await expect(dialog(glimpse).getByRole('textbox')).toHaveCount(0)
  expect((await page.reload())?.status()).toBe(404)
  await expect(page.locator('body')).toContainText('not any more')
  await expect(page.locator('body')).not.toContainText(examples[2].answer)

  await button(glimpse, 'Make an address').click()
  const second = await dialog(glimpse).getByRole('textbox', { name: 'Address' }).inputValue()
  expect(second).not.toBe(first)
  expect((await page.goto(second))?.status()).toBe(200)
  await glimpse.page.keyboard.press('Escape')
  await glimpse.page.getByRole('button', { name: 'History' }).click()
  const history = glimpse.page.getByRole('dialog', { name: 'History' })
  await history.getByRole('button', { name: 'Delete', exact: true }).click()
  await history.getByRole('group').getByRole('button', { name: 'Delete' }).click()
  await expect(history).toContainText('Nothing yet.')
  expect((await page.reload())?.status()).toBe(404)
})

test('that it is shared is known after a reload, and of this conversation alone', async ({ glimpse }) => {
  await asked(glimpse)
  await share(glimpse)
  await expect(dialog(glimpse)).toContainText('It can be read at one address.')
  await glimpse.page.reload()
  await glimpse.hydrated()
  await open(glimpse)
  await expect(dialog(glimpse)).toContainText('It can be read at one address.')
  await expect(button(glimpse, 'Stop sharing')).toBeVisible()
  await glimpse.page.keyboard.press('Escape')
  await glimpse.anew.click()
  await expect(glimpse.page.getByRole('button', { name: 'Share', exact: true })).toBeHidden()
  await glimpse.examples.nth(1).click()
  await glimpse.answered(1)
  await open(glimpse)
  await expect(button(glimpse, 'Stop sharing')).toBeHidden()
})

test('a conversation is saved as a file of each kind', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('<script>alert(1)</script> [x](http://y)?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  const answer = (await glimpse.last.locator('.answer').textContent())!.trim()
  await open(glimpse)
  const saved = async (kind: string) => {
    const download = glimpse.page.waitForEvent('download')
    await dialog(glimpse).getByRole('link', { name: kind }).click()
    const file = await download
    return { name: file.suggestedFilename(), text: readFileSync(await file.path(), 'utf8') }
  }
  const markdown = await saved('Markdown')
  expect(markdown.name).toBe('glimpse-script-alert-1-script-x-http-y.md')
  expect(markdown.text).toContain('\\<script\\>alert(1)\\</script\\> \\[x\\](http://y)?')
  const json = JSON.parse((await saved('JSON')).text)
  expect(json.turns[0].question).toBe('<script>alert(1)</script> [x](http://y)?')
  expect(json.turns[0].answers[0].text.trim()).toBe(answer)
  const html = await saved('Web page')
  expect(html.name).toMatch(/\.html$/)
  // The file by itself, without a network.
  const context = await glimpse.page.context().browser()!.newContext({ offline: true })
  const page = await context.newPage()
  const alerts: string[] = []
  page.on('dialog', (dialog) => alerts.push(dialog.message()))
  await page.setContent(html.text)
  await expect(page.getByRole('article')).toContainText(answer)
  await expect(page.getByRole('article').getByRole('heading')).toHaveText('<script>alert(1)</script> [x](http://y)?')
  expect(await page.getByRole('img').evaluate((picture: HTMLImageElement) => picture.naturalWidth)).toBeGreaterThan(0)
  expect(alerts).toEqual([])
  await context.close()
})

test('in a frame without cookies or storage all of it works', async ({ browser, baseURL }) => {
  const context = await browser.newContext({ baseURL })
  await context.addInitScript(() => {
    for (const storage of ['localStorage', 'sessionStorage'])
      Object.defineProperty(window, storage, { get: () => { throw new DOMException('no', 'SecurityError') } })
  })
  await context.route('**/*', async (route) => {
    const { cookie: _, ...headers } = route.request().headers()
    await route.continue({ headers })
  })
  const glimpse = new Glimpse(await context.newPage())
  await asked(glimpse)
  const page = await stranger(browser)
  expect((await page.goto(await share(glimpse)))?.status()).toBe(200)
  const download = glimpse.page.waitForEvent('download')
  await dialog(glimpse).getByRole('link', { name: 'Markdown' }).click()
  expect(readFileSync(await (await download).path(), 'utf8')).toContain(examples[2].answer)
  await context.close()
})

test('what is thought of an answer stays over a reload, and can be changed and taken back', async ({ glimpse }) => {
  await asked(glimpse)
  const thumb = (name: string) => glimpse.last.getByRole('button', { name })
  const wrong = glimpse.last.getByRole('textbox', { name: 'What was wrong?' })
  const kept = () => glimpse.page.waitForResponse('**/api/page/rate')
  await expect(wrong).toBeHidden()
  let rated = kept()
  await thumb('Bad answer').click()
  await rated
  rated = kept()
  await wrong.fill('It is a dog.')
  await wrong.press('Enter')
  await rated
  await glimpse.page.reload()
  await glimpse.hydrated()
  await expect(thumb('Bad answer')).toHaveAttribute('aria-pressed', 'true')
  await expect(wrong).toHaveValue('It is a dog.')
  rated = kept()
  await thumb('Good answer').click()
  await rated
  await glimpse.page.reload()
  await glimpse.hydrated()
  await expect(thumb('Good answer')).toHaveAttribute('aria-pressed', 'true')
  await expect(thumb('Bad answer')).toHaveAttribute('aria-pressed', 'false')
  await expect(wrong).toBeHidden()
  rated = kept()
  await thumb('Good answer').click()
  await rated
  await glimpse.page.reload()
  await glimpse.hydrated()
  await expect(thumb('Good answer')).toHaveAttribute('aria-pressed', 'false')
})

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false })
  test('links save, and a form shares', async ({ glimpse, browser }) => {
    await glimpse.page.goto('/')
    await glimpse.examples.nth(2).click()
    await expect(glimpse.turns).toHaveCount(1)
    await open(glimpse)
    const download = glimpse.page.waitForEvent('download')
    await dialog(glimpse).getByRole('link', { name: 'Markdown' }).click()
    expect(readFileSync(await (await download).path(), 'utf8')).toContain(examples[2].answer)
    await button(glimpse, 'Make an address').click()
    const address = await glimpse.page.getByRole('link', { name: /\/s\// }).textContent()
    const page = await stranger(browser)
    expect((await page.goto(address!))?.status()).toBe(200)
    await expect(page.getByRole('article')).toContainText(examples[2].answer)
  })
})

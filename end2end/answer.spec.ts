import { expect, test } from './glimpse'
import { asFile, red, square } from './pictures'

test('the answer streams: several tokens, then done, one event a line', async ({ glimpse }) => {
  await glimpse.page.addInitScript(() => {
    const send = window.fetch
    Object.assign(window, { lines: [] as string[] })
    window.fetch = async (...args: Parameters<typeof fetch>) => {
      const response = await send(...args)
      if (new URL(response.url).pathname.endsWith('/ask')) {
        const copy = response.clone()
        copy.text().then((text) => Object.assign(window, { lines: text.trim().split('\n') }))
      }
      return response
    }
  })
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is in the picture?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  const lines = await glimpse.page.evaluate(() => (window as unknown as { lines: string[] }).lines)
  const events = lines.map((line) => JSON.parse(line))
  const tokens = events.filter(({ event }) => event === 'token')
  expect(tokens.length).toBeGreaterThan(1)
  expect(events.at(-1)).toMatchObject({ event: 'done', generated_tokens: expect.any(Number), timings_ms: expect.any(Object) })
  expect(events.filter(({ event }) => event === 'done')).toHaveLength(1)
  const answer = tokens.map(({ text }) => text).join('').trim()
  await expect(glimpse.last.locator('.answer')).toHaveText(answer)
})

test('ask again about the same picture; Enter asks, Shift+Enter makes a line', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const picture = await glimpse.shown.getAttribute('srcset')
  await glimpse.question.fill('What is this?')
  await glimpse.question.press('Enter')
  await glimpse.answered(1)
  await glimpse.question.pressSequentially('Which')
  await glimpse.question.press('Shift+Enter')
  await glimpse.question.pressSequentially('colour?')
  await expect(glimpse.question).toHaveValue('Which\ncolour?')
  await glimpse.question.press('Enter')
  await glimpse.answered(2)
  await glimpse.describe.click()
  await glimpse.answered(3)
  await expect(glimpse.shown).toHaveAttribute('srcset', picture ?? '')
})

test('a double click on Ask asks once and does not stop', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.ask.dblclick()
  await glimpse.answered(1)
  await expect(glimpse.last).not.toContainText('Stopped')
})

test('right-to-left text runs from the right', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const direction = (element: Element) => getComputedStyle(element).direction
  await glimpse.question.fill('ما هذا؟')
  expect(await glimpse.question.evaluate(direction)).toBe('rtl')
  await glimpse.ask.click()
  await glimpse.answered(1)
  expect(await glimpse.last.locator('.asked').evaluate(direction)).toBe('rtl')
  await glimpse.question.fill('What is this?')
  expect(await glimpse.question.evaluate(direction)).toBe('ltr')
})

test('a reload and the browser’s history keep every conversation', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const address = glimpse.page.url()
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  const said = await glimpse.last.innerText()

  await glimpse.page.reload()
  await glimpse.hydrated()
  await glimpse.answered(1)
  expect(await glimpse.last.innerText()).toBe(said)
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)

  await glimpse.anew.click()
  await expect(glimpse.turns).toHaveCount(0)
  await expect(glimpse.shown).toHaveCount(0)
  expect(new URL(glimpse.page.url()).pathname).toBe('/')

  await glimpse.page.goBack()
  await expect(glimpse.page).toHaveURL(address)
  await glimpse.answered(1)
  expect(await glimpse.last.innerText()).toBe(said)

  await glimpse.page.goForward()
  await expect(glimpse.turns).toHaveCount(0)
  await expect(glimpse.shown).toHaveCount(0)
})

test('max new tokens is kept to', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.settings.click()
  await expect(glimpse.settings).toHaveAttribute('aria-expanded', 'true')
  await glimpse.page.getByLabel('Max new tokens').fill('1')
  await glimpse.page.keyboard.press('Escape')
  await glimpse.describe.click()
  await glimpse.answered(1)
  await expect(glimpse.status).toContainText('1 token in')
  await expect(glimpse.status).toContainText(await glimpse.last.locator('.answer').innerText())
})

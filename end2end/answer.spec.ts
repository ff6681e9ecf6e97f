import { createServer, request as forward, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { crowd, expect, Glimpse, test } from './glimpse'
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
  const picture = await glimpse.shown.getAttribute('src')
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
  await expect(glimpse.shown).toHaveAttribute('src', picture ?? '')
})

test('a double click on Ask asks once and does not stop', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.ask.dblclick()
  await glimpse.answered(1)
  await expect(glimpse.last).not.toContainText('Stopped')
})

test('Stop ends the answer, and the next question is answered', async ({ glimpse, baseURL }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  const disperse = await crowd(baseURL!)
  await glimpse.ask.click()
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'true')
  await glimpse.waits()
  await glimpse.stop.click()
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'false')
  await expect(glimpse.last).toContainText('Stopped')
  await expect(glimpse.ask).toBeVisible()
  await disperse()
  await glimpse.question.fill('And this?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
})

test('Describe waits while an answer comes; focus stays where it was put meanwhile', async ({ glimpse, baseURL }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  const disperse = await crowd(baseURL!)
  await glimpse.ask.click()
  await glimpse.waits()
  await expect(glimpse.describe).toBeDisabled()
  await glimpse.log.focus()
  await disperse()
  await glimpse.answered(1)
  await expect(glimpse.describe).toBeEnabled()
  await expect(glimpse.log).toBeFocused()
})

test('an answer without words is said to be none', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const timings_ms = { load: 0, image: 1, prefill: 1, decode: 1, total: 3 }
  const done = {
    seq: 1,
    event: 'done',
    finish_reason: 'stop',
    timings_ms,
    prompt_tokens: 10,
    generated_tokens: 1,
    prompt: 'Question: What is this? Answer:',
  }
  await glimpse.page.route('**/api/page/ask', (route) =>
    route.fulfill({ contentType: 'application/x-ndjson', body: `${JSON.stringify(done)}\n` }),
  )
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('The model gave no answer.')
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

test('an answer that is coming is taken up after a reload', async ({ glimpse, baseURL }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  const disperse = await crowd(baseURL!)
  await glimpse.ask.click()
  await glimpse.waits()
  await glimpse.page.reload()
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'true')
  await glimpse.hydrated()
  await expect(glimpse.stop).toBeVisible()
  await disperse()
  await glimpse.answered(1)
  await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
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
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 320)

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
})

test.describe('on a bad line', () => {
  let server: Server
  let broken = 0
  let down = false
  let refused = 0

  // Hands everything on to Glimpse; streams come in pieces of seven bytes, and
  // the first `broken` of them break off.
  test.beforeEach(async ({ baseURL }) => {
    const target = new URL(baseURL!)
    down = false
    refused = 0
    server = createServer((incoming, outgoing) => {
      if (down) {
        refused += 1
        return incoming.socket.destroy()
      }
      const { hostname, port } = target
      const { method, headers, url } = incoming
      incoming.pipe(
        forward({ hostname, port, method, path: url, headers }, async (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
          if (!/\/(ask|follow)$/.test(url ?? '') || answer.statusCode !== 200) return answer.pipe(outgoing)
          for await (const piece of answer) {
            for (let start = 0; start < piece.length; start += 7) {
              outgoing.write(piece.subarray(start, start + 7))
              await sleep(3)
              if (broken > 0 && start > 20) {
                broken -= 1
                return outgoing.destroy()
              }
            }
          }
          outgoing.end()
        }),
      )
    }).listen(0, '127.0.0.1')
    await new Promise((ready) => server.once('listening', ready))
  })
  test.afterEach(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

  test('pieces of lines and characters make the answer grow', async ({ page }) => {
    const glimpse = new Glimpse(page)
    await glimpse.open(address())
    await glimpse.put(asFile(square(red)))
    await page.evaluate(() => {
      const seen = new Set<string>()
      Object.assign(window, { seen })
      new MutationObserver(() => seen.add(document.querySelector('.answer')?.textContent ?? '')).observe(
        document.querySelector('[role=log]')!,
        { childList: true, characterData: true, subtree: true },
      )
    })
    await glimpse.describe.click()
    await glimpse.answered(1)
    const states = await page.evaluate(() => [...(window as unknown as { seen: Set<string> }).seen])
    expect(states.filter((state) => state.trim()).length).toBeGreaterThan(1)
    for (let at = 1; at < states.length; at++) expect(states[at].startsWith(states[at - 1].trim())).toBe(true)
  })

  test('a stream that breaks off is taken up again', async ({ page, baseURL }) => {
    const glimpse = new Glimpse(page)
    await glimpse.open(address())
    await glimpse.put(asFile(square(red)))
    await glimpse.question.fill('What is this?')
    const disperse = await crowd(baseURL!)
    broken = 2
    await glimpse.ask.click()
    await expect.poll(() => broken).toBe(0)
    await disperse()
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
    await expect(glimpse.alert).toHaveCount(0)
  })

  test('an answer is taken up after a long outage, at once when the network is back', async ({ page, baseURL }) => {
    const glimpse = new Glimpse(page)
    await glimpse.open(address())
    await glimpse.put(asFile(square(red)))
    await glimpse.question.fill('What is this?')
    const disperse = await crowd(baseURL!)
    await glimpse.ask.click()
    await glimpse.waits()
    down = true
    server.closeAllConnections()
    await expect(glimpse.status).toContainText('Connection lost')
    // Each time that the network comes back there is a try, and no number of them is too many.
    const tries = async () => {
      await page.evaluate(() => window.dispatchEvent(new Event('online')))
      return refused
    }
    await expect.poll(tries, { intervals: [50] }).toBeGreaterThan(10)
    await expect(glimpse.alert).toHaveCount(0)
    await expect(glimpse.last).toHaveAttribute('aria-busy', 'true')
    down = false
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    await disperse()
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
    await expect(glimpse.alert).toHaveCount(0)
  })
})

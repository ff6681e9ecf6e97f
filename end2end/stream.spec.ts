// An answer on its way: waiting, growing, stopped, taken up, failed.

import { createServer, request as forward, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Page } from '@playwright/test'
import { details } from './glimpse'
import { asFile, red, square } from './pictures'
import { answer, expect, Glimpse, type Scripted, test } from './scripted'

const whole = answer.join('')

/** A conversation whose first question is typed. */
async function typed(glimpse: Glimpse, path = '/') {
  await glimpse.open(path)
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
}

/** A question that is being answered, with its first word on the page. */
async function begun(glimpse: Glimpse, scripted: Scripted, path = '/') {
  await typed(glimpse, path)
  await scripted.begin()
  await glimpse.ask.click()
  await scripted.release(1)
  await expect(glimpse.last.locator('.answer')).toHaveText(answer[0])
}

test('a question waits, its answer grows word by word, and ends', async ({ glimpse, scripted }) => {
  await typed(glimpse)
  await glimpse.ask.click()
  await expect(glimpse.status).toContainText('place 1 in the queue')
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'true')
  await scripted.begin()
  await expect(glimpse.status).toContainText('Looking at the picture')
  for (let words = 1; words <= answer.length; words++) {
    await scripted.release()
    await expect(glimpse.last.locator('.answer')).toHaveText(answer.slice(0, words).join(''))
  }
  await glimpse.answered(1)
})

test('Stop ends the answer, and the next question is answered', async ({ glimpse, scripted }) => {
  await begun(glimpse, scripted)
  await glimpse.stop.click()
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'false')
  await expect(glimpse.last).toContainText('Stopped')
  await expect(glimpse.last.locator('.answer')).toHaveText(answer[0])
  await scripted.wait({ running: 0, cancelled: 1 })
  await scripted.open()
  await glimpse.question.fill('And this?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(glimpse.last.locator('.answer')).toHaveText(whole)
})

test.describe(() => {
  test.use({ refusals: true })

  test('where Stop does not arrive, the page says that the answer goes on', async ({ glimpse, scripted }) => {
    await begun(glimpse, scripted)
    await glimpse.page.route('**/api/page/cancel', (route) => route.fulfill({ status: 502, body: 'Bad gateway' }))
    await glimpse.stop.click()
    await expect(glimpse.alert).toHaveCount(1)
    await expect(glimpse.status).toContainText('Answering')
    await scripted.open()
    await glimpse.answered(1)
  })

  test('a question that a proxy did not wait for is taken up, and is one turn', async ({ glimpse, scripted }) => {
    await typed(glimpse)
    await scripted.begin()
    await glimpse.page.route('**/api/page/ask', async (route) => {
      // It arrives, and what comes back is the proxy's.
      const asked = fetch(route.request().url(), {
        method: 'POST',
        headers: await route.request().allHeaders(),
        body: route.request().postData(),
      })
      await scripted.wait({ begun: 1 })
      await route.fulfill({ status: 504, body: 'Gateway timeout' })
      await (await asked).body?.cancel()
    })
    await glimpse.ask.click()
    await scripted.release()
    await expect(glimpse.last.locator('.answer')).toHaveText(answer[0])
    await scripted.open()
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(whole)
    await expect(glimpse.alert).toHaveCount(0)
    await expect(glimpse.question).toHaveValue('')
  })
})

test('Stop ends a question that waits', async ({ glimpse, scripted }) => {
  await typed(glimpse)
  await glimpse.ask.click()
  await glimpse.waits()
  await glimpse.stop.click()
  await expect(glimpse.last).toContainText('Stopped')
  await scripted.wait({ waiting: 0 })
})

test('Describe waits while an answer comes', async ({ glimpse, scripted }) => {
  await begun(glimpse, scripted)
  await expect(glimpse.describe).toBeDisabled()
  await scripted.open()
  await glimpse.answered(1)
  await expect(glimpse.describe).toBeEnabled()
})

test.describe('when an answer ends, the focus', () => {
  test('returns to the question from the Stop button', async ({ glimpse, scripted }) => {
    await begun(glimpse, scripted)
    await glimpse.stop.focus()
    await scripted.open()
    await glimpse.answered(1)
    await expect(glimpse.question).toBeFocused()
  })

  const places: [string, (glimpse: Glimpse) => Promise<ReturnType<Glimpse['page']['locator']>>][] = [
    ['the log', async (glimpse) => glimpse.log],
    ['a button elsewhere', async (glimpse) => glimpse.anew],
    ['a prompt', async (glimpse) => glimpse.turns.first().locator('summary')],
    [
      'a choice in the settings',
      async (glimpse) => {
        await glimpse.settings.click()
        await glimpse.decode('Beam search')
        return glimpse.panel.getByRole('combobox', { name: 'Early stopping' })
      },
    ],
    [
      'a text in the settings',
      async (glimpse) => {
        await glimpse.settings.click()
        await glimpse.panel.getByText('More', { exact: true }).click()
        return glimpse.panel.getByLabel('Stop strings')
      },
    ],
  ]
  for (const [name, place] of places) {
    test(`stays on ${name}`, async ({ glimpse, scripted }) => {
      // An earlier turn, whose prompt is known.
      await typed(glimpse)
      await scripted.begin()
      await scripted.release('all')
      await glimpse.ask.click()
      await glimpse.answered(1)
      await glimpse.question.fill('And now?')
      await glimpse.ask.click()
      await glimpse.waits()
      const left = await place(glimpse)
      await left.focus()
      await scripted.open()
      await glimpse.answered(2)
      await expect(left).toBeFocused()
    })
  }
})

test('an answer that is coming is taken up after a reload', async ({ glimpse, scripted }) => {
  await begun(glimpse, scripted)
  await glimpse.page.reload()
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'true')
  await glimpse.hydrated()
  await expect(glimpse.stop).toBeVisible()
  await expect(glimpse.last.locator('.answer')).toHaveText(answer[0])
  await scripted.open()
  await glimpse.answered(1)
  await expect(glimpse.last.locator('.answer')).toHaveText(whole)
})

test('two pages follow one answer', async ({ glimpse, scripted }) => {
  await begun(glimpse, scripted)
  const other = new Glimpse(await glimpse.page.context().newPage())
  await other.open(glimpse.page.url())
  for (let words = 1; words <= 2; words++) {
    for (const page of [glimpse, other]) {
      await expect(page.last.locator('.answer')).toHaveText(answer.slice(0, words).join(''))
      await expect(page.last).toHaveAttribute('aria-busy', 'true')
    }
    await scripted.release()
  }
  for (const page of [glimpse, other]) {
    await page.answered(1)
    await expect(page.last.locator('.answer')).toHaveText(whole)
  }
  await scripted.wait({ begun: 1, answered: 1 })
})

test.describe(() => {
  test.use({ refusals: true })

  test('one conversation in two tabs: what is said in one is not lost in the other', async ({ glimpse, scripted }) => {
    await typed(glimpse)
    await scripted.begin()
    await scripted.release('all')
    await glimpse.ask.click()
    await glimpse.answered(1)
    const other = new Glimpse(await glimpse.page.context().newPage())
    await other.open(glimpse.page.url())
    await details(other.turns.first())
    await other.turns.first().evaluate((turn) => Object.assign(turn, { isTheSame: true }))
    await glimpse.question.fill('Asked here?')
    await other.question.fill('And there?')
    await glimpse.ask.click()
    await glimpse.waits()
    await other.ask.click()
    await expect(other.alert).toContainText('still being given')
    await expect(other.last).toContainText('Asked here?')
    await expect(other.question).toHaveValue('And there?')
    // What was there is the same article: nothing in it closed, and it is not said again.
    await expect(other.turns.first()).toHaveJSProperty('isTheSame', true)
    await expect(other.turns.first().locator('pre')).toBeVisible()
    await scripted.open()
    await other.answered(2)
    await other.ask.click()
    await other.answered(3)
  })
})

test.describe(() => {
  test.use({ refusals: true, cuts: true })

  test('a server that ends in the middle of an answer: the turn says so, and is asked again', async ({
    glimpse,
    scripted,
  }) => {
    await begun(glimpse, scripted)
    await scripted.kill()
    await expect(glimpse.status).toContainText('Connection lost')
    await expect(glimpse.last.getByText('Connection lost')).toBeVisible()
    await scripted.start()
    await glimpse.page.evaluate(() => window.dispatchEvent(new Event('online')))
    await expect(glimpse.last).toContainText('Interrupted')
    await expect(glimpse.last).toHaveAttribute('aria-busy', 'false')
    await glimpse.page.reload()
    await glimpse.hydrated()
    await expect(glimpse.last).toContainText('Interrupted')
    await scripted.open()
    await glimpse.last.getByRole('button', { name: 'Ask again' }).click()
    await expect(glimpse.last).toContainText('2/2')
    await glimpse.answered(1)
    await expect(glimpse.last).toContainText('What is this?')
    await expect(glimpse.last.locator('.answer')).toHaveText(whole)
  })
})

test.describe(() => {
  test.use({ refusals: true, cuts: true })

  test('a server that is asked to end: what runs is finished or kept, and what waits is asked again', async ({
    context,
    glimpse,
    scripted,
  }) => {
    await begun(glimpse, scripted)
    const other = new Glimpse(await context.newPage())
    await typed(other, scripted.url)
    await other.ask.click()
    await other.waits()
    scripted.askToEnd()
    await expect(other.last).toContainText('being restarted')
    await expect(other.question).toHaveValue('What is this?')
    await scripted.release()
    await expect(glimpse.last.locator('.answer')).toHaveText(answer.slice(0, 2).join(''))
    scripted.askToEnd()
    await expect(glimpse.last).toContainText('Interrupted')
    await scripted.ended()
    await scripted.start()
    await scripted.open()
    await glimpse.page.reload()
    await glimpse.hydrated()
    await expect(glimpse.last.locator('.answer')).toHaveText(answer.slice(0, 2).join(''))
    await other.ask.click()
    await other.answered(2)
    await expect(other.last.locator('.answer')).toHaveText(whole)
  })
})

test('what goes wrong with an answer is said once, in its turn, which is asked again', async ({ glimpse, scripted }) => {
  await begun(glimpse, scripted)
  await scripted.fail()
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'false')
  await expect(glimpse.last.locator('.note')).toHaveText(/\S/)
  await expect(glimpse.alert).toHaveCount(0)
  await expect(glimpse.question).toHaveValue('What is this?')
  await scripted.open()
  await glimpse.last.getByRole('button', { name: 'Ask again' }).click()
  await expect(glimpse.question).toHaveValue('')
  await expect(glimpse.last).toContainText('2/2')
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('What is this?')
})

test('an answer without words is said to be none', async ({ glimpse, scripted }) => {
  await typed(glimpse)
  await scripted.answers({ 'What is this?': [] })
  await scripted.open()
  await glimpse.ask.click()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('The model gave no answer.')
})

test('beam search says that it searches, and Stop ends it', async ({ glimpse, scripted }) => {
  await typed(glimpse)
  await glimpse.set({ Decoding: 'Beam search', Beams: '10' })
  await scripted.begin()
  await glimpse.describe.click()
  await expect(glimpse.status).toContainText('Searching with 10 beams')
  await expect(glimpse.last).toContainText('The answer comes whole, when all beams are complete.')
  await glimpse.stop.click()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('Stopped')
  await expect(glimpse.last).not.toContainText('The answer comes whole')
})

test.describe('on a bad line', () => {
  let server: Server
  let broken = 0
  let down = false
  let refused = 0

  // Hands everything on to Glimpse; streams come in pieces of seven bytes, and
  // the first `broken` of them break off.
  test.beforeEach(async ({ scripted }) => {
    const target = new URL(scripted.url)
    broken = 0
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
        forward({ hostname, port, method, path: url, headers }, async (reply) => {
          outgoing.writeHead(reply.statusCode ?? 502, reply.headers)
          if (!/\/(ask|follow)$/.test(url ?? '') || reply.statusCode !== 200) return reply.pipe(outgoing)
          for await (const piece of reply) {
            for (let start = 0; start < piece.length; start += 7) {
              outgoing.write(piece.subarray(start, start + 7))
              await sleep(1)
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

  /** A question that is being answered, and a page that was cut off from the network since. */
  async function offline(page: Page, scripted: Scripted) {
    const glimpse = new Glimpse(page)
    await page.clock.install()
    await begun(glimpse, scripted, address())
    // The browser's own switch leaves the connections that there are.
    await page.context().setOffline(true)
    server.closeAllConnections()
    await expect(glimpse.status).toContainText('Connection lost')
    return glimpse
  }

  test('pieces of lines and characters make the answer grow', async ({ page, scripted }) => {
    const glimpse = new Glimpse(page)
    const words = ['Käse', ' 🧀', ' und Brot']
    await typed(glimpse, address())
    await scripted.answers({ 'What is this?': words })
    await scripted.begin()
    await glimpse.ask.click()
    for (let count = 1; count <= words.length; count++) {
      await scripted.release()
      await expect(glimpse.last.locator('.answer')).toHaveText(words.slice(0, count).join(''))
    }
    await glimpse.answered(1)
  })

  test('a stream that breaks off is taken up again', async ({ page, scripted }) => {
    const glimpse = new Glimpse(page)
    await typed(glimpse, address())
    broken = 2
    await glimpse.ask.click()
    await expect.poll(() => broken).toBe(0)
    await scripted.open()
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(whole)
    await expect(glimpse.alert).toHaveCount(0)
  })

  test('an answer is taken up after a long outage, at once when the network is back', async ({ page, scripted }) => {
    const glimpse = new Glimpse(page)
    await begun(glimpse, scripted, address())
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
    await scripted.open()
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(whole)
    await expect(glimpse.alert).toHaveCount(0)
  })

  test('offline for 20 seconds and back: the answer goes on', async ({ page, scripted }) => {
    const glimpse = await offline(page, scripted)
    await page.clock.fastForward(20_000)
    await scripted.open()
    await scripted.wait({ answered: 1 })
    await expect(glimpse.last).toHaveAttribute('aria-busy', 'true')
    await expect(glimpse.alert).toHaveCount(0)
    await page.context().setOffline(false)
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(whole)
    await expect(glimpse.alert).toHaveCount(0)
  })

  test('an answer that was given up is taken up when the network is back', async ({ page, scripted }) => {
    const glimpse = await offline(page, scripted)
    const again = glimpse.last.getByRole('button', { name: 'Ask again' })
    // Each wait begins when a try has failed: one long leap is one wait.
    await expect(async () => {
      await page.clock.fastForward(11 * 60_000)
      await expect(again).toBeVisible({ timeout: 500 })
    }).toPass()
    await expect(glimpse.last).toHaveAttribute('aria-busy', 'false')
    await scripted.open()
    await scripted.wait({ answered: 1 })
    await page.context().setOffline(false)
    await expect(glimpse.last.locator('.answer')).toHaveText(whole)
    await expect(again).toHaveCount(0)
    await glimpse.answered(1)
  })
})

// The limits that deploy/nginx.conf sets.

import { asFile, red, square } from '../pictures'
import { expect, shippedHost, test } from './nginx'

// The shipped rate gives a request back every two seconds, also while a test runs.
test.use({ refusals: true, setup: shippedHost([['rate=30r/m', 'rate=1r/m']]) })

test('who asks too often is told, and only asking waits', async ({ glimpse, scripted, site }) => {
  await scripted.open()
  await glimpse.open(`${site}/`)
  await glimpse.put(asFile(square(red)))
  await glimpse.describe.click()
  await glimpse.answered(1)
  await glimpse.question.fill('And what else?')

  const statuses = await glimpse.page.evaluate(async () => {
    const seen: number[] = []
    const paths = ['/ask', '/api/page/ask', '/api/page/upload', '/api/page/address']
    while (seen.at(-1) !== 429 && seen.length < 100)
      seen.push((await fetch(paths[seen.length % paths.length], { method: 'POST' })).status)
    return seen
  })
  expect(statuses.at(-1)).toBe(429)
  // The picture and the first question were two of the 31.
  expect(statuses.length).toBe(30)

  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveText(/too many requests/)
  await expect(glimpse.question).toHaveValue('And what else?')
  await glimpse.page.reload()
  await glimpse.hydrated()
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
})

for (const path of ['/ask', '/api/page/ask', '/api/page/upload', '/api/page/address']) {
  test(`requests to ${path} are counted, and what follows and stops answers is not`, async ({ glimpse, site }) => {
    await glimpse.open(`${site}/`)
    const last = (path: string) =>
      glimpse.page.evaluate(async (path) => {
        let status = 0
        for (let count = 0; count < 40; count++) status = (await fetch(path, { method: 'POST' })).status
        return status
      }, path)
    expect(await last(path)).toBe(429)
    expect(await last('/api/page/follow')).not.toBe(429)
    expect(await last('/api/page/stop')).not.toBe(429)
  })
}

// How heavy the page is, and whether it stays where it is while it loads and while an answer comes.

import { expect, test } from './glimpse'

/** Of the first load, on the wire: HTML, style, scripts, WebAssembly, icons, small pictures. */
const MOST_BYTES = 430_000

test('the first load is light', async ({ glimpse }) => {
  const session = await glimpse.page.context().newCDPSession(glimpse.page)
  await session.send('Network.enable')
  let bytes = 0
  session.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength))
  await glimpse.open()
  await glimpse.page.waitForLoadState('networkidle')
  expect(bytes).toBeLessThan(MOST_BYTES)
})

test('nothing moves by itself while the page loads and is used', async ({ glimpse }) => {
  await glimpse.page.addInitScript(() => {
    Object.assign(window, { moved: 0 })
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as unknown as { value: number; hadRecentInput: boolean }[]) {
        if (!entry.hadRecentInput) (window as unknown as { moved: number }).moved += entry.value
      }
    }).observe({ type: 'layout-shift', buffered: true })
  })
  const moved = () => glimpse.page.evaluate(() => (window as unknown as { moved: number }).moved)
  await glimpse.open()
  await glimpse.page.waitForLoadState('networkidle')
  expect(await moved()).toBeLessThan(0.02)
  await glimpse.examples.nth(2).click()
  await glimpse.answered(1)
  await glimpse.describe.click()
  await glimpse.answered(2)
  expect(await moved()).toBeLessThan(0.02)
})

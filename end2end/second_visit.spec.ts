// What a second visit costs.

import { createServer, request } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Glimpse, expect, test } from './glimpse'

test('a second visit is one request', async ({ browser, baseURL }) => {
  const asked: string[] = []
  const inner = new URL(baseURL!)
  const proxy = createServer((incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`)
    const { hostname, port } = inner
    const onward = request({ hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers })
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(outgoing)
    })
    incoming.pipe(onward)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const context = await browser.newContext({ baseURL: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` })
  const page = await context.newPage()
  const glimpse = new Glimpse(page)
  const isDrawn = () =>
    page.evaluate(() => [...document.images].every((image) => image.complete && image.naturalWidth > 0))
  await glimpse.open()
  await expect.poll(isDrawn).toBe(true)
  expect(asked.filter((path) => /\.(js|wasm|css|webp|png)/.test(path)).length).toBeGreaterThan(8)
  for (const again of [() => page.reload(), () => page.goto('/')]) {
    asked.length = 0
    await again()
    await glimpse.hydrated()
    await expect.poll(isDrawn).toBe(true)
    expect(asked).toEqual(['GET /'])
  }
  await context.close()
  proxy.close()
  proxy.closeAllConnections()
})

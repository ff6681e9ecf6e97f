// What nginx refuses, and what it says where Glimpse is gone: a sentence, and nothing is lost.

import { randomBytes } from 'node:crypto'
import { asFile, blue, hundredMegabytes, red, square } from '../pictures'
import { answer, expect, Glimpse, naive, type Setup, test } from './nginx'

test.use({ refusals: true, cuts: true, setup: { name: 'one line', url: (port) => `http://127.0.0.1:${port}`, config: naive() } })

const whole = answer.join('')

/** A picture of 1.2 MB, where nginx takes 1 MB. */
const large = () => Buffer.concat([square(red), randomBytes(1_200_000)])

/** A conversation with a turn, and something typed. */
async function typed(glimpse: Glimpse) {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
}

async function isKept(glimpse: Glimpse, sentence: RegExp) {
  await expect(glimpse.alert).toHaveText(sentence)
  await expect(glimpse.question).toHaveValue('What is this?')
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
  await expect(glimpse.turns).toHaveCount(0)
}

async function isAnswered(glimpse: Glimpse) {
  await glimpse.answered(1)
  await expect(glimpse.last.locator('.answer')).toHaveText(whole)
  await expect(glimpse.question).toHaveValue('')
  await expect(glimpse.alert).toHaveCount(0)
}

/** Something that holds for asking only. */
const atAsking =
  (directives: string, http?: string): Setup['config'] =>
  (place) =>
    naive(`} location = /api/page/ask { proxy_pass http://${place.upstream}; ${directives}`, http)(place)

test.describe('a picture beyond the limit of nginx', () => {
  test('stays to be seen, the page says whose limit it is, and asking sends it again', async ({
    glimpse,
    scripted,
    nginx,
    upstream,
  }) => {
    await glimpse.open()
    await glimpse.question.fill('What is this?')
    await glimpse.picture.setInputFiles(asFile(large()))
    await isKept(glimpse, /the limit is the proxy's/)
    const refused = glimpse.page.waitForResponse((response) => response.status() === 413)
    await glimpse.ask.click()
    await refused
    await isKept(glimpse, /the limit is the proxy's/)
    await nginx.restart(naive('client_max_body_size 33m;'), upstream)
    await scripted.open()
    await glimpse.ask.click()
    await isAnswered(glimpse)
  })

  test('leaves the conversation that was there', async ({ glimpse, scripted }) => {
    await typed(glimpse)
    await glimpse.picture.setInputFiles(asFile(large()))
    await isKept(glimpse, /the limit is the proxy's/)
    await scripted.open()
    await glimpse.ask.click()
    await isAnswered(glimpse)
  })

  test('makes room for another one', async ({ glimpse, scripted }) => {
    await glimpse.open()
    await glimpse.picture.setInputFiles(asFile(large()))
    await expect(glimpse.alert).toHaveText(/the limit is the proxy's/)
    await glimpse.put(asFile(square(blue, 200, 100)))
    await expect(glimpse.alert).toHaveCount(0)
    await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 2000)
    await scripted.open()
    await glimpse.describe.click()
    await glimpse.answered(1)
  })
})

test('too many requests: the page says so, and the question stays to be asked again', async ({
  glimpse,
  scripted,
  nginx,
  upstream,
}) => {
  await nginx.restart(
    atAsking('limit_req zone=asks; limit_req_status 429;', 'limit_req_zone $binary_remote_addr zone=asks:1m rate=1r/m;'),
    upstream,
  )
  await scripted.open()
  await typed(glimpse)
  await glimpse.ask.click()
  await isAnswered(glimpse)
  await glimpse.question.fill('And what else?')
  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveText(/too many requests/)
  await expect(glimpse.question).toHaveValue('And what else?')
  await expect(glimpse.turns).toHaveCount(1)
  await nginx.restart(naive(), upstream)
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(glimpse.question).toHaveValue('')
  await expect(glimpse.alert).toHaveCount(0)
})

test('too many connections: the page says so, and the question stays to be asked again', async ({
  glimpse,
  scripted,
  nginx,
  upstream,
}) => {
  const zone = 'limit_conn_zone $binary_remote_addr zone=visitors:1m;'
  await nginx.restart(atAsking('limit_conn visitors 1;', zone), upstream)
  const other = new Glimpse(await glimpse.page.context().newPage())
  await typed(other)
  await other.ask.click()
  await other.waits()
  await typed(glimpse)
  await glimpse.ask.click()
  await isKept(glimpse, /cannot be reached right now/)
  await scripted.open()
  await other.answered(1)
  // nginx counts the other one until it has sent all of it.
  await expect(async () => {
    await glimpse.ask.click()
    await expect(glimpse.turns).toHaveCount(1, { timeout: 500 })
  }).toPass()
  await isAnswered(glimpse)
})

test('Glimpse is gone: the page says so, and goes on when it is back', async ({ glimpse, scripted }) => {
  await typed(glimpse)
  await scripted.kill()
  const refused = glimpse.page.waitForResponse((response) => response.status() === 502)
  await glimpse.ask.click()
  await refused
  await isKept(glimpse, /cannot be reached right now/)
  await scripted.start()
  await scripted.open()
  await glimpse.ask.click()
  await isAnswered(glimpse)
})

test('Glimpse is gone when a picture is put in: it is sent when it is back', async ({ glimpse, scripted }) => {
  await glimpse.open()
  await scripted.kill()
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await expect(glimpse.alert).toHaveText(/cannot be reached right now/)
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await isKept(glimpse, /cannot be reached right now/)
  await scripted.start()
  await scripted.open()
  await glimpse.ask.click()
  await isAnswered(glimpse)
})

test('Glimpse hangs: the page says so, and goes on when it does', async ({ glimpse, scripted, nginx, upstream }) => {
  await nginx.restart(atAsking('proxy_read_timeout 1s;'), upstream)
  await typed(glimpse)
  scripted.pause()
  const late = glimpse.page.waitForResponse((response) => response.status() === 504)
  await glimpse.ask.click()
  await late
  await isKept(glimpse, /cannot be reached right now/)
  scripted.resume()
  await nginx.restart(naive(), upstream)
  await scripted.open()
  await glimpse.ask.click()
  await expect(glimpse.last.locator('.answer')).toHaveText(whole)
})

test('nginx ends an answer that is silent for too long: the page takes it up', async ({
  glimpse,
  scripted,
  nginx,
  upstream,
}) => {
  await typed(glimpse)
  await nginx.restart(naive('proxy_read_timeout 2s;'), upstream)
  await scripted.begin()
  await glimpse.ask.click()
  await expect(glimpse.status).toContainText('Connection lost')
  for (let words = 1; words <= answer.length; words++) {
    await scripted.release()
    await expect(glimpse.last.locator('.answer')).toHaveText(answer.slice(0, words).join(''))
  }
  await isAnswered(glimpse)
})

test('nginx ends in the middle of an answer: the page takes it up', async ({ glimpse, scripted, nginx, upstream }) => {
  await typed(glimpse)
  await scripted.begin()
  await glimpse.ask.click()
  await scripted.release()
  await expect(glimpse.last.locator('.answer')).toHaveText(answer[0])
  await nginx.restart(naive(), upstream)
  await glimpse.page.evaluate(() => window.dispatchEvent(new Event('online')))
  await scripted.open()
  await isAnswered(glimpse)
})

test.describe('without JavaScript', () => {
  test.use({
    javaScriptEnabled: false,
    setup: { name: 'no limit', url: (port) => `http://127.0.0.1:${port}`, config: naive('client_max_body_size 0;') },
  })

  test('a picture far beyond the limit of Glimpse: what it says is heard', async ({ glimpse }) => {
    await glimpse.page.goto('/')
    await glimpse.picture.setInputFiles(hundredMegabytes())
    await glimpse.describe.click()
    await expect(glimpse.page.getByRole('main')).toHaveText(/at most \d+ bytes/)
  })
})

test.describe('by a name that Glimpse was not told, without https', () => {
  test.use({ setup: { name: 'one line', url: (port) => `http://glimpse.lan:${port}`, config: naive() } })

  test('the page says what the host has to do', async ({ glimpse }) => {
    await glimpse.open()
    await glimpse.picture.setInputFiles(asFile(square(red)))
    await expect(glimpse.alert).toHaveText(/whoever runs it has to tell it its address/)
    await glimpse.picture.setInputFiles(asFile(large()))
    await expect(glimpse.alert).toHaveText(/the limit is the proxy's/)
  })
})

// Every way in which nginx may stand before Glimpse: what a visitor does works in all of them.

import http from 'node:http'
import https from 'node:https'
import { text } from 'node:stream/consumers'
import { examples } from '../glimpse'
import { asFile, blue, red, square } from '../pictures'
import { answer, expect, type Glimpse, naive, type Setup, shipped, shippedFlags, shippedHost, test } from './nginx'

const whole = answer.join('')

/** A host with other things, and Glimpse in this place of it. */
const host = (port: number, inside: string) => `
  server {
    listen 127.0.0.1:${port};
    location / { return 404; }
    ${inside}
  }`

const setups: Setup[] = [
  shippedHost(),
  {
    name: 'deploy/nginx-below-path.conf',
    url: (port) => `http://glimpse.lan:${port}/glimpse`,
    flags: shippedFlags,
    config: ({ port, upstream }) => host(port, shipped('nginx-below-path.conf', [['127.0.0.1:7860', upstream]])),
  },
  {
    name: 'one line',
    url: (port) => `http://127.0.0.1:${port}`,
    config: naive(),
  },
  {
    name: 'one line, by a name without https',
    url: (port) => `http://glimpse.lan:${port}`,
    flags: (url) => ['--public-url', url],
    config: naive(),
  },
  {
    name: 'the host without its port, by a name without https',
    url: (port) => `http://glimpse.lan:${port}`,
    flags: () => ['--host-name', 'glimpse.lan'],
    config: naive('proxy_set_header Host $host;'),
  },
  {
    name: 'one line, compressing all that it may',
    url: (port) => `http://127.0.0.1:${port}`,
    config: naive('gzip on; gzip_min_length 1; gzip_proxied any; gzip_http_version 1.0; gzip_types *;'),
  },
  {
    name: 'a path that nginx strips and tells',
    url: (port) => `http://127.0.0.1:${port}/demo/glimpse`,
    flags: () => ['--trusted-proxies', '127.0.0.1'],
    config: ({ port, upstream }) =>
      host(
        port,
        `location /demo/glimpse/ { proxy_pass http://${upstream}/; proxy_set_header X-Forwarded-Prefix /demo/glimpse/; }`,
      ),
  },
  {
    name: 'a path that nginx keeps',
    url: (port) => `http://127.0.0.1:${port}/glimpse`,
    flags: () => ['--root-path', '/glimpse'],
    config: ({ port, upstream }) => host(port, `location /glimpse { proxy_pass http://${upstream}; }`),
  },
]

const conversation = /\/c\/[0-9a-f]{32}$/

for (const setup of setups) {
  test.describe(setup.name, () => {
    test.use({ setup })

    test('an example is asked about', async ({ glimpse, scripted, site }) => {
      await scripted.open()
      await glimpse.open(`${site}/`)
      await glimpse.examples.first().click()
      await glimpse.answered(1)
      await expect(glimpse.last).toContainText(examples[0].question)
      await expect(glimpse.last.locator('.answer')).toHaveText(whole)
      await expect(glimpse.shown).not.toHaveJSProperty('naturalWidth', 0)
    })

    test('an own picture: its answer comes word by word, is asked on, and stays', async ({ glimpse, scripted, site }) => {
      await glimpse.open(`${site}/`)
      await glimpse.put(asFile(square(red)))
      expect(glimpse.page.url().startsWith(`${site}/c/`)).toBe(true)
      await glimpse.question.fill('What is this?')
      await scripted.begin()
      await glimpse.ask.click()
      for (let words = 1; words <= answer.length; words++) {
        await scripted.release()
        await expect(glimpse.last.locator('.answer')).toHaveText(answer.slice(0, words).join(''))
      }
      await glimpse.answered(1)
      await scripted.open()
      await glimpse.question.fill('And what else?')
      await glimpse.ask.click()
      await glimpse.answered(2)

      await glimpse.page.reload()
      await glimpse.hydrated()
      await expect(glimpse.turns).toHaveCount(2)
      await expect(glimpse.last).toContainText('And what else?')
      await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
      const asked = glimpse.page.url()

      await glimpse.put(asFile(square(blue)))
      await glimpse.anew.click()
      await expect(glimpse.page).toHaveURL(`${site}/`)
      await glimpse.page.goto(asked)
      await expect(glimpse.turns).toHaveCount(2)
    })

    test('an answer that is coming is taken up after a reload', async ({ glimpse, scripted, site }) => {
      await glimpse.open(`${site}/`)
      await glimpse.put(asFile(square(red)))
      await scripted.begin()
      await glimpse.describe.click()
      await scripted.release()
      await expect(glimpse.last.locator('.answer')).toHaveText(answer[0])
      await glimpse.page.reload()
      await glimpse.hydrated()
      await scripted.release()
      await expect(glimpse.last.locator('.answer')).toHaveText(answer[0] + answer[1])
      await glimpse.stop.click()
      await glimpse.answered(1)
      await expect(glimpse.last).toContainText('Stopped')
    })

    test.describe('without JavaScript', () => {
      test.use({ javaScriptEnabled: false, refusals: true })

      test('a form is posted, and a wrong one says why', async ({ glimpse, scripted, site }) => {
        await scripted.open()
        await glimpse.page.goto(`${site}/`)
        await glimpse.ask.click()
        await expect(glimpse.alert).toContainText(/picture/i)
        await askByForm(glimpse)
        expect(glimpse.page.url().startsWith(`${site}/c/`)).toBe(true)
        await glimpse.describe.click()
        await expect(glimpse.turns).toHaveCount(2)
        await glimpse.anew.click()
        expect(glimpse.page.url().replace(/\?$/, '')).toBe(`${site}/`)
        await glimpse.examples.first().click()
        await expect(glimpse.turns).toHaveCount(1)
      })
    })

    test.describe('an address that is not there', () => {
      test.use({ refusals: true })

      test('leads back to the page', async ({ glimpse, site }) => {
        await glimpse.page.goto(`${site}/nowhere`)
        await glimpse.page.getByRole('link').click()
        await glimpse.hydrated()
        expect(glimpse.page.url()).toBe(`${site}/`)
      })
    })
  })
}

for (const setup of setups.filter(({ name }) => name.startsWith('deploy/'))) {
  test.describe(setup.name, () => {
    test.use({ setup })

    // With a base address there is an nginx.
    test('says who asks, and hands on nothing that somebody claims', async ({ baseURL: _, site, scripted }) => {
      const page = await claiming(`${site}/c/none`, {
        'x-forwarded-for': '203.0.113.9',
        forwarded: 'for=203.0.113.9',
        'x-forwarded-prefix': '/evil',
        'x-forwarded-host': 'evil.example',
        'x-request-id': 'evil',
      })
      expect(page).toContain('<title>Glimpse</title>')
      expect(page).not.toContain('evil')
      expect(page).toContain(`href="${new URL(site).pathname.replace(/\/$/, '')}/pkg/`)
      const logged = () => scripted.said.filter((line) => line.includes('GET /c/'))
      await expect.poll(logged).toEqual([expect.stringMatching(/client=127\.0\.0\.2 /)])
      expect(logged()[0]).not.toContain('evil')
    })
  })
}

/** What somebody gets who claims this of himself, and comes from an address of his own. */
function claiming(address: string, headers: Record<string, string>): Promise<string> {
  const { protocol, host, port, pathname } = new URL(address)
  const { get } = protocol === 'https:' ? https : http
  const options = { host: '127.0.0.1', port, path: pathname, localAddress: '127.0.0.2', rejectUnauthorized: false }
  return new Promise((resolve, reject) => {
    get({ ...options, headers: { ...headers, host } }, async (reply) => resolve(await text(reply))).on('error', reject)
  })
}

async function askByForm(glimpse: Glimpse) {
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await expect(glimpse.page).toHaveURL(conversation)
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.last.locator('.answer')).toHaveText(whole)
  await expect(glimpse.shown).toBeVisible()
}

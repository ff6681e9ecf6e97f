// The page on a phone, in a frame and on a wide screen, light and dark. The
// pictures in results/ are for looking at.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Page } from '@playwright/test'
import { complaintsOf, expect, Glimpse, test, details } from './glimpse'

const sizes = {
  small: { width: 360, height: 640 },
  phone: { width: 390, height: 844 },
  frame: { width: 850, height: 450 },
  wide: { width: 1440, height: 900 },
}

async function inView(glimpse: Glimpse, names: string[]) {
  const { width, height } = glimpse.page.viewportSize()!
  for (const name of names) {
    const piece = glimpse[name as 'question']
    const box = await (name === 'examples' ? glimpse.examples.first() : piece).boundingBox()
    expect(box, name).not.toBeNull()
    expect(box!.x >= 0 && box!.y >= 0 && box!.x + box!.width <= width && box!.y + box!.height <= height, name).toBe(true)
  }
  const overflow = await glimpse.page.evaluate(() => {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = document.documentElement
    return [scrollWidth - clientWidth, scrollHeight - clientHeight]
  })
  expect(overflow).toEqual([0, 0])
}

const everything = ['anew', 'settings', 'fromAddress', 'question', 'describe']
const empty = [...everything, 'examples', 'ask']
const begun = [...everything, 'log']

for (const [size, viewport] of Object.entries(sizes)) {
  test.describe(() => {
    test.use({ viewport, hasTouch: size === 'phone' || size === 'small' })
    test(`the page on a ${size} screen`, async ({ glimpse }) => {
      const shoot = async (state: string) => {
        for (const colorScheme of ['light', 'dark'] as const) {
          await glimpse.page.emulateMedia({ colorScheme })
          const path = join(__dirname, 'results', `${size}-${colorScheme}-${state}.png`)
          await glimpse.page.screenshot({ path, animations: 'disabled' })
        }
      }
      await glimpse.open()
      await inView(glimpse, empty)
      await shoot('empty')
      await glimpse.fromAddress.click()
      await inView(glimpse, ['address'])
      await shoot('address')
      await glimpse.page.keyboard.press('Escape')
      await glimpse.examples.first().click()
      await glimpse.answered(1)
      await glimpse.describe.click()
      await glimpse.answered(2)
      await details(glimpse.turns.first())
      await inView(glimpse, [...begun, 'ask'])
      await shoot('asked')
      await glimpse.ask.click()
      await expect(glimpse.alert).toHaveCount(1)
      await inView(glimpse, begun)
      await shoot('alert')
      await glimpse.settings.click()
      await expect(glimpse.page.getByLabel('Max new tokens')).toBeInViewport({ ratio: 1 })
      await shoot('settings')
      for (const decoding of ['Beam search', 'Sampling']) {
        await glimpse.decode(decoding)
        await shoot(`settings-${decoding.split(' ')[0].toLowerCase()}`)
      }
      await glimpse.panel.getByText('More', { exact: true }).click()
      await glimpse.panel.getByLabel('Stop strings').scrollIntoViewIfNeeded()
      await shoot('settings-more')
      const tooWide = await glimpse.panel.evaluate(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
      expect(tooWide).toBe(false)
    })
  })
}

test.describe('on a phone', () => {
  test.use({ viewport: sizes.phone, hasTouch: true, isMobile: true })
  test('inputs do not make it zoom, and buttons are large enough for a thumb', async ({ glimpse }) => {
    await glimpse.open()
    const size = await glimpse.question.evaluate((element) => parseFloat(getComputedStyle(element).fontSize))
    expect(size).toBeGreaterThanOrEqual(16)
    await glimpse.examples.first().tap()
    await glimpse.answered(1)
    // The file input is unseen, behind its label.
    for (const button of await glimpse.page.locator('button, summary, label.tool').all()) {
      if (!(await button.isVisible())) continue
      const box = await button.boundingBox()
      expect(Math.min(box!.width, box!.height), await button.innerText()).toBeGreaterThanOrEqual(44)
    }
  })
})

test.describe('the status page on 320 pixels', () => {
  test.use({ viewport: { width: 320, height: 640 } })

  test('is scrolled one way, and its table by itself', async ({ glimpse }) => {
    await glimpse.open()
    await glimpse.examples.first().click()
    await glimpse.answered(1)
    await glimpse.page.goto('/status')
    await glimpse.page.getByText('Minute by minute').click()
    const table = glimpse.page.getByRole('region', { name: 'Minute by minute' })
    await expect(table.getByRole('rowheader').first()).toBeVisible()
    const overflow = () => {
      const { scrollWidth, clientWidth } = document.documentElement
      return scrollWidth - clientWidth
    }
    expect(await glimpse.page.evaluate(overflow)).toBe(0)
  })
})

test('in a frame on somebody else’s page', async ({ page, baseURL }) => {
  // `localhost` is another site than `127.0.0.1`.
  const elsewhere = createServer((_, answer) => {
    answer.setHeader('content-type', 'text/html')
    answer.end(`<iframe src="${baseURL}/" width="850" height="450"></iframe>`)
  }).listen(0)
  const host = `http://localhost:${(elsewhere.address() as AddressInfo).port}`
  const complaints = await complaintsOf(page, [baseURL!, host])
  await page.goto(`${host}/`)
  const frame = page.frames()[1]
  await frame.locator('html[data-hydrated]').waitFor({ state: 'attached' })
  const glimpse = new Glimpse(frame as unknown as Page)
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  // A frame does not take the keyboard from the page around it.
  expect(complaints.filter((complaint) => !/^Blocked autofocusing/.test(complaint))).toEqual([])
  elsewhere.close()
})

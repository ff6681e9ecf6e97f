// The picture close up: wheel, double click, keys and a button, with the map on it and the browser's own menu.

import { expect, type Glimpse, test } from './glimpse'
import { asFile, red, square } from './pictures'

const view = (glimpse: Glimpse) => glimpse.page.getByRole('group', { name: /^Picture: plus and minus/ })
const button = (glimpse: Glimpse) => glimpse.page.getByRole('button', { name: 'Zoom' })
const width = async (glimpse: Glimpse) => (await glimpse.page.locator('.frame img').first().boundingBox())!.width
const left = async (glimpse: Glimpse) => (await glimpse.page.locator('.frame img').first().boundingBox())!.x

async function begun(glimpse: Glimpse) {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await view(glimpse).hover()
}

test('by the wheel, with Ctrl first, and moved by the mouse', async ({ glimpse }) => {
  await begun(glimpse)
  const whole = await width(glimpse)
  const loaded = glimpse.page.waitForFunction(() => performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/zoom.js')))
  await loaded
  await glimpse.page.mouse.wheel(0, -200)
  await expect.poll(() => width(glimpse)).toBeCloseTo(whole)
  await expect
    .poll(async () => {
      await glimpse.page.keyboard.down('Control')
      await glimpse.page.mouse.wheel(0, -200)
      await glimpse.page.keyboard.up('Control')
      return width(glimpse)
    })
    .toBeGreaterThan(1.5 * whole)
  await expect(button(glimpse)).toHaveAttribute('aria-pressed', 'true')
  const [large, at] = [await width(glimpse), await left(glimpse)]
  await glimpse.page.mouse.down()
  await glimpse.page.mouse.move(...(await away(glimpse)))
  await glimpse.page.mouse.up()
  await expect.poll(() => left(glimpse)).toBeCloseTo(at - 30, 0)
  expect(await width(glimpse)).toBeCloseTo(large)
  await button(glimpse).click()
  await expect.poll(() => width(glimpse)).toBeCloseTo(whole)
})

/** 30 pixels to the left of the picture's middle. */
async function away(glimpse: Glimpse): Promise<[number, number]> {
  const { x, y, width, height } = (await view(glimpse).boundingBox())!
  return [x + width / 2 - 30, y + height / 2]
}

test('by double click, and by it all of the picture again', async ({ glimpse }) => {
  await begun(glimpse)
  const whole = await width(glimpse)
  await expect.poll(async () => {
    await view(glimpse).dblclick()
    return width(glimpse)
  }).toBeCloseTo(2.5 * whole)
  await view(glimpse).dblclick()
  await expect.poll(() => width(glimpse)).toBeCloseTo(whole)
})

test('by keys, which leave the page alone elsewhere', async ({ glimpse }) => {
  await begun(glimpse)
  const whole = await width(glimpse)
  await glimpse.question.press('+')
  await expect(glimpse.question).toHaveValue('+')
  await view(glimpse).focus()
  await expect.poll(async () => {
    await view(glimpse).press('+')
    return width(glimpse)
  }).toBeGreaterThan(2 * whole)
  const at = await left(glimpse)
  await view(glimpse).press('ArrowRight')
  expect(await left(glimpse)).toBeLessThan(at)
  await view(glimpse).press('-')
  await view(glimpse).press('0')
  await expect.poll(() => width(glimpse)).toBeCloseTo(whole)
})

test('the map stays on the picture, which is what a pointer is on; another one begins whole', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.examples.nth(1).click()
  await glimpse.answered(1)
  await glimpse.last.getByRole('button', { name: 'Where it looked' }).click()
  const [picture, map] = [glimpse.page.locator('.frame img').first(), glimpse.page.locator('.stage .heat')]
  await expect(map).toBeVisible()
  await view(glimpse).hover()
  const whole = await width(glimpse)
  await expect.poll(async () => {
    await view(glimpse).dblclick({ position: { x: 80, y: 80 } })
    return width(glimpse)
  }).toBeGreaterThan(2 * whole)
  expect(await map.boundingBox()).toEqual(await picture.boundingBox())
  const { x, y } = (await view(glimpse).boundingBox())!
  const under = await picture.evaluate((it, [x, y]) => document.elementFromPoint(x, y) === it, [x + 80, y + 80] as const)
  expect(under).toBe(true)
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await expect(button(glimpse)).toHaveAttribute('aria-pressed', 'false')
})

test.describe('with fingers', () => {
  test.use({ hasTouch: true, viewport: { width: 390, height: 844 } })

  test('by two of them', async ({ glimpse }) => {
    await glimpse.open()
    await glimpse.put(asFile(square(red)))
    const { x, y, width: wide, height } = (await view(glimpse).boundingBox())!
    const [cx, cy] = [x + wide / 2, y + height / 2]
    const whole = await width(glimpse)
    const session = await glimpse.page.context().newCDPSession(glimpse.page)
    const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', apart: number) =>
      session.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: type === 'touchEnd' ? [] : [{ x: cx - apart, y: cy, id: 0 }, { x: cx + apart, y: cy, id: 1 }],
      })
    await expect
      .poll(async () => {
        await touch('touchStart', 30)
        for (const apart of [40, 50, 60, 75]) await touch('touchMove', apart)
        await touch('touchEnd', 0)
        return width(glimpse)
      })
      .toBeGreaterThan(2 * whole)
  })
})

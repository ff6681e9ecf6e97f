import { expect, test } from './glimpse'

test('everything is reached and done with the keyboard', async ({ glimpse }) => {
  const { page } = glimpse
  await glimpse.open()
  const tabTo = async (target: typeof glimpse.ask) => {
    for (let presses = 0; presses < 25; presses++) {
      await page.keyboard.press('Tab')
      if (await target.evaluate((element) => element === document.activeElement)) return
    }
    throw new Error('never reached')
  }
  await tabTo(glimpse.anew)
  await tabTo(glimpse.settings)
  await page.keyboard.press('Enter')
  await expect(page.getByLabel('Max new tokens')).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(page.getByLabel('Max new tokens')).toBeHidden()
  await tabTo(glimpse.picture)
  const ring = await page.getByText('Choose a picture').locator('..').evaluate((element) => getComputedStyle(element).outlineStyle)
  expect(ring).toBe('solid')
  await tabTo(glimpse.examples.first())
  await page.keyboard.press('Enter')
  await glimpse.answered(1)
  await expect(glimpse.question).toBeFocused()
  await page.keyboard.type('What else?')
  await page.keyboard.press('Enter')
  await glimpse.answered(2)
  await expect(glimpse.last).toContainText('What else?')
  await tabTo(glimpse.describe)
  await page.keyboard.press('Enter')
  await glimpse.answered(3)
})

test('every control has a name', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  const nameless = await glimpse.page.evaluate(() =>
    [...document.querySelectorAll('button, input:not([type=hidden]), textarea, img')]
      .filter((element) => {
        const label = element.getAttribute('aria-label') || element.getAttribute('alt') || element.textContent
        return !label?.trim() && !element.querySelector('img[alt]') && !element.closest('label')
      })
      .map((element) => element.outerHTML),
  )
  expect(nameless).toEqual([])
  await expect(glimpse.page.getByRole('heading', { level: 1 })).toHaveText('Glimpse')
  await expect(glimpse.page.getByRole('main')).toBeVisible()
})

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

test('the keys are listed at a question mark, but where one is typed', async ({ glimpse }) => {
  const { page } = glimpse
  await glimpse.open()
  const keys = page.getByRole('dialog', { name: 'Keys' })
  await expect(keys).toBeHidden()
  await glimpse.question.click()
  await page.keyboard.type('What?')
  await expect(glimpse.question).toHaveValue('What?')
  await expect(keys).toBeHidden()
  await glimpse.settings.focus()
  await page.keyboard.press('?')
  await expect(keys).toBeVisible()
  await expect(keys).toContainText('This list')
  await page.keyboard.press('Escape')
  await expect(keys).toBeHidden()
  await expect(glimpse.settings).toBeFocused()
  await page.keyboard.press('?')
  await expect(keys).toBeVisible()
  await page.keyboard.press('?')
  await expect(keys).toBeHidden()
})

test('arrows go from turn to turn where the conversation has the focus', async ({ glimpse }) => {
  const { page } = glimpse
  await glimpse.open()
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  for (const [index, question] of ['What is this?', 'What else?'].entries()) {
    await glimpse.question.fill(question)
    await glimpse.ask.click()
    await glimpse.answered(index + 2)
  }
  // In the box they are the box's.
  await glimpse.question.fill('one')
  await page.keyboard.press('ArrowUp')
  await expect(glimpse.question).toBeFocused()
  await glimpse.log.focus()
  for (const [key, turn] of [
    ['ArrowUp', 2], ['ArrowUp', 1], ['ArrowUp', 0], ['ArrowUp', 0], ['ArrowDown', 1],
    ['End', 2], ['ArrowDown', 2], ['Home', 0],
  ] as const) {
    await page.keyboard.press(key)
    await expect(glimpse.turns.nth(turn)).toBeFocused()
    await expect(glimpse.turns.nth(turn)).toBeInViewport()
  }
  const ring = await glimpse.turns.first().evaluate((turn) => getComputedStyle(turn).outlineStyle)
  expect(ring).toBe('solid')
  // From a button of a turn to the next turn.
  await page.keyboard.press('Tab')
  await page.keyboard.press('ArrowDown')
  await expect(glimpse.turns.nth(1)).toBeFocused()
})

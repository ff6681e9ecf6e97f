// Esc closes what is open, and then stops the answer.

import { asFile, red, square } from './pictures'
import { expect, test } from './scripted'

test('Esc stops an answer that is coming, and keeps what is there', async ({ glimpse, scripted }) => {
  const { page } = glimpse
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  // Nothing to stop.
  await page.keyboard.press('Escape')
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await scripted.begin()
  await scripted.release(2)
  await expect(glimpse.last).toContainText('a scripted')
  await glimpse.settings.click()
  await expect(glimpse.panel).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(glimpse.panel).toBeHidden()
  await expect(glimpse.stop).toBeVisible()
  await scripted.wait({ running: 1 })
  await page.keyboard.press('Escape')
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('a scripted')
  await scripted.wait({ running: 0, cancelled: 1 })
})

// The page before its WebAssembly, and without it.

import { examples, expect, test } from './glimpse'
import { asFile, red, square } from './pictures'

test.use({ javaScriptEnabled: false, refusals: true })

test('a picture and a question, posted as a form', async ({ glimpse }) => {
  await glimpse.page.goto('/')
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await expect(glimpse.page).toHaveURL(/\/c\/[0-9a-f]{32}$/)
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.last).toHaveAttribute('aria-busy', 'false')
  await expect(glimpse.last).toContainText('What is this?')
  await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
  await expect(glimpse.shown).toBeVisible()

  await glimpse.describe.click()
  await expect(glimpse.turns).toHaveCount(2)

  await glimpse.anew.click()
  await expect(glimpse.turns).toHaveCount(0)
  expect(new URL(glimpse.page.url()).pathname).toBe('/')
})

test('an example', async ({ glimpse }) => {
  await glimpse.page.goto('/')
  await glimpse.examples.first().click()
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.last.locator('.answer')).toHaveText(examples[0].answer)
})

test('the settings', async ({ glimpse }) => {
  await glimpse.page.goto('/')
  await glimpse.settings.click()
  await glimpse.page.getByLabel('Max new tokens').fill('1')
  await glimpse.page.keyboard.press('Escape')
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await glimpse.describe.click()
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.last).toContainText('As long as allowed')
})

test('a refused form says why and keeps what was typed', async ({ glimpse }) => {
  await glimpse.page.goto('/')
  await glimpse.question.fill('Who is there?')
  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveCount(1)
  await expect(glimpse.alert).toContainText(/picture/i)
  await expect(glimpse.question).toHaveValue('Who is there?')

  await glimpse.picture.setInputFiles(asFile(square(red)))
  await glimpse.question.fill('')
  await glimpse.ask.click()
  await expect(glimpse.alert).toContainText('Type a question, or press Describe for a caption.')
  await expect(glimpse.shown).toBeVisible()

  // Nothing that is typed becomes part of the page.
  const nasty = `${'x'.repeat(5000)}</textarea><script>alert(1)</script><b>&amp;`
  await glimpse.question.fill(nasty)
  await glimpse.ask.click()
  await expect(glimpse.alert).toContainText(/characters/)
  await expect(glimpse.question).toHaveValue(nasty)

  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.alert).toHaveCount(0)
})

// Several models on one page: which is asked, what it can be asked, and two side by side. The models are
// the demo model twice, under names of their own, and one of those that the Rust tests compare with the
// reference, which writes captions alone.

import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test as base } from './glimpse'
import { OwnServer } from './own_server'
import { asFile, red, square } from './pictures'

const root = join(__dirname, '..')

const test = base.extend<{ server: OwnServer }>({
  server: async ({}, use) => {
    const folder = mkdtempSync(join(tmpdir(), 'glimpse-'))
    for (const name of ['first', 'second']) cpSync(join(root, 'demo-model'), join(folder, name), { recursive: true })
    cpSync(join(root, 'tests/golden/blip/00'), join(folder, 'captions'), { recursive: true })
    const models = ['first', 'second', 'captions'].flatMap((name) => ['--model', join(folder, name)])
    const server = new OwnServer([...models, '--max-new-tokens', '1000'])
    await server.start()
    await use(server)
    await server.end()
    rmSync(folder, { recursive: true, force: true })
  },
  baseURL: async ({ server }, use) => use(server.url),
})

test('a model is chosen in the header, loaded, and named with its answer', async ({ glimpse }) => {
  await glimpse.open()
  await expect(glimpse.model.locator('option')).toHaveText(['first', 'second', 'captions'])
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText(/first · \d+\.\d s/)
  await glimpse.model.selectOption('second')
  await glimpse.question.fill('what is it?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(glimpse.last).toContainText(/second · \d+\.\d s/)
})

test('what can be asked follows the model, and the choice the conversation', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.model.selectOption('captions')
  await expect(glimpse.question).toHaveCount(0)
  await expect(glimpse.ask).toHaveCount(0)
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  await glimpse.describe.click()
  await glimpse.answered(2)
  await expect(glimpse.alert).toHaveCount(0)
  await page.reload()
  await glimpse.hydrated()
  await expect(glimpse.model).toHaveValue('captions')
  await expect(glimpse.question).toHaveCount(0)
  await glimpse.anew.click()
  await glimpse.model.selectOption('second')
  await expect(glimpse.question).toBeVisible()
  await page.goBack()
  await glimpse.answered(2)
  await expect(glimpse.model).toHaveValue('captions')
})

test('two models answer side by side, and a reload shows both', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.compareWith('second')
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  const answers = glimpse.last.getByRole('region')
  await expect(answers).toHaveCount(2)
  for (const [index, name] of ['first', 'second'].entries()) {
    await expect(answers.nth(index)).toHaveAccessibleName(`Answer of ${name}`)
    await expect(answers.nth(index)).toContainText(new RegExp(`${name} · \\d+\\.\\d s`))
  }
  const [one, other] = await answers.locator('.answer').allTextContents()
  expect(one).not.toBe('')
  expect(other).toBe(one)
  await page.reload()
  await glimpse.hydrated()
  await expect(answers.locator('.answer')).toHaveText([one, other])
  await expect(page.getByRole('combobox', { name: 'Compare with', includeHidden: true })).toHaveValue('second')
  // The next question goes to both again, until nobody is compared.
  await glimpse.question.fill('what is it?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(answers).toHaveCount(2)
  await glimpse.compareWith('')
  await glimpse.question.fill('what is it?')
  await glimpse.ask.click()
  await glimpse.answered(3)
  await expect(answers).toHaveCount(0)
})

test('Stop stops both', async ({ glimpse }) => {
  await glimpse.open()
  // An answer that takes its time.
  await glimpse.set({ Decoding: 'Beam search', Beams: '10', 'Max new tokens': '450' })
  await glimpse.settings.click()
  await glimpse.panel.getByText('More', { exact: true }).click()
  await glimpse.panel.getByLabel('Min new tokens', { exact: true }).fill('450')
  await glimpse.page.keyboard.press('Escape')
  await glimpse.compareWith('second')
  await glimpse.examples.first().click()
  const answers = glimpse.last.getByRole('region')
  for (const index of [0, 1]) await expect(answers.nth(index)).toContainText('when all beams are complete')
  await glimpse.stop.click()
  await glimpse.answered(1)
  for (const index of [0, 1]) await expect(answers.nth(index)).toContainText('Stopped')
})

test('a model that does something else cannot be compared with', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.model.selectOption('captions')
  await page.getByRole('button', { name: 'Compare' }).click()
  // Captions are what the others write too.
  const others = page.getByRole('combobox', { name: 'Compare with' })
  await expect(others.locator('option')).toHaveText(['No other model', 'first', 'second'])
  await others.selectOption('first')
  await page.keyboard.press('Escape')
  await expect(glimpse.question).toHaveCount(0)
  await expect(glimpse.describe).toBeVisible()
})

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false })

  test('a model is chosen, and two are compared', async ({ glimpse, page }) => {
    await page.goto('/')
    await glimpse.compareWith('second')
    await glimpse.picture.setInputFiles(asFile(square(red)))
    await glimpse.question.fill('what is it?')
    await glimpse.ask.click()
    await expect(glimpse.last.getByRole('region')).toHaveCount(2)
    await glimpse.compareWith('')
    await glimpse.model.selectOption('second')
    await glimpse.question.fill('what is it?')
    await glimpse.ask.click()
    await expect(glimpse.turns).toHaveCount(2)
    await expect(glimpse.last).toContainText(/second · \d+\.\d s/)
  })
})

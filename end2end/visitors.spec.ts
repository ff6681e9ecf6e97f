import { expect, Glimpse, test } from './glimpse'
import { asFile, blue, red, square } from './pictures'

test('two visitors never see each other’s pictures or turns', async ({ browser, baseURL }) => {
  const visit = async () => new Glimpse(await (await browser.newContext({ baseURL })).newPage())
  const [ann, ben] = [await visit(), await visit()]
  await ann.open()
  await ann.put(asFile(square(red)))
  await ann.question.fill('Secret of Ann?')

  await ben.open()
  await expect(ben.turns).toHaveCount(0)
  await expect(ben.shown).toHaveCount(0)
  await ben.put(asFile(square(blue), 'ben.png'))
  await ben.question.fill('Secret of Ben?')

  // At the same moment.
  await Promise.all([ann.ask.click(), ben.ask.click()])
  await Promise.all([ann.answered(1), ben.answered(1)])
  await Promise.all([ann.page.reload(), ben.page.reload()])
  for (const [one, other, width] of [[ann, 'Ben', 'ann'], [ben, 'Ann', 'ben']] as const) {
    await one.answered(1)
    expect(await one.page.content(), width).not.toContain(`Secret of ${other}?`)
  }
  expect(await ann.shown.getAttribute('srcset')).not.toBe(await ben.shown.getAttribute('srcset'))

  const cat = await visit()
  const page = await cat.page.goto('/')
  expect(await page?.text()).not.toMatch(/Secret of|\/c\/[0-9a-f]{32}|\/pictures\//)
})

test.describe(() => {
  test.use({ refusals: true })
  test('an id that nobody was given shows nothing, and the page goes on', async ({ glimpse }) => {
    await glimpse.open(`/c/${'0'.repeat(32)}`)
    await expect(glimpse.alert).toHaveCount(1)
    await expect(glimpse.turns).toHaveCount(0)
    await glimpse.put(asFile(square(red)))
    await glimpse.describe.click()
    await glimpse.answered(1)
    await expect(glimpse.alert).toHaveCount(0)
    await glimpse.page.goBack()
    await expect(glimpse.alert).toHaveText(/not there any more/)
    await expect(glimpse.turns).toHaveCount(0)
  })
})

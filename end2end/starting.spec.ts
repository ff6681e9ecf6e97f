// What a visitor sees who comes before the model is loaded.

import AxeBuilder from '@axe-core/playwright'
import { expect, test } from './loading'
import { Scripted } from './scripted'

// The page looks whether the model is there, and is told that it is not, or reaches nobody.
test.use({ refusals: true, cuts: true })

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme })

    test('the page while the model is being loaded, as axe-core judges it', async ({ glimpse }) => {
      await glimpse.page.goto('/')
      await expect(glimpse.page.getByRole('heading', { name: 'Glimpse is starting' })).toBeVisible()
      const { violations } = await new AxeBuilder({ page: glimpse.page }).analyze()
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([])
    })
  })
}

test('the page stays as it is until the model is there, then opens by itself', async ({ glimpse, loading }) => {
  const { page } = glimpse
  const looked = () => page.waitForResponse((response) => response.request().method() === 'HEAD')
  await page.goto('/')
  await page.evaluate(() => (document.title = 'still this one'))
  await looked()
  await looked()
  await expect(page).toHaveTitle('still this one')

  await loading.end()
  const scripted = new Scripted()
  scripted.url = loading.url
  try {
    await scripted.start()
    await glimpse.hydrated()
    await expect(glimpse.question).toBeVisible()
  } finally {
    await scripted.end()
  }
})

// A page as its host wants it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { complaintsOf, expect, Glimpse, test } from './glimpse'
import { OwnServer } from './own_server'
import { blue, red, square } from './pictures'

const folder = mkdtempSync(join(tmpdir(), 'glimpse-examples-'))
const server = new OwnServer([
  '--title', 'Birds & bees',
  '--description', 'Ask about our birds.',
  '--notice', 'Pictures are deleted every night.',
  '--accent', 'yellow',
  '--examples', folder,
])

test.beforeAll(async () => {
  writeFileSync(join(folder, 'What_is_red.png'), square(red))
  writeFileSync(join(folder, 'sky.png'), square(blue))
  await server.start()
})
test.afterAll(async () => {
  await server.end()
  rmSync(folder, { recursive: true, force: true })
})

for (const scheme of ['light', 'dark'] as const) {
  test(`it has the host's name, words, colour and pictures, in ${scheme}`, async ({ browser }) => {
    const context = await browser.newContext({ colorScheme: scheme })
    const page = await context.newPage()
    const complaints = await complaintsOf(page, [server.url])
    const glimpse = new Glimpse(page)
    await glimpse.open(server.url)
    await expect(page).toHaveTitle('Birds & bees')
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Birds & bees')
    await expect(page.getByText('Ask about our birds.')).toBeVisible()
    await expect(page.getByText('Pictures are deleted every night.')).toBeVisible()
    const colours = await glimpse.ask.evaluate((button) => {
      const { backgroundColor, color } = getComputedStyle(button)
      return [backgroundColor, color]
    })
    expect(colours).toEqual(['rgb(255, 255, 0)', 'rgb(0, 0, 0)'])
    await expect(glimpse.examples).toHaveText(['What is red?', 'Describe it'])
    const image = glimpse.examples.first().getByRole('img', { name: 'What is red' })
    await expect.poll(() => image.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0)
    await glimpse.examples.first().click()
    await glimpse.answered(1)
    await expect(glimpse.last).toContainText('What is red?')
    // Not the small copy.
    await expect(glimpse.shown).toHaveAttribute('srcset', /\/pictures\//)
    expect(complaints).toEqual([])
    await context.close()
  })
}

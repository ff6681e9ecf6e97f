// How the page looks is a promise too: its states beside kept pictures, at half their size, with some tolerance for
// other fonts' edges. `npx playwright test --config end2end kept --update-snapshots` keeps new ones; look at them.

import type { Page } from '@playwright/test'
import { expect, test } from './glimpse'

const sizes = {
  phone: { width: 390, height: 844 },
  frame: { width: 850, height: 450 },
  wide: { width: 1280, height: 800 },
}

for (const [size, viewport] of Object.entries(sizes)) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test.describe(`${size}, ${colorScheme}`, () => {
      test.use({ viewport, colorScheme, deviceScaleFactor: 0.5, locale: 'en-US' })

      const looks = async (page: Page, state: string) =>
        expect(page).toHaveScreenshot(`${size}-${colorScheme}-${state}.png`, {
          scale: 'device',
          animations: 'disabled',
          maxDiffPixelRatio: 0.03,
          threshold: 0.3,
          // How long an answer took.
          mask: [page.locator('.details > summary')],
        })

      test('the page as it was', async ({ glimpse }) => {
        await glimpse.open()
        await glimpse.page.waitForLoadState('networkidle')
        await looks(glimpse.page, 'empty')
        await glimpse.examples.nth(2).click()
        await glimpse.answered(1)
        await glimpse.page.waitForLoadState('networkidle')
        await glimpse.page.mouse.move(0, 0)
        await looks(glimpse.page, 'answered')
        await glimpse.settings.click()
        await glimpse.page.mouse.move(0, 0)
        await looks(glimpse.page, 'settings')
        await glimpse.page.keyboard.press('Escape')
        await glimpse.page.getByRole('button', { name: 'Share' }).click()
        await glimpse.page.mouse.move(0, 0)
        await looks(glimpse.page, 'share')
      })
    })
  }
}

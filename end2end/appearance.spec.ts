// Light, dark, or as the system has it.

import type { Page } from '@playwright/test'
import { expect, test } from './glimpse'

const light = 'rgb(252, 251, 249)'
const dark = 'rgb(20, 21, 23)'
const ground = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)
/** What the browser draws around the page. */
const frame = (page: Page) =>
  page.evaluate(() =>
    [...document.querySelectorAll<HTMLMetaElement>('meta[name=theme-color]')]
      .filter(({ media }) => matchMedia(media).matches)
      .map(({ content }) => content),
  )

test.use({ colorScheme: 'light' })

test('a choice holds at once, and on the next page before any script', async ({ glimpse }) => {
  const { page } = glimpse
  await glimpse.open()
  await glimpse.settings.click()
  const appearance = page.getByRole('group', { name: 'Appearance' })
  await expect(appearance.getByRole('radio', { name: 'Automatic' })).toBeChecked()
  expect(await ground(page)).toBe(light)
  await appearance.getByRole('radio', { name: 'Dark' }).check()
  expect(await ground(page)).toBe(dark)
  expect(await frame(page)).toEqual(['#141517'])
  const html = await (await page.request.get('/')).text()
  expect(html).toMatch(/^<!DOCTYPE html><html[^>]* data-theme="dark"/)
  await page.reload()
  await glimpse.hydrated()
  expect(await ground(page)).toBe(dark)
  expect(await frame(page)).toEqual(['#141517'])
  await glimpse.settings.click()
  await expect(appearance.getByRole('radio', { name: 'Dark' })).toBeChecked()
  await page.emulateMedia({ colorScheme: 'dark' })
  await appearance.getByRole('radio', { name: 'Light' }).check()
  expect(await ground(page)).toBe(light)
  expect(await frame(page)).toEqual(['#fcfbf9'])
  await appearance.getByRole('radio', { name: 'Automatic' }).check()
  expect(await ground(page)).toBe(dark)
  await page.reload()
  await glimpse.hydrated()
  expect(await ground(page)).toBe(dark)
  await page.emulateMedia({ colorScheme: 'light' })
  expect(await ground(page)).toBe(light)
})

test('storage alone is enough, without a cookie', async ({ glimpse }) => {
  const { page } = glimpse
  await glimpse.open()
  await glimpse.settings.click()
  await glimpse.panel.getByRole('radio', { name: 'Dark' }).check()
  await page.context().clearCookies()
  await page.reload()
  await glimpse.hydrated()
  expect(await ground(page)).toBe(dark)
  expect(await frame(page)).toEqual(['#141517'])
  await glimpse.settings.click()
  await expect(glimpse.panel.getByRole('radio', { name: 'Dark' })).toBeChecked()
})

test('where nothing may be kept, as in some frames, it holds while the page is there', async ({ glimpse }) => {
  const { page } = glimpse
  await page.addInitScript(() => {
    const refuse = () => {
      throw new DOMException('not here', 'SecurityError')
    }
    Object.defineProperty(window, 'localStorage', { get: refuse })
    Object.defineProperty(Document.prototype, 'cookie', { get: refuse, set: refuse })
  })
  await glimpse.open()
  await glimpse.settings.click()
  await glimpse.panel.getByRole('radio', { name: 'Dark' }).check()
  expect(await ground(page)).toBe(dark)
  await page.reload()
  await glimpse.hydrated()
  expect(await ground(page)).toBe(light)
})

// The visitor's conversations: found again, named, kept first, taken away.

import { expect, Glimpse, test } from './glimpse'

const panel = (glimpse: Glimpse) => glimpse.page.getByRole('dialog', { name: 'History' })
const entries = (glimpse: Glimpse) => panel(glimpse).getByRole('listitem')
const open = (glimpse: Glimpse) => glimpse.page.getByRole('button', { name: 'History' }).click()

async function asked(glimpse: Glimpse, ...examples: number[]) {
  await glimpse.open()
  for (const number of examples) {
    await glimpse.anew.click()
    await glimpse.examples.nth(number).click()
    await glimpse.answered(1)
  }
}

test('a conversation is found again by its question, and shown with its picture', async ({ glimpse }) => {
  await open((await glimpse.open(), glimpse))
  await expect(panel(glimpse)).toContainText('Nothing yet.')
  await glimpse.page.keyboard.press('Escape')
  await asked(glimpse, 1, 2)
  await open(glimpse)
  await expect(entries(glimpse)).toHaveCount(2)
  await expect(entries(glimpse).first()).toHaveAttribute('aria-current', 'true')
  await expect(entries(glimpse).first()).toContainText('1 question')
  await expect(panel(glimpse)).toContainText(/2 of \d+ kept/)
  await panel(glimpse).getByRole('searchbox').fill('ROCKET')
  await expect(entries(glimpse)).toHaveCount(1)
  await expect(entries(glimpse).locator('img')).toHaveJSProperty('complete', true)
  await entries(glimpse).getByRole('link').click()
  await expect(panel(glimpse)).toBeHidden()
  await expect(glimpse.last.locator('.asked')).toHaveText('What is above the rocket?')
  await expect(glimpse.shown).toBeVisible()
  await glimpse.page.goBack()
  await expect(glimpse.last.locator('.asked')).toHaveText('How many snails are in the picture?')
})

test('one is renamed, pinned, and both stay', async ({ glimpse }) => {
  await asked(glimpse, 1, 2)
  await open(glimpse)
  const older = entries(glimpse).nth(1)
  await older.hover()
  await older.getByRole('button', { name: 'Rename' }).click()
  const title = panel(glimpse).getByRole('textbox', { name: 'Title' })
  await expect(title).toBeFocused()
  await title.fill('To the moon')
  await glimpse.page.keyboard.press('Enter')
  await expect(older).toContainText('To the moon')
  await older.hover()
  await older.getByRole('button', { name: 'Pin' }).click()
  await expect(entries(glimpse).first()).toContainText('To the moon')
  await glimpse.page.reload()
  await glimpse.hydrated()
  await open(glimpse)
  await expect(entries(glimpse)).toHaveText([/To the moon/, /snails/])
  await entries(glimpse).first().getByRole('button', { name: 'Unpin' }).click()
  await expect(entries(glimpse)).toHaveText([/snails/, /To the moon/])
  await entries(glimpse).nth(1).hover()
  await entries(glimpse).nth(1).getByRole('button', { name: 'Rename' }).click()
  await title.fill('')
  await panel(glimpse).getByRole('button', { name: 'Save' }).click()
  await expect(entries(glimpse).nth(1)).toContainText('What is above the rocket?')
})

test('one is deleted once the visitor has said so twice, and the page does not show it any more', async ({ glimpse }) => {
  await asked(glimpse, 1, 2)
  const gone = glimpse.page.url()
  await open(glimpse)
  const latest = entries(glimpse).first()
  await latest.getByRole('button', { name: 'Delete' }).click()
  await latest.getByRole('button', { name: 'Keep' }).click()
  await expect(entries(glimpse)).toHaveCount(2)
  await latest.getByRole('button', { name: 'Delete' }).click()
  await latest.getByRole('group').getByRole('button', { name: 'Delete' }).click()
  await expect(entries(glimpse)).toHaveText([/rocket/])
  await expect(glimpse.turns).toHaveCount(0)
  expect((await glimpse.page.request.get(gone)).status()).toBe(404)
})

test('all are deleted at once', async ({ glimpse }) => {
  await asked(glimpse, 0, 1, 2)
  await open(glimpse)
  await panel(glimpse).getByRole('button', { name: 'Delete all' }).click()
  await panel(glimpse).getByRole('group', { name: 'Delete all of them for good?' }).getByRole('button', { name: 'Delete' }).click()
  await expect(panel(glimpse)).toContainText('Nothing yet.')
  await expect(entries(glimpse)).toHaveCount(0)
  await expect(panel(glimpse).getByRole('button', { name: 'Delete all' })).toBeHidden()
})

// Limits are told before they bite.

import { asFile, red, square } from './pictures'
import { expect, Scripted, test } from './scripted'

test.use({
  scripted: async ({}, use) => {
    const scripted = new Scripted(['--max-turns', '4', '--max-conversations-per-visitor', '2'])
    await scripted.start()
    await scripted.open()
    await use(scripted)
    await scripted.end()
  },
})

test('how many questions fit into a conversation is said when they are few', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const left = glimpse.page.locator('.left')
  await expect(left).toBeHidden()
  for (const words of ['3 more questions fit', '2 more questions fit', '1 more question fits', 'is full']) {
    await glimpse.question.fill('What is this?')
    await glimpse.ask.click()
    await expect(glimpse.stop).toHaveCount(0)
    await expect(left).toContainText(words)
  }
  await glimpse.page.reload()
  await expect(left).toContainText('is full')
  await glimpse.anew.click()
  await expect(left).toBeHidden()
})

test('which conversation goes next is said when there are nearly as many as may be', async ({ glimpse }) => {
  await glimpse.open()
  const ask = async (question: string) => {
    await glimpse.anew.click()
    await glimpse.put(asFile(square(red)))
    await glimpse.question.fill(question)
    await glimpse.ask.click()
    await glimpse.answered(1)
  }
  const panel = glimpse.page.getByRole('dialog', { name: 'History' })
  await ask('What is oldest?')
  await glimpse.page.getByRole('button', { name: 'History' }).click()
  await expect(panel).toContainText('One more fits, then “What is oldest?” goes.')
  await glimpse.page.keyboard.press('Escape')
  await ask('What is newer?')
  await glimpse.page.getByRole('button', { name: 'History' }).click()
  await expect(panel).toContainText('A new one takes the place of “What is oldest?”.')
  await glimpse.page.keyboard.press('Escape')
  await ask('What is newest?')
  await glimpse.page.getByRole('button', { name: 'History' }).click()
  await expect(panel.getByRole('listitem')).toHaveText([/newest/, /newer/])
})

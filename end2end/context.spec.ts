// What is sent to the model: earlier turns as context, and the exact prompt on demand.

import { expect, test, details } from './glimpse'
import { asFile, red, square } from './pictures'

test('every turn shows its prompt, which takes earlier turns along', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const ask = async (question: string, count: number) => {
    await glimpse.question.fill(question)
    await glimpse.ask.click()
    await glimpse.answered(count)
  }
  const prompt = async (turn: number) => {
    const sent = glimpse.turns.nth(turn).locator('details')
    await expect(sent.locator('pre')).toBeHidden()
    await details(sent)
    await expect(sent.locator('pre')).toBeVisible()
    return sent.locator('pre').innerText()
  }
  await ask('What is this?', 1)
  const answer = await glimpse.last.locator('.answer').innerText()
  await ask('How many are there?', 2)
  expect(await prompt(0)).toBe('Question: What is this? Answer:')
  const both = `Question: What is this? Answer: ${answer} Question: How many are there? Answer:`
  expect(await prompt(1)).toBe(both)

  await glimpse.describe.click()
  await glimpse.answered(3)
  await details(glimpse.last)
  await expect(glimpse.last).toContainText('The picture, and no text.')

  await glimpse.page.reload()
  await glimpse.hydrated()
  expect(await prompt(1)).toBe(both)
})

test('the settings say how many earlier turns are sent along', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.set({ 'Earlier turns as context': '0' })
  for (const count of [1, 2]) {
    await glimpse.question.fill('What is this?')
    await glimpse.ask.click()
    await glimpse.answered(count)
  }
  await details(glimpse.last)
  await expect(glimpse.last.locator('pre')).toHaveText('Question: What is this? Answer:')
})

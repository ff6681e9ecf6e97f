// Asking again: other answers to a question, another question in its place, an answer that goes on.

import { expect, test, type Glimpse } from './glimpse'
import { asFile, red, square } from './pictures'

async function begin(glimpse: Glimpse, ...questions: string[]) {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  for (const [index, question] of questions.entries()) {
    await glimpse.question.fill(question)
    await glimpse.ask.click()
    await glimpse.answered(index + 1)
  }
}

test('another answer is asked for, and both can be read, one by one and side by side', async ({ glimpse }) => {
  await begin(glimpse, 'What color is it?', 'How many things are there?')
  const first = glimpse.turns.first()
  const said = await first.locator('.answer').innerText()
  await first.getByRole('button', { name: 'Try again' }).click()
  await expect(first.getByText('2/2')).toBeVisible()
  await glimpse.answered(2)
  // The likeliest words are the same each time.
  await expect(first.locator('.answer')).toHaveText(said)
  await first.getByRole('button', { name: 'Previous answer' }).click()
  await expect(first.getByText('1/2')).toBeVisible()
  await first.getByRole('button', { name: 'Side by side' }).click()
  await expect(first.getByRole('region', { name: /^Answer [12] of 2$/ })).toHaveCount(2)
  await expect(first.locator('.answer')).toHaveText([said, said])
  await glimpse.page.reload()
  await expect(glimpse.turns).toHaveCount(2)
  await expect(first.getByText('2/2')).toBeVisible()
  await expect(first.locator('.answer')).toHaveText(said)
})

test('with other settings the other answer is another one, and an earlier one can be tried again too', async ({ glimpse }) => {
  await begin(glimpse, 'What is in the picture?')
  await glimpse.set({ Decoding: 'Sampling', Seed: '7' })
  await glimpse.last.getByRole('button', { name: 'Try again' }).click()
  await expect(glimpse.last.getByText('2/2')).toBeVisible()
  await glimpse.answered(1)
  await glimpse.last.locator('summary').click()
  await expect(glimpse.last.locator('.details')).toContainText('Seed')
  await glimpse.last.getByRole('button', { name: 'Previous answer' }).click()
  await glimpse.last.getByRole('button', { name: 'Try again' }).click()
  await expect(glimpse.last.getByText('3/3')).toBeVisible()
  await glimpse.answered(1)
})

test('a question is changed: what followed stays, to be leafed through', async ({ glimpse }) => {
  await begin(glimpse, 'What color is it?', 'How many things are there?')
  const first = glimpse.turns.first()
  await first.getByRole('button', { name: 'Edit' }).click()
  const field = first.getByRole('textbox', { name: 'Edited question' })
  await expect(field).toBeFocused()
  await expect(field).toHaveValue('What color is it?')
  await field.press('Escape')
  await expect(field).toHaveCount(0)
  await first.getByRole('button', { name: 'Edit' }).click()
  await field.fill('What shape is it?')
  await field.press('Enter')
  await glimpse.answered(1)
  await expect(first.locator('.asked')).toHaveText('What shape is it?')
  await expect(first.getByText('2/2')).toBeVisible()
  await first.getByRole('button', { name: 'Previous question' }).click()
  await expect(glimpse.turns.locator('.asked')).toHaveText(['What color is it?', 'How many things are there?'])
  await expect(first.getByText('1/2')).toBeVisible()
  // What is asked now goes on from what is shown.
  await glimpse.question.fill('Is it red?')
  await glimpse.ask.click()
  await glimpse.answered(3)
  await first.getByRole('button', { name: 'Next question' }).click()
  await expect(glimpse.turns.locator('.asked')).toHaveText(['What shape is it?'])
  await glimpse.page.reload()
  await expect(glimpse.turns.locator('.asked')).toHaveText([
    'What color is it?',
    'How many things are there?',
    'Is it red?',
  ])
})

test('an answer that was cut off goes on', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.set({ 'Max new tokens': '1' })
  await glimpse.describe.click()
  await glimpse.answered(1)
  const begun = await glimpse.last.locator('.answer').innerText()
  await glimpse.last.getByRole('button', { name: 'Continue' }).click()
  await expect(glimpse.last.getByText('2/2')).toBeVisible()
  await glimpse.answered(1)
  const whole = await glimpse.last.locator('.answer').innerText()
  expect(whole.length).toBeGreaterThan(begun.length)
  expect(whole.startsWith(begun)).toBe(true)
})

test('what was not asked yet is suggested, and asked by a press', async ({ glimpse }) => {
  await begin(glimpse, 'What is in the picture?')
  const suggestions = glimpse.page.getByRole('group', { name: 'Suggestions' })
  await expect(suggestions.getByRole('button', { name: 'What is in the picture?' })).toHaveCount(0)
  const next = suggestions.getByRole('button').nth(1)
  const words = await next.innerText()
  await next.click()
  await glimpse.answered(2)
  await expect(glimpse.last.locator('.asked')).toHaveText(words)
  await expect(suggestions.getByRole('button', { name: words })).toHaveCount(0)
})

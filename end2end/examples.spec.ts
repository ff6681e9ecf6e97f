import { examples, expect, test } from './glimpse'

test('there are eight examples, each a picture with a question', async ({ glimpse }) => {
  await glimpse.open()
  await expect(glimpse.examples).toHaveCount(8)
  expect(examples).toHaveLength(8)
  for (const [index, { alt, question }] of examples.entries()) {
    await expect(glimpse.examples.nth(index).getByRole('img')).toHaveAttribute('alt', alt)
    if (question) await expect(glimpse.examples.nth(index)).toContainText(question)
  }
})

for (const [index, { alt, question, answer }] of examples.entries()) {
  test(`example ${index}: ${question || 'a caption'}`, async ({ glimpse }) => {
    await glimpse.open()
    await glimpse.examples.nth(index).click()
    await glimpse.answered(1)
    if (question) await expect(glimpse.last).toContainText(question)
    await expect(glimpse.last.locator('.answer')).toHaveText(answer)
    // Its caption, once it is known.
    await expect(glimpse.shown).toHaveAttribute('alt', question ? alt : answer)
  })
}

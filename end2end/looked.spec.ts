// Where the model looked, how sure it was of each word, and what else can be done with an answer.

import { details, expect, Glimpse, test } from './glimpse'

const looked = (glimpse: Glimpse) => glimpse.page.getByRole('group', { name: 'Where it looked' })
const words = (glimpse: Glimpse) => looked(glimpse).getByRole('group', { name: 'Words' }).getByRole('button')
const map = (glimpse: Glimpse) => glimpse.page.locator('.stage .heat')
const look = (turn: ReturnType<Glimpse['page']['locator']>) => turn.getByRole('button', { name: 'Where it looked' })

/** Two examples' worth of a conversation: which thing is above the rocket, and one question more. */
async function asked(glimpse: Glimpse) {
  await glimpse.open()
  await glimpse.examples.nth(1).click()
  await glimpse.answered(1)
}

test('a map lies on the picture, of the whole answer and of each word', async ({ glimpse }) => {
  await asked(glimpse)
  const answer = (await glimpse.last.locator('.answer').innerText()).trim()
  await look(glimpse.last).click()
  await expect(look(glimpse.last)).toHaveAttribute('aria-pressed', 'true')
  await expect(words(glimpse)).toHaveCount(1 + answer.split(/\s+/).length)
  await expect(words(glimpse).first()).toHaveAttribute('aria-pressed', 'true')
  await expect(map(glimpse)).toBeVisible()
  const picture = glimpse.page.locator('.frame img').first()
  await expect.poll(async () => await map(glimpse).boundingBox()).toEqual(await picture.boundingBox())
  const whole = await map(glimpse).getAttribute('src')
  await words(glimpse).last().click()
  await expect(words(glimpse).last()).toHaveAttribute('aria-pressed', 'true')
  await expect(looked(glimpse)).toContainText(/\d+ % sure of “\S+”\. It might have gone on with “/)
  await expect(map(glimpse)).not.toHaveAttribute('src', whole ?? '')
  await words(glimpse).first().click()
  await expect(map(glimpse)).toHaveAttribute('src', whole ?? '')
  await expect(looked(glimpse)).toContainText('not a proof')
  await looked(glimpse).getByRole('button', { name: 'Hide the map' }).click()
  await expect(map(glimpse)).toHaveCount(0)
})

test('what is beneath the pointer is the picture, with or without a map', async ({ glimpse }) => {
  await asked(glimpse)
  const under = () =>
    glimpse.page.locator('.frame img').first().evaluate((picture) => {
      const { x, y, width, height } = picture.getBoundingClientRect()
      return document.elementFromPoint(x + width / 2, y + height / 2) === picture
    })
  expect(await under()).toBe(true)
  await look(glimpse.last).click()
  await expect(map(glimpse)).toBeVisible()
  expect(await under()).toBe(true)
})

test('the map goes with the conversation, and with another answer', async ({ glimpse }) => {
  await asked(glimpse)
  await glimpse.describe.click()
  await glimpse.answered(2)
  await look(glimpse.turns.first()).click()
  await expect(map(glimpse)).toBeVisible()
  await look(glimpse.last).click()
  await expect(look(glimpse.turns.first())).toHaveAttribute('aria-pressed', 'false')
  await expect(look(glimpse.last)).toHaveAttribute('aria-pressed', 'true')
  await expect(map(glimpse)).toBeVisible()
  await glimpse.anew.click()
  await expect(looked(glimpse)).toHaveCount(0)
})

test('a word is reached with the keyboard, and an answer of before a reload is explained too', async ({ glimpse }) => {
  await asked(glimpse)
  await glimpse.page.reload()
  await glimpse.hydrated()
  const tools = glimpse.page.getByRole('group', { name: 'Picture tools' })
  await tools.getByRole('button', { name: 'Where it looked' }).focus()
  await glimpse.page.keyboard.press('Enter')
  await expect(map(glimpse)).toBeVisible()
  await words(glimpse).first().focus()
  await glimpse.page.keyboard.press('Tab')
  await expect(words(glimpse).nth(1)).toBeFocused()
  await expect(looked(glimpse)).toContainText(/% sure of/)
})

test('an answer is copied as it is', async ({ glimpse, context, baseURL }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: baseURL })
  await asked(glimpse)
  const answer = (await glimpse.last.locator('.answer').innerText()).trim()
  await glimpse.last.getByRole('button', { name: 'Copy', exact: true }).click()
  await expect(glimpse.last.getByRole('button', { name: 'Copied' })).toBeVisible()
  expect(await glimpse.page.evaluate(() => navigator.clipboard.readText())).toBe(answer)
})

test('the details of an answer say which model took how long for how much, also after a reload', async ({ glimpse }) => {
  await asked(glimpse)
  for (const time of ['now', 'later']) {
    await details(glimpse.last)
    const said = glimpse.last.locator('dl')
    await expect(said, time).toContainText(/ModelSmall demo model/)
    await expect(said, time).toContainText(/Time\d+\.\d s/)
    await expect(said, time).toContainText(/Tokens\d+ in all, \d+ a second/)
    await glimpse.page.reload()
    await glimpse.hydrated()
  }
})

// On a team's network: http without TLS, by a name that browsers do not trust as they do localhost.

import { expect, test } from './glimpse'
import { asFile, red, square } from './pictures'

test.use({ baseURL: `http://glimpse.lan:${process.env.GLIMPSE_TEST_PORT}` })

test('a picture is asked about, and asked on', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  await glimpse.question.fill('How many are there?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await glimpse.page.reload()
  await expect(glimpse.turns).toHaveCount(2)
})

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false })

  test('a picture and a question, posted as a form', async ({ glimpse }) => {
    await glimpse.page.goto('/')
    await glimpse.picture.setInputFiles(asFile(square(red)))
    await glimpse.question.fill('What is this?')
    await glimpse.ask.click()
    await expect(glimpse.turns).toHaveCount(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
  })
})

// A model that cannot be asked everything: the page offers what it can. The models are those that the
// Rust tests compare with the reference, with weights drawn at random: what they say is of no interest.

import { join } from 'node:path'
import { expect, test as base } from './glimpse'
import { OwnServer } from './own_server'

const model = (name: string) => join(__dirname, '../tests/golden/blip', name)

const served = (name: string) =>
  base.extend<{ server: OwnServer }>({
    server: async ({}, use) => {
      const server = new OwnServer(['--model', model(name)])
      await server.start()
      await use(server)
      await server.end()
    },
    baseURL: async ({ server }, use) => use(server.url),
  })

const captions = served('00')
const answers = served('08')

captions('a model that writes captions is asked for nothing else', async ({ glimpse }) => {
  await glimpse.open()
  await expect(glimpse.describe).toBeVisible()
  await expect(glimpse.question).toHaveCount(0)
  await expect(glimpse.ask).toHaveCount(0)
  await expect(glimpse.examples).toHaveCount(8)
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  await glimpse.describe.click()
  await glimpse.answered(2)
  await expect(glimpse.alert).toHaveCount(0)
})

answers('a model that answers is asked for no captions', async ({ glimpse }) => {
  await glimpse.open()
  await expect(glimpse.describe).toHaveCount(0)
  await expect(glimpse.examples).toHaveCount(8)
  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveText('Type a question.')
  for (const example of [0, 7]) await expect(glimpse.examples.nth(example)).toContainText('?')
  await glimpse.examples.first().click()
  await glimpse.answered(1)
  await glimpse.question.fill('what is it?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(glimpse.alert).toHaveCount(0)
})

// A picture on its way: how far it is, letting go of it, and several at once.

import { expect, type Glimpse, test } from './glimpse'
import { asFile, blue, red, square } from './pictures'

/** Keeps uploads from arriving until the test says so. */
async function held(glimpse: Glimpse) {
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => (arrive = resolve))
  await glimpse.page.route('**/api/page/upload', async (route) => {
    await arrived
    await route.continue().catch(() => {}) // it may have been let go of
  })
  return arrive
}

test('how much of a picture has arrived is said in percent', async ({ glimpse }) => {
  await glimpse.open()
  const session = await glimpse.page.context().newCDPSession(glimpse.page)
  const slow = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 40_000 }
  await session.send('Network.emulateNetworkConditions', slow)
  // Noise, which does not shrink.
  const bytes = Buffer.concat([square(red), Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 7919) % 251))])
  await glimpse.picture.setInputFiles(asFile(bytes))
  const bar = glimpse.page.getByRole('progressbar', { name: 'Sending the picture' })
  await expect(bar).toBeVisible()
  await expect(glimpse.page.locator('.uploading').getByText(/^\d\d?\s?%$/)).toBeVisible()
  await session.send('Network.emulateNetworkConditions', { ...slow, uploadThroughput: -1 })
  await glimpse.page.waitForURL(/\/c\//)
  await expect(bar).toBeHidden()
})

test('a picture that is on its way is let go of, and what was there is there again', async ({ glimpse }) => {
  await glimpse.open()
  const arrive = await held(glimpse)
  const cancel = glimpse.page.getByRole('button', { name: 'Cancel' })
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await cancel.click()
  await expect(glimpse.page.getByText('Choose a picture')).toBeVisible()
  await expect(glimpse.alert).toHaveCount(0)
  arrive()
  await glimpse.page.unroute('**/api/page/upload')
  await glimpse.put(asFile(square(red)))
  await glimpse.describe.click()
  await glimpse.answered(1)
  const address = glimpse.page.url()
  const arriveAgain = await held(glimpse)
  await glimpse.picture.setInputFiles(asFile(square(blue, 640, 480)))
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 6400)
  await cancel.click()
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
  arriveAgain()
  await expect(glimpse.turns).toHaveCount(1)
  expect(glimpse.page.url()).toBe(address)
})

test('of several pictures the visitor chooses, and the others stay for later', async ({ glimpse }) => {
  await glimpse.open()
  const three = [asFile(square(red), 'red "1".png'), asFile(square(blue, 640, 480), 'blue.png'), asFile(square(red, 160, 120), 'c.png')]
  await glimpse.picture.setInputFiles(three)
  const choice = glimpse.page.getByRole('group', { name: 'Pictures to choose from' })
  await expect(choice).toContainText('3 pictures. Which one?')
  await expect(choice.getByRole('button', { name: 'red "1".png' })).toBeFocused()
  expect(new URL(glimpse.page.url()).pathname).toBe('/')
  await choice.getByRole('button', { name: 'blue.png' }).click()
  await glimpse.page.waitForURL(/\/c\//)
  const shown = glimpse.page.locator('.frame img')
  await expect(shown).toHaveJSProperty('naturalWidth', 6400)
  const first = glimpse.page.url()
  await expect(choice).toContainText('2 pictures. Which one?')
  await choice.getByRole('button', { name: 'c.png' }).click()
  await glimpse.page.waitForURL((url) => url.href !== first && url.pathname.startsWith('/c/'))
  await expect(shown).toHaveJSProperty('naturalWidth', 1600)
  await expect(glimpse.page.locator('.replaced')).toBeVisible()
  await glimpse.page.getByRole('button', { name: 'Put them away' }).click()
  await expect(choice).toBeHidden()
})

test('several pictures that are dropped are a choice too', async ({ glimpse }) => {
  await glimpse.open()
  const dataTransfer = await glimpse.page.evaluateHandle((base64) => {
    const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
    const transfer = new DataTransfer()
    for (const name of ['a.png', 'b.png']) transfer.items.add(new File([data], name, { type: 'image/png' }))
    transfer.items.add(new File(['words'], 'words.txt', { type: 'text/plain' }))
    return transfer
  }, square(blue).toString('base64'))
  await glimpse.question.dispatchEvent('dragover', { dataTransfer })
  await glimpse.question.dispatchEvent('drop', { dataTransfer })
  await expect(glimpse.page.getByText('2 pictures. Which one?')).toBeVisible()
  await expect(glimpse.page.getByText('Drop it anywhere')).toBeHidden()
})

test('a picture is taken away, and a conversation in which nothing was said with it', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const empty = glimpse.page.url()
  await glimpse.question.fill('Still there?')
  await glimpse.page.getByRole('button', { name: 'Remove the picture' }).click()
  await expect(glimpse.page.getByText('Choose a picture')).toBeVisible()
  await expect(glimpse.question).toHaveValue('Still there?')
  await glimpse.put(asFile(square(red)))
  await glimpse.describe.click()
  await glimpse.answered(1)
  const said = glimpse.page.url()
  await glimpse.page.getByRole('button', { name: 'Remove the picture' }).click()
  await expect(glimpse.page.getByText('Choose a picture')).toBeVisible()
  await glimpse.page.goto(said)
  await expect(glimpse.turns).toHaveCount(1)
  expect((await glimpse.page.request.get(empty)).status()).toBe(404)
})

test('another picture says that it begins a new conversation', async ({ glimpse }) => {
  await glimpse.open()
  const said = glimpse.page.locator('.replaced')
  await glimpse.put(asFile(square(red)))
  await expect(said).toBeHidden()
  const first = glimpse.page.url()
  await glimpse.picture.setInputFiles(asFile(square(blue)))
  await glimpse.page.waitForURL((url) => url.href !== first)
  await expect(said).toHaveText('A new conversation. The old one is in the history.')
  await expect(said).toBeVisible()
  await expect(glimpse.status).toHaveText('A new conversation. The old one is in the history.')
  await glimpse.page.goBack()
  await expect(said).toBeHidden()
})

test('a picture is called what it was described as, here and where the server renders it', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red), 'IMG_1.png'))
  await expect(glimpse.shown).toHaveAttribute('alt', 'IMG_1.png')
  await glimpse.describe.click()
  await glimpse.answered(1)
  const caption = (await glimpse.last.locator('.answer').innerText()).trim()
  await expect(glimpse.shown).toHaveAttribute('alt', caption)
  const html = await (await glimpse.page.request.get(glimpse.page.url())).text()
  expect(html).toContain(`alt="${caption}"`)
})

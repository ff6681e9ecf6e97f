// The page as an app of its own, and what it takes from others.

import { expect, test } from './glimpse'
import { red, square } from './pictures'

test('a browser finds nothing wrong with the manifest, and its icons', async ({ glimpse, baseURL }) => {
  const { page } = glimpse
  await glimpse.open()
  const session = await page.context().newCDPSession(page)
  const { url, errors, data } = await session.send('Page.getAppManifest')
  expect(url).toBe(`${baseURL}/manifest.webmanifest`)
  expect(errors).toEqual([])
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors')
  // A window without a trace cannot have what is installed.
  expect(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito')).toEqual([])
  for (const { src, sizes } of JSON.parse(data!).icons) {
    const size = await page.evaluate(async (src) => {
      const image = new Image()
      image.src = src
      await image.decode()
      return `${image.naturalWidth}x${image.naturalHeight}`
    }, src)
    expect(size).toBe(sizes)
  }
})

test('what is shared with it is put in', async ({ glimpse, baseURL }) => {
  const { page } = glimpse
  await glimpse.open()
  const answer = await page.request.post('/share', {
    headers: { 'sec-fetch-site': 'none', origin: 'null' },
    multipart: { picture: { name: 'red.png', mimeType: 'image/png', buffer: square(red) } },
    maxRedirects: 0,
  })
  expect(answer.status()).toBe(303)
  await glimpse.open(answer.headers().location)
  await expect(page).toHaveURL(new RegExp(`^${baseURL}/c/`))
  await expect(glimpse.shown).toBeVisible()
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
})

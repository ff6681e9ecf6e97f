// A picture from the camera, which Chromium draws here.

import config from './playwright.config'
import { expect, type Glimpse, test } from './glimpse'

const open = (glimpse: Glimpse) => glimpse.page.getByRole('button', { name: 'Camera', exact: true })
const dialog = (glimpse: Glimpse) => glimpse.page.getByRole('dialog', { name: 'Camera' })
const take = (glimpse: Glimpse) => dialog(glimpse).getByRole('button', { name: 'Take the picture' })
const isOff = (glimpse: Glimpse) => glimpse.page.locator('#camera video').evaluate((video: HTMLVideoElement) => !video.srcObject)

const { launchOptions } = config.use!
test.use({
  launchOptions: {
    ...launchOptions,
    args: [...launchOptions!.args!, '--use-fake-device-for-media-stream=device-count=2', '--use-fake-ui-for-media-stream'],
  },
})

test('a picture is taken and asked about, and the camera is off', async ({ glimpse }) => {
  await glimpse.open()
  await open(glimpse).click()
  await expect(dialog(glimpse)).toBeVisible()
  await take(glimpse).click()
  await glimpse.page.waitForURL(/\/c\//)
  await expect(dialog(glimpse)).toBeHidden()
  expect(await isOff(glimpse)).toBe(true)
  await glimpse.describe.click()
  await glimpse.answered(1)
})

test('closing it stops the camera, and another camera is shown', async ({ glimpse }) => {
  await glimpse.open()
  await open(glimpse).click()
  await expect(take(glimpse)).toBeVisible()
  const which = () =>
    glimpse.page.locator('#camera video').evaluate((video: HTMLVideoElement) => {
      const tracks = video.srcObject instanceof MediaStream ? video.srcObject.getVideoTracks() : []
      return tracks[0]?.getSettings().deviceId
    })
  const first = await which()
  await dialog(glimpse).getByRole('button', { name: 'Other camera' }).click()
  await expect.poll(which).not.toBe(first)
  await expect(take(glimpse)).toBeVisible()
  const track = await glimpse.page.locator('#camera video').evaluateHandle((video: HTMLVideoElement) =>
    (video.srcObject as MediaStream).getVideoTracks()[0]!,
  )
  await glimpse.page.keyboard.press('Escape')
  await expect(dialog(glimpse)).toBeHidden()
  expect(await track.evaluate((track) => track.readyState)).toBe('ended')
})

const problems: [string, RegExp][] = [
  ['NotAllowedError', /^The browser doesn’t let this page use the camera\..*choose a picture instead\.$/],
  ['NotFoundError', /^No camera was found\. Choose a picture instead\.$/],
  ['NotReadableError', /^The camera is in use by something else\./],
]

for (const [name, sentence] of problems) {
  test(`in the place of a camera that is not there: ${name}`, async ({ glimpse }) => {
    await glimpse.page.addInitScript((name) => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name))
    }, name)
    await glimpse.open()
    await open(glimpse).click()
    await expect(dialog(glimpse).getByRole('alert')).toHaveText(sentence)
    await expect(take(glimpse)).toBeHidden()
    await dialog(glimpse).getByRole('button', { name: 'Close the camera' }).click()
    await expect(dialog(glimpse)).toBeHidden()
  })
}

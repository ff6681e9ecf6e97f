// Large photos are made smaller before they travel, and what the model sees of them stays the same.

import type { Page } from '@playwright/test'
import { expect, type Glimpse, test } from './glimpse'
import { asFile } from './pictures'

/** Pixels a side that the largest of BLIP-2's published checkpoints sees, and what a photo keeps for it. */
const MODEL_SIDE = 364
const KEPT_SIDE = 4 * MODEL_SIDE

/** A JPEG like a phone's photo of 12 megapixels: light that changes slowly, edges, fine texture, and a sensor's noise. */
async function photo(page: Page, width = 4000, height = 3000): Promise<Buffer> {
  const base64 = await page.evaluate(
    async ([width, height]) => {
      let seed = 7
      const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647
      const canvas = Object.assign(document.createElement('canvas'), { width, height })
      const context = canvas.getContext('2d', { willReadFrequently: true })!
      const sky = context.createLinearGradient(0, 0, width / 3, height)
      for (const [at, colour] of [[0, '#5b86b8'], [0.5, '#d8c9a8'], [1, '#2c3a1e']] as const) sky.addColorStop(at, colour)
      context.fillStyle = sky
      context.fillRect(0, 0, width, height)
      for (let shape = 0; shape < 900; shape++) {
        const size = 4 + 500 * random() ** 4
        context.fillStyle = `hsl(${360 * random()} ${60 * random()}% ${90 * random()}% / ${0.2 + 0.8 * random()})`
        context.beginPath()
        context.ellipse(width * random(), height * random(), size, size * random(), 7 * random(), 0, 7)
        context.fill()
      }
      for (let line = 0; line < 400; line++) {
        context.lineWidth = 1 + 3 * random()
        context.strokeStyle = random() < 0.5 ? '#111' : '#eee'
        context.beginPath()
        const [x, y] = [width * random(), height * random()]
        context.moveTo(x, y)
        context.lineTo(x + 300 * random(), y + 300 * random())
        context.stroke()
      }
      const pixels = context.getImageData(0, 0, width, height)
      for (let at = 0; at < pixels.data.length; at += 4) {
        const noise = 18 * (random() + random() - 1)
        for (let channel = 0; channel < 3; channel++) pixels.data[at + channel] += noise
      }
      context.putImageData(pixels, 0, 0)
      const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, 'image/jpeg', 0.95))
      const reader = new FileReader()
      reader.readAsDataURL(blob!)
      await new Promise((done) => (reader.onload = done))
      return (reader.result as string).split(',')[1]!
    },
    [width, height] as const,
  )
  return Buffer.from(base64, 'base64')
}

/** The same JPEG, which says that it is to be turned: 6 is a quarter to the right. */
function turned(jpeg: Buffer, orientation = 6): Buffer {
  const tiff = Buffer.from('4d4d002a00000008000101120003000000010000000000000000', 'hex')
  tiff.writeUInt16BE(orientation, 18)
  const body = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff])
  const head = Buffer.from([0xff, 0xe1, 0, body.length + 2])
  return Buffer.concat([jpeg.subarray(0, 2), head, body, jpeg.subarray(2)])
}

/** Puts it in, and gives the size of the picture that the server then has. */
async function arrived(glimpse: Glimpse, file: Buffer, name = 'photo.jpg', mimeType = 'image/jpeg') {
  const reply = glimpse.page.waitForResponse('**/api/page/upload')
  await glimpse.picture.setInputFiles(asFile(file, name, mimeType))
  const { picture } = await (await reply).json()
  return [picture.width, picture.height]
}

test('a photo is made smaller, the right way up', async ({ glimpse }) => {
  await glimpse.open()
  const jpeg = await photo(glimpse.page)
  // At least 1280 are kept of a side, as many as visitors see: half of these 3000 are near enough.
  expect(await arrived(glimpse, jpeg)).toEqual([2000, 1500])
  expect(await arrived(glimpse, turned(jpeg))).toEqual([1500, 2000])
})

test('what is small, moves or shines through stays as it is', async ({ glimpse }) => {
  await glimpse.open()
  const small = await photo(glimpse.page, 1000, 800)
  expect(await arrived(glimpse, small)).toEqual([1000, 800])
  const kept = await glimpse.page.evaluate(async () => {
    const { shrink } = await import(document.querySelector<HTMLLinkElement>('link[rel=modulepreload][href$="/picture.js"]')!.href.replace('picture.js', 'shrink.js'))
    const canvas = Object.assign(document.createElement('canvas'), { width: 2400, height: 2000 })
    const context = canvas.getContext('2d')!
    context.fillRect(0, 0, 2400, 1200)
    const png = async () => new Uint8Array(await (await new Promise<Blob | null>((done) => canvas.toBlob(done)))!.arrayBuffer())
    const isKept = async (...parts: BlobPart[]) => {
      const file = new File(parts, 'picture')
      return (await shrink(file, 500)) === file
    }
    const transparent = await png()
    context.fillRect(0, 0, 2400, 2000)
    const opaque = await png()
    // The same with the chunk by which a PNG says that it moves, in front of its pixels.
    const control = new Uint8Array([0, 0, 0, 8, ...new TextEncoder().encode('acTL'), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    return {
      transparent: await isKept(transparent),
      moving: await isKept(opaque.slice(0, 33), control, opaque.slice(33)),
      gif: await isKept('GIF89a', new Uint8Array(100)),
      drawing: await isKept('<svg xmlns="http://www.w3.org/2000/svg"/>'),
      nothing: await isKept(''),
      opaque: await isKept(opaque, new Uint8Array(100_000)),
    }
  })
  expect(kept).toEqual({ transparent: true, moving: true, gif: true, drawing: true, nothing: true, opaque: false })
})

test('the model sees the same of a photo that was made smaller, to a grey level on average', async ({ glimpse }) => {
  test.slow()
  await glimpse.open()
  const jpeg = await photo(glimpse.page)
  const { mean, most, saved } = await glimpse.page.evaluate(
    async ([base64, side, kept]) => {
      const { shrink } = await import(document.querySelector<HTMLLinkElement>('link[rel=modulepreload][href$="/picture.js"]')!.href.replace('picture.js', 'shrink.js'))
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
      const file = new File([bytes], 'photo.jpg', { type: 'image/jpeg' })
      const smaller: Blob = await shrink(file, kept)

      /** As the server's processor resizes: bicubic, as wide as the picture is large, rounded after each direction. */
      async function seen(blob: Blob) {
        const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none' })
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
        const context = canvas.getContext('2d', { willReadFrequently: true })!
        context.drawImage(bitmap, 0, 0)
        const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height)
        const across = resized(data, bitmap.width, bitmap.height, 4, 4 * bitmap.width, [4, 4 * side])
        return resized(across, bitmap.height, side, 4 * side, 4, [4 * side, 4])
      }

      /** Lines of `length` pixels, whose bytes are `pixel` apart, and `line` from one line to the next. */
      function resized(
        from: ArrayLike<number>,
        length: number,
        lines: number,
        pixel: number,
        line: number,
        [outPixel, outLine]: [number, number],
      ) {
        const scale = length / side
        const out = new Float64Array(4 * side * lines)
        for (let to = 0; to < side; to++) {
          const centre = (to + 0.5) * scale
          const first = Math.max(0, Math.floor(centre - 2 * scale + 0.5))
          const last = Math.min(length, Math.floor(centre + 2 * scale + 0.5))
          const weights = Float64Array.from({ length: last - first }, (_, index) => cubic((first + index + 0.5 - centre) / scale))
          const sum = weights.reduce((sum, weight) => sum + weight, 0)
          for (let at = 0; at < 4 * lines; at++) {
            const [number, channel] = [at >> 2, at & 3]
            let value = 0
            for (let index = 0; index < weights.length; index++) {
              value += weights[index]! * from[(first + index) * pixel + number * line + channel]!
            }
            out[to * outPixel + number * outLine + channel] = Math.min(255, Math.max(0, Math.round(value / sum)))
          }
        }
        return out
      }

      function cubic(x: number) {
        const [a, at] = [-0.5, Math.abs(x)]
        if (at < 1) return ((a + 2) * at - (a + 3)) * at * at + 1
        return at < 2 ? (((at - 5) * at + 8) * at - 4) * a : 0
      }

      const [whole, small] = [await seen(file), await seen(smaller)]
      let [sum, most] = [0, 0]
      for (let at = 0; at < whole.length; at++) {
        const apart = Math.abs(whole[at]! - small[at]!)
        sum += apart
        most = Math.max(most, apart)
      }
      return { mean: sum / (3 * side * side), most, saved: 1 - smaller.size / file.size }
    },
    [jpeg.toString('base64'), MODEL_SIDE, KEPT_SIDE] as const,
  )
  console.log(`apart by ${mean.toFixed(3)} grey levels on average, ${most} at most; ${Math.round(100 * saved)} % saved`)
  expect(saved).toBeGreaterThan(0.5)
  expect(mean).toBeLessThan(1)
  expect(mean).toBeGreaterThan(0)
})

test.describe(() => {
  test.use({ refusals: true })

  test('a HEIC photo that this browser cannot read is not sent, and the sentence helps', async ({ glimpse }) => {
    await glimpse.open()
    const heic = Buffer.concat([Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'latin1'), Buffer.alloc(3_000_000)])
    const request = glimpse.page.waitForRequest('**/api/page/upload')
    await glimpse.picture.setInputFiles(asFile(heic, 'IMG_0001.HEIC', 'image/heic'))
    await expect(glimpse.alert).toHaveText(/HEIC picture.*JPEG.*iPhone.*Most Compatible.*screenshot/)
    expect(Number((await (await request).allHeaders())['content-length'])).toBeLessThan(10_000)
    await expect(glimpse.shown).toHaveCount(0)
  })

  test('a drawing is refused by what it is', async ({ glimpse }) => {
    await glimpse.open()
    await glimpse.picture.setInputFiles(asFile(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'a.svg', 'image/svg+xml'))
    await expect(glimpse.alert).toHaveText(/SVG drawing.*JPEG or PNG.*screenshot/)
  })
})

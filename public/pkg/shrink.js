// @ts-check
// Makes a large photo smaller before it travels, and a JPEG of what the server does not read and this browser does
// (HEIC, AVIF). Loaded for such a file alone.
//
// The model sees a few hundred pixels a side; what is sent has four times as many, so that what it sees stays the same
// to less than a grey level on average (measured in end2end/shrink.spec.ts). For that no colour profile is applied, as
// the server applies none, and pixels are halved by exact means before the last step.

/** Of a side: less is not worth a second encoding. */
const WORTH = 0.8

/** Times the wanted size, from which on another step is taken. */
const NEAR = 1.25

/**
 * The picture, or a smaller one of the same proportions whose shorter side has `side` pixels or a little more.
 * Whatever moves, has transparency or cannot be decoded here stays as it is.
 *
 * @param {File} file
 * @param {number} side 0: none is made smaller
 * @returns {Promise<Blob>}
 */
export async function shrink(file, side) {
  const kind = kindOf(new Uint8Array(await file.slice(0, 2 << 20).arrayBuffer()))
  if (!kind) return file
  const isForeign = kind === 'foreign'
  try {
    /** @type {ImageBitmapOptions} */
    const asIs = { imageOrientation: 'from-image', colorSpaceConversion: isForeign ? 'default' : 'none' }
    const bitmap = await createImageBitmap(file, asIs)
    const scale = side ? Math.min(1, side / Math.min(bitmap.width, bitmap.height)) : 1
    if (scale > WORTH && !isForeign) return file
    const canvas = scaled(bitmap, scale > WORTH ? 1 : scale)
    bitmap.close()
    if (!isOpaque(canvas)) return file
    const smaller = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.92))
    return smaller && (isForeign || smaller.size < WORTH * file.size) ? smaller : file
  } catch {
    // By its head the server knows what it is, and says so; the rest need not travel.
    return isForeign ? file.slice(0, 4096) : file
  }
}

/**
 * 'still' for what may be made smaller, 'foreign' for what the server does not read.
 *
 * @param {Uint8Array} bytes
 */
function kindOf(bytes) {
  const text = (/** @type {number} */ from, /** @type {number} */ to) => String.fromCharCode(...bytes.slice(from, to))
  if (text(0, 3) === '\xff\xd8\xff') return hasFourInks(bytes) ? '' : 'still'
  if (text(0, 4) === '\x89PNG') return isAnimatedPng(bytes, text) ? '' : 'still'
  if (text(0, 4) === 'RIFF') return text(12, 16) === 'VP8X' && bytes[20] & 2 ? '' : 'still'
  if (text(0, 2) === 'BM') return 'still'
  if (text(4, 8) === 'ftyp' || text(4, 8) === 'JXL ' || text(0, 2) === '\xff\x0a') return 'foreign'
  return ''
}

/**
 * Whether a JPEG is made for print: browsers convert that each in their own way.
 *
 * @param {Uint8Array} bytes
 */
function hasFourInks(bytes) {
  for (let at = 2; bytes[at] === 0xff; at += 2 + 256 * bytes[at + 2] + bytes[at + 3]) {
    const marker = bytes[at + 1]
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return bytes[at + 9] === 4
  }
  return true // there is no frame where one is looked for
}

/**
 * @param {Uint8Array} bytes
 * @param {(from: number, to: number) => string} text
 */
function isAnimatedPng(bytes, text) {
  const view = new DataView(bytes.buffer)
  for (let at = 8; at + 8 < bytes.length && text(at + 4, at + 8) !== 'IDAT'; at += 12 + view.getUint32(at)) {
    if (text(at + 4, at + 8) === 'acTL') return true
  }
  return false
}

/**
 * Halves the picture for as long as that is not too far, each pixel the mean of four, and then goes the rest.
 *
 * @param {ImageBitmap} bitmap
 * @param {number} scale
 */
function scaled(bitmap, scale) {
  const [width, height] = [Math.round(scale * bitmap.width), Math.round(scale * bitmap.height)]
  /** @type {ImageBitmap | HTMLCanvasElement} */
  let source = bitmap
  while (source.width >= 2 * width && source.height >= 2 * height) {
    source = drawn(source, Math.ceil(source.width / 2), Math.ceil(source.height / 2), 'low')
  }
  // A little more than is wanted is better than a second, uneven step.
  const isNear = source !== bitmap && source.width < NEAR * width
  return isNear ? /** @type {HTMLCanvasElement} */ (source) : drawn(source, width, height, 'high')
}

/**
 * @param {ImageBitmap | HTMLCanvasElement} source
 * @param {number} width
 * @param {number} height
 * @param {ImageSmoothingQuality} quality
 */
function drawn(source, width, height, quality) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height })
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'))
  context.imageSmoothingQuality = quality
  context.drawImage(source, 0, 0, width, height)
  return canvas
}

/**
 * Whether nothing shines through; a canvas that was too large for the browser is empty.
 *
 * @param {HTMLCanvasElement} canvas
 */
function isOpaque(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'))
  const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer)
  return pixels.every((pixel) => pixel >>> 24 === 255)
}

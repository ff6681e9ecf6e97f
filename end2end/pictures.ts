// Pictures for the tests, made on the spot.

import { mkdtempSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'

type Colour = [number, number, number]

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'ascii'), data])
  const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  crc.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, crc])
}

/** A PNG that says it is `declared` large, with the rows that are given. */
function encode(declared: [number, number], rows: Buffer): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(declared[0], 0)
  header.writeUInt32BE(declared[1], 4)
  header.set([8, 2], 8) // eight bits, RGB
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** A square of one colour on white. */
export function square(colour: Colour, width = 320, height = 240): Buffer {
  const rows = Buffer.alloc(height * (1 + 3 * width), 255)
  for (let y = 0; y < height; y++) {
    rows[y * (1 + 3 * width)] = 0
    for (let x = 0; x < width; x++) {
      const inside = Math.abs(x - width / 2) < height / 4 && Math.abs(y - height / 2) < height / 4
      if (inside) rows.set(colour, y * (1 + 3 * width) + 1 + 3 * x)
    }
  }
  return encode([width, height], rows)
}

/** A few bytes that declare 1.6 gigapixels. */
export const bomb = () => encode([40_000, 40_000], Buffer.alloc(100))

export const red: Colour = [220, 40, 40]
export const blue: Colour = [40, 80, 220]

/** As Playwright's `setInputFiles` takes it. */
export const asFile = (buffer: Buffer, name = 'square.png', mimeType = 'image/png') => ({ name, mimeType, buffer })

/** The path of a file that is too large for anybody; Playwright takes no such buffer. */
export function hundredMegabytes(): string {
  const path = join(mkdtempSync(join(tmpdir(), 'glimpse-')), 'large.png')
  writeFileSync(path, square(blue))
  truncateSync(path, 100_000_000)
  return path
}

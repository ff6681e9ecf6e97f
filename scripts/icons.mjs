// node scripts/icons.mjs
//
// Draws the icons of an installed page as PNG, from the SVG in public/: those that systems cut into a shape of
// their own have no corners, and their mark is within the part that is never cut off.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chromium } from 'playwright'

const executablePath = execFileSync('scripts/browser.sh', { encoding: 'utf8' }).trim()
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
for (const [from, to, side] of [
  ['favicon.svg', 'icon-192.png', 192],
  ['favicon.svg', 'icon-512.png', 512],
  ['icons/maskable.svg', 'maskable-192.png', 192],
  ['icons/maskable.svg', 'maskable-512.png', 512],
  ['icons/maskable.svg', 'apple-touch-icon.png', 180],
]) {
  const page = await browser.newPage({ viewport: { width: side, height: side } })
  const svg = readFileSync(`public/${from}`, 'utf8').replace('<svg ', `<svg width="${side}" height="${side}" `)
  await page.setContent(`<style>* { margin: 0; background: none } svg { display: block }</style>${svg}`)
  await page.screenshot({ path: `public/icons/${to}`, omitBackground: true })
  await page.close()
}
await browser.close()

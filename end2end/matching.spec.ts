// Texts that are compared with the picture: by a model that does that alone, and by one of several. The models are
// the small captioner and matcher of the drawn scenes.

import AxeBuilder from '@axe-core/playwright'
import { join } from 'node:path'
import type { Locator } from '@playwright/test'
import { type Glimpse, expect, test as base } from './glimpse'
import { OwnServer } from './own_server'
import { asFile, red, square } from './pictures'

const model = (name: string) => join(__dirname, '../demo-model', name)
const example = (number: number) => join(__dirname, `../public/examples/${number}.png`)

const served = (...flags: string[]) =>
  base.extend<{ server: OwnServer }>({
    server: async ({}, use) => {
      const server = new OwnServer(flags)
      await server.start()
      await use(server)
      await server.end()
    },
    baseURL: async ({ server }, use) => use(server.url),
  })

const alone = served('--model', model('matcher'))
const together = served('--model', model('captioner'), '--model', model('matcher'))
const two = served('--model', model('matcher'), '--model', join(__dirname, '../tests/golden/blip/16'))
const narrow = served('--model', model('matcher'), '--max-texts', '4', '--max-question-chars', '1000')

const text = (glimpse: Glimpse, number: number) =>
  glimpse.page.getByRole('textbox', { name: `Text ${number}`, exact: true })
const match = (glimpse: Glimpse) => glimpse.page.getByRole('button', { name: 'Match', exact: true })
const add = (glimpse: Glimpse) => glimpse.page.getByRole('button', { name: 'Add a text' })
const boxes = (glimpse: Glimpse) => glimpse.page.getByRole('group', { name: /^Texts/ }).getByRole('textbox')
const bars = (turn: Locator) => turn.getByRole('list', { name: /^How well each text fits/ }).getByRole('listitem')

async function fill(glimpse: Glimpse, texts: string[]) {
  for (const [index, value] of texts.entries()) {
    if ((await text(glimpse, index + 1).count()) === 0) await add(glimpse).click()
    await text(glimpse, index + 1).fill(value)
  }
}

/** Probability and cosine as a bar says them. */
function numbers(bar: string): [number, number] {
  const [, match] = /match [<>]?(\d+) %/.exec(bar)!
  const [, cosine] = /cosine (-?\d\.\d{3})/.exec(bar)!
  return [Number(match), Number(cosine)]
}

alone('texts are compared with the picture, the best first, and a reload shows the same', async ({ glimpse, page }) => {
  await glimpse.open()
  for (const other of [glimpse.question, glimpse.ask, glimpse.describe]) await expect(other).toHaveCount(0)
  await glimpse.put(example(5))
  await fill(glimpse, ['a ball', 'a butterfly and four snails', 'a banana, a bicycle and an umbrella', 'a rocket'])
  await match(glimpse).click()
  await glimpse.answered(1)
  await expect(bars(glimpse.last)).toHaveCount(4)
  await expect(bars(glimpse.last).first()).toContainText('a banana, a bicycle and an umbrella')
  const told = await bars(glimpse.last).allInnerTexts()
  const found = told.map(numbers)
  expect(found.map(([probability]) => probability)).toEqual(
    found.map(([probability]) => probability).sort((a, b) => b - a),
  )
  expect(found[0][0]).toBeGreaterThan(90)
  expect(Math.max(...found.map(([, cosine]) => cosine))).toBe(found[0][1])
  await expect(glimpse.status).toContainText(/4 texts in \d+\.\d s/)
  await expect(glimpse.last.getByText('Prompt')).toHaveCount(0)
  await page.reload()
  await glimpse.hydrated()
  expect(await bars(glimpse.last).allInnerTexts()).toEqual(told)
  // The texts are there to be compared with another picture.
  await expect(text(glimpse, 2)).toHaveValue('a butterfly and four snails')
  await glimpse.picture.setInputFiles(example(3))
  await expect(glimpse.turns).toHaveCount(0)
  await match(glimpse).click()
  await glimpse.answered(1)
  await expect(bars(glimpse.last).first()).toContainText('a butterfly and four snails')
  await page.goBack()
  await glimpse.answered(1)
  expect(await bars(glimpse.last).allInnerTexts()).toEqual(told)
})

alone('an example is compared with what it shows and what others show', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.examples.nth(4).click()
  await glimpse.answered(1)
  await expect(bars(glimpse.last)).toHaveCount(4)
  await expect(bars(glimpse.last).first()).toContainText('a banana, a bicycle and an umbrella')
  await expect(boxes(glimpse)).toHaveCount(4)
  await glimpse.anew.click()
  for (const number of [1, 2, 3]) await expect(text(glimpse, number)).toHaveValue('')
})

alone('boxes are added, filled from a list and removed with the keyboard alone', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await expect(text(glimpse, 1)).toBeFocused()
  await page.keyboard.type('a red square')
  await add(glimpse).focus()
  await page.keyboard.press('Enter')
  await expect(text(glimpse, 4)).toBeFocused()
  await page.evaluate(() => {
    const data = new DataTransfer()
    data.setData('text/plain', 'a cat\n\n  a dog\r\na bee\n')
    document.activeElement!.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
  })
  await expect(boxes(glimpse)).toHaveCount(6)
  for (const [index, value] of ['a red square', '', '', 'a cat', 'a dog', 'a bee'].entries()) {
    await expect(text(glimpse, index + 1)).toHaveValue(value)
  }
  await page.getByRole('button', { name: 'Remove text 5' }).focus()
  await page.keyboard.press('Enter')
  await expect(text(glimpse, 4)).toBeFocused()
  await expect(text(glimpse, 5)).toHaveValue('a bee')
  await page.keyboard.press('Enter')
  await glimpse.answered(1)
  await expect(bars(glimpse.last)).toHaveCount(3)
  await expect(glimpse.last).toContainText('Match 3 texts')
})

narrow('what cannot be compared is said in a sentence, and stays in its box', async ({ glimpse }) => {
  await glimpse.open()
  await match(glimpse).click()
  await expect(glimpse.alert).toHaveText('Type a text to compare the picture with.')
  await text(glimpse, 2).fill('a red square')
  await match(glimpse).click()
  await expect(glimpse.alert).toHaveText('Choose a picture first, or try an example.')
  await glimpse.put(asFile(square(red)))
  await text(glimpse, 1).fill('a'.repeat(1001))
  await match(glimpse).click()
  await expect(glimpse.alert).toHaveText('Text 1 has 1001 characters; at most 1000 are allowed.')
  await expect(glimpse.turns).toHaveCount(0)
  // As many tokens as the model does not read: that is found out when it reads them.
  await text(glimpse, 1).fill('dog '.repeat(200))
  await match(glimpse).click()
  await expect(glimpse.last).toContainText(/is \d+ tokens long, and the model reads at most 160/)
  await expect(text(glimpse, 2)).toHaveValue('a red square')
  await expect(glimpse.last.getByRole('button', { name: 'Match again' })).toBeVisible()
  await add(glimpse).click()
  await expect(add(glimpse)).toBeDisabled()
  await text(glimpse, 1).fill('a cat')
  await match(glimpse).click()
  await glimpse.answered(2)
  await expect(glimpse.alert).toHaveCount(0)
})

together('choosing the matcher turns the question into boxes, and back', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.put(example(8))
  await expect(glimpse.describe).toBeVisible()
  await glimpse.model.selectOption('matcher')
  await expect(glimpse.describe).toHaveCount(0)
  await expect(page.getByRole('button', { name: 'Compare' })).toBeDisabled()
  await fill(glimpse, ['a ball and five bananas', 'a boat'])
  await match(glimpse).click()
  await glimpse.answered(1)
  await expect(bars(glimpse.last).first()).toContainText('a ball and five bananas')
  await expect(glimpse.last).toContainText(/matcher · \d+\.\d s/)
  await glimpse.model.selectOption('captioner')
  await expect(boxes(glimpse)).toHaveCount(0)
  await glimpse.describe.click()
  await glimpse.answered(2)
  await expect(bars(glimpse.last)).toHaveCount(0)
  await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
  await expect(bars(glimpse.turns.first())).toHaveCount(2)
  await glimpse.model.selectOption('matcher')
  await expect(text(glimpse, 1)).toHaveValue('a ball and five bananas')
  await match(glimpse).click()
  await glimpse.answered(3)
  await page.reload()
  await glimpse.hydrated()
  await expect(glimpse.model).toHaveValue('matcher')
  await expect(text(glimpse, 2)).toHaveValue('a boat')
  await expect(bars(glimpse.last)).toHaveCount(2)
})

two('two matchers are compared side by side, each with bars of its own', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.compareWith('16')
  await glimpse.examples.nth(4).click()
  await glimpse.answered(1)
  const answers = glimpse.last.getByRole('region')
  await expect(answers).toHaveCount(2)
  for (const index of [0, 1]) await expect(bars(answers.nth(index))).toHaveCount(4)
  const told = await answers.allInnerTexts()
  await page.screenshot({ path: join(__dirname, 'results', 'matching-compared.png') })
  await page.reload()
  await glimpse.hydrated()
  expect(await answers.allInnerTexts()).toEqual(told)
  await glimpse.compareWith('')
  await match(glimpse).click()
  await glimpse.answered(2)
  await expect(answers).toHaveCount(0)
  await expect(bars(glimpse.last)).toHaveCount(4)
})

alone('the settings say what the numbers are, since there is nothing to set', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.settings.click()
  await expect(glimpse.panel).toContainText('the probability that text and picture belong together')
  await expect(glimpse.panel.getByLabel('Max new tokens')).toBeHidden()
  await expect(glimpse.panel).toContainText('Compared by matcher')
})

alone.describe('without JavaScript', () => {
  alone.use({ javaScriptEnabled: false })
  alone('texts are compared', async ({ glimpse, page }) => {
    await page.goto('/')
    await expect(add(glimpse)).toBeHidden()
    await glimpse.picture.setInputFiles(asFile(square(red)))
    await text(glimpse, 1).fill('a red square')
    await text(glimpse, 3).fill('a cat')
    await match(glimpse).click()
    await expect(bars(glimpse.last)).toHaveCount(2)
    await expect(text(glimpse, 2)).toHaveValue('a cat')
  })
})

const sizes = {
  small: { width: 360, height: 640 },
  phone: { width: 390, height: 844 },
  frame: { width: 850, height: 450 },
  wide: { width: 1440, height: 900 },
}
for (const [size, viewport] of Object.entries(sizes)) {
  alone.describe(() => {
    alone.use({ viewport, hasTouch: size === 'phone' || size === 'small' })
    alone(`matching on a ${size} screen, light and dark`, async ({ glimpse, page }) => {
      await glimpse.open()
      const look = async (state: string) => {
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme })
          const path = join(__dirname, 'results', `${size}-${colorScheme}-matching-${state}.png`)
          await page.screenshot({ path, animations: 'disabled' })
          const { violations } = await new AxeBuilder({ page }).analyze()
          expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([])
        }
        for (const piece of [match(glimpse), add(glimpse), text(glimpse, 1)]) await expect(piece).toBeInViewport()
        const overflow = await page.evaluate(() => {
          const { scrollWidth, clientWidth, scrollHeight, clientHeight } = document.documentElement
          return [scrollWidth - clientWidth, scrollHeight - clientHeight]
        })
        expect(overflow).toEqual([0, 0])
      }
      await look('empty')
      await glimpse.examples.nth(1).click()
      await glimpse.answered(1)
      await look('answered')
    })
  })
}

// Ways of decoding, chosen on the page.

import { expect, type Glimpse, test, details } from './glimpse'
import { asFile, red, square } from './pictures'

async function begun(glimpse: Glimpse) {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
}

async function described(glimpse: Glimpse, count: number) {
  await glimpse.describe.click()
  await glimpse.answered(count)
  return glimpse.last.locator('.answer').innerText()
}

const field = (glimpse: Glimpse, label: string) => glimpse.panel.getByLabel(label, { exact: label !== 'Early stopping' })

test('only what matters for the chosen decoding is shown', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.settings.click()
  const shown = async (labels: string[], hidden: string[]) => {
    for (const label of labels) await expect(field(glimpse, label)).toBeVisible()
    for (const label of hidden) await expect(field(glimpse, label)).toBeHidden()
  }
  const beams = ['Beams', 'Length penalty', 'Early stopping', 'Draw words']
  const drawing = ['Temperature', 'Top-k', 'Top-p', 'Seed']
  await shown(['Max new tokens'], [...beams, ...drawing, 'Answers', 'Stop strings'])
  await glimpse.decode('Beam search')
  await shown([...beams, 'Answers'], drawing)
  await field(glimpse, 'Draw words').check()
  await shown([...beams, ...drawing, 'Answers'], [])
  await glimpse.decode('Sampling')
  await shown([...drawing, 'Answers'], beams)
  await glimpse.panel.getByText('More', { exact: true }).click()
  await shown(['Min new tokens', 'Repetition penalty', 'No-repeat n-gram', 'Caption prefix', 'Stop strings'], [])
})

test('beam search shows several answers', async ({ glimpse }) => {
  await begun(glimpse)
  await glimpse.set({ Decoding: 'Beam search', Beams: '3', Answers: '2' })
  await described(glimpse, 1)
  const further = glimpse.last.getByRole('list', { name: 'Further answers' }).getByRole('listitem')
  await expect(further).toHaveText([/\S/])
  await glimpse.page.reload()
  await glimpse.hydrated()
  await expect(further).toHaveText([/\S/])
})

test('a seed draws the same answer again, and every turn tells its own', async ({ glimpse }) => {
  await begun(glimpse)
  await glimpse.set({ Decoding: 'Sampling', Temperature: '4', 'Top-k': '0', Seed: '5' })
  const first = await described(glimpse, 1)
  expect(await described(glimpse, 2)).toBe(first)
  await details(glimpse.last)
  await expect(glimpse.last).toContainText('Seed5')
  await glimpse.set({ Seed: '' })
  expect(await described(glimpse, 3)).not.toBe(first)
  await details(glimpse.last)
  await expect(glimpse.last).toContainText(/Seed\s*\d+/)
})

test('a caption prefix, stop strings and questions as they are', async ({ glimpse }) => {
  await begun(glimpse)
  const whole = await described(glimpse, 1)
  const prefix = whole.split(' ').slice(0, 2).join(' ')
  await glimpse.settings.click()
  await glimpse.panel.getByText('More', { exact: true }).click()
  await field(glimpse, 'Caption prefix').fill(prefix)
  await field(glimpse, 'Send questions as they are').check()
  await glimpse.page.keyboard.press('Escape')
  expect(`${prefix} ${await described(glimpse, 2)}`).toBe(whole)
  await expect(glimpse.last.locator('.asked')).toHaveText(`Describe the picture: ${prefix} …`)
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(3)
  await details(glimpse.last)
  await expect(glimpse.last.locator('pre')).toHaveText('What is this?')
  await glimpse.set({ 'Caption prefix': '', 'Stop strings': `never said\n${whole.slice(0, 3)}` })
  expect(whole.startsWith(await described(glimpse, 4))).toBe(true)
  expect((await glimpse.last.locator('.answer').innerText()).length).toBeLessThan(whole.length)
})

test('settings are remembered, and Reset forgets them', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.set({ Decoding: 'Beam search', Beams: '7', 'Max new tokens': '9' })
  await glimpse.page.reload()
  await glimpse.hydrated()
  await glimpse.settings.click()
  await expect(field(glimpse, 'Beams')).toHaveValue('7')
  await expect(field(glimpse, 'Max new tokens')).toHaveValue('9')
  const reset = glimpse.panel.getByRole('button', { name: 'Reset' })
  await reset.click()
  for (const stage of ['now', 'after a reload']) {
    await expect(glimpse.panel.getByRole('radio', { name: 'Greedy' }), stage).toBeChecked()
    await expect(field(glimpse, 'Max new tokens'), stage).toHaveValue('')
    await expect(field(glimpse, 'Beams'), stage).toHaveValue('')
    await glimpse.page.reload()
    await glimpse.hydrated()
    await glimpse.settings.click()
  }
})

test('a preset fills in the settings, stays, and is Custom when one is changed', async ({ glimpse }) => {
  await begun(glimpse)
  await glimpse.settings.click()
  const preset = glimpse.panel.getByRole('combobox', { name: 'Preset' })
  const chosen = () => preset.evaluate((select: HTMLSelectElement) => select.selectedOptions[0].label)
  await expect(preset.locator('option:not([hidden])')).toHaveText([
    'Glimpse', 'transformers', 'BLIP-2 paper: captions', 'BLIP-2 paper: answers', 'BLIP-2 Space: captions', 'BLIP-2 Space: answers',
  ])
  await expect.poll(chosen).toBe('Glimpse')
  await preset.selectOption('BLIP-2 paper: captions')
  await expect(glimpse.panel.getByRole('radio', { name: 'Beam search' })).toBeChecked()
  await glimpse.panel.getByText('More', { exact: true }).click()
  const filled = { Beams: '5', 'Length penalty': '-1', 'Max new tokens': '30', 'Min new tokens': '1', 'Repetition penalty': '' }
  for (const [label, value] of Object.entries(filled)) await expect(field(glimpse, label)).toHaveValue(value)
  await glimpse.page.reload()
  await glimpse.hydrated()
  await glimpse.settings.click()
  await expect.poll(chosen).toBe('BLIP-2 paper: captions')
  await field(glimpse, 'Beams').fill('4')
  await expect.poll(chosen).toBe('Custom')
  await field(glimpse, 'Beams').fill('5')
  await expect.poll(chosen).toBe('BLIP-2 paper: captions')
  await preset.selectOption('BLIP-2 Space: answers')
  await expect(field(glimpse, 'Length penalty')).toHaveValue('')
  await expect(field(glimpse, 'Max new tokens')).toHaveValue('30')
  await glimpse.page.keyboard.press('Escape')
  await described(glimpse, 1)
  await glimpse.settings.click()
  await glimpse.panel.getByRole('button', { name: 'Reset' }).click()
  await expect.poll(chosen).toBe('Glimpse')
  await expect(glimpse.panel.getByRole('radio', { name: 'Greedy' })).toBeChecked()
})

test('the way of decoding is chosen with the keyboard', async ({ glimpse }) => {
  await glimpse.open()
  const { keyboard } = glimpse.page
  await glimpse.settings.focus()
  await keyboard.press('Enter')
  await keyboard.press('Tab')
  await expect(glimpse.panel.getByRole('button', { name: 'Close' })).toBeFocused()
  await keyboard.press('Tab')
  await expect(glimpse.panel.getByRole('combobox', { name: 'Preset' })).toBeFocused()
  await keyboard.press('Tab')
  await expect(glimpse.panel.getByRole('radio', { name: 'Greedy' })).toBeFocused()
  await keyboard.press('ArrowRight')
  await expect(glimpse.panel.getByRole('radio', { name: 'Beam search' })).toBeChecked()
  await keyboard.press('Tab')
  await expect(field(glimpse, 'Beams')).toBeFocused()
})

test.describe('wrong', () => {
  test.use({ refusals: true })
  const wrong: [Record<string, string>, RegExp][] = [
    [{ 'Max new tokens': '0' }, /^Max new tokens is 0, and may be 1 to \d+/],
    [{ 'Earlier turns as context': '1000' }, /^Earlier turns as context is 1000, and may be 0 to \d+/],
    [{ Decoding: 'Beam search', Beams: '11' }, /^Beams is 11, and may be 1 to 10/],
    [{ Decoding: 'Beam search', Beams: '2', Answers: '3' }, /^Answers 3 is more than Beams 2/],
    [{ Decoding: 'Sampling', 'Top-p': '1.5' }, /^Top-p is 1.5, and may be 0 to 1/],
  ]
  for (const [values, sentence] of wrong) {
    test(Object.entries(values).at(-1)!.join(' '), async ({ glimpse }) => {
      await begun(glimpse)
      await glimpse.set(values)
      await glimpse.question.fill('Still there?')
      await glimpse.ask.click()
      await expect(glimpse.alert).toHaveText(sentence)
      await expect(glimpse.turns).toHaveCount(0)
      await expect(glimpse.question).toHaveValue('Still there?')
      await glimpse.settings.click()
      await glimpse.panel.getByRole('button', { name: 'Reset' }).click()
      await glimpse.page.keyboard.press('Escape')
      await glimpse.ask.click()
      await glimpse.answered(1)
    })
  }

  test('what is no number', async ({ glimpse }) => {
    await begun(glimpse)
    await glimpse.settings.click()
    await field(glimpse, 'Max new tokens').pressSequentially('e')
    await glimpse.page.keyboard.press('Escape')
    await glimpse.describe.click()
    await expect(glimpse.alert).toHaveText(/^Max new tokens is no number, and may be 1 to \d+/)
  })

  test.describe('without JavaScript', () => {
    test.use({ javaScriptEnabled: false })
    test('the form gives back what is wrong', async ({ glimpse }) => {
      await glimpse.page.goto('/')
      await expect(field(glimpse, 'Temperature')).toBeHidden()
      await glimpse.set({ Decoding: 'Sampling', Temperature: '1000', Seed: '3' })
      await glimpse.picture.setInputFiles(asFile(square(red)))
      await glimpse.describe.click()
      await expect(glimpse.alert).toHaveText(/^Temperature is 1000, and may be 0.01 to 100/)
      await glimpse.settings.click()
      await expect(field(glimpse, 'Temperature')).toHaveValue('1000')
      await expect(field(glimpse, 'Seed')).toHaveValue('3')
      await field(glimpse, 'Temperature').fill('2')
      await glimpse.page.keyboard.press('Escape')
      await glimpse.describe.click()
      await expect(glimpse.turns).toHaveCount(1)
      await details(glimpse.last)
      await expect(glimpse.last).toContainText('Seed3')
    })
  })
})

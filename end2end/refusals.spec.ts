// Bad input gets one alert that names the thing, and nothing is lost.

import { expect, type Glimpse, test } from './glimpse'
import { asFile, blue, bomb, hundredMegabytes, red, square } from './pictures'

test.use({ refusals: true })

/** A conversation with a turn and something typed: what must survive. */
async function begun(glimpse: Glimpse) {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.describe.click()
  await glimpse.answered(1)
  await glimpse.question.fill('Still there?')
}

async function refusedAndGoesOn(glimpse: Glimpse, sentence: RegExp) {
  await expect(glimpse.alert).toHaveCount(1)
  await expect(glimpse.alert).toHaveText(sentence)
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
  await expect(glimpse.turns).toHaveCount(1)
  await expect(glimpse.question).toHaveValue('Still there?')
  await glimpse.ask.click()
  await glimpse.answered(2)
  await expect(glimpse.alert).toHaveCount(0)
}

const whole = square(blue)
const noise = Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 7919) % 251))
const files: [string, Buffer, RegExp][] = [
  ['a file that is no picture', noise, /picture/i],
  ['a truncated picture', whole.subarray(0, whole.length / 2), /picture|damaged|truncated|incomplete/i],
  ['an empty file', Buffer.alloc(0), /empty/i],
  ['a few bytes that declare 40,000 x 40,000', bomb(), /pixels|40,?000/i],
]

for (const [what, bytes, sentence] of files) {
  test(what, async ({ glimpse }) => {
    await begun(glimpse)
    await glimpse.picture.setInputFiles(asFile(bytes))
    await refusedAndGoesOn(glimpse, sentence)
  })
}

test('100 MB', async ({ glimpse }) => {
  await begun(glimpse)
  await glimpse.picture.setInputFiles(hundredMegabytes())
  await refusedAndGoesOn(glimpse, /at most \d+ M/)
})

test('an empty question', async ({ glimpse }) => {
  await begun(glimpse)
  await glimpse.question.fill('  ')
  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveText('Type a question, or press Describe for a caption.')
  await glimpse.question.fill('Still there?')
  await refusedAndGoesOn(glimpse, /Type a question/)
})

test('100,000 characters', async ({ glimpse }) => {
  await begun(glimpse)
  const long = 'why '.repeat(25_000)
  await glimpse.question.fill(long)
  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveText(/at most \d+/)
  await expect(glimpse.question).toHaveValue(long)
  await glimpse.question.fill('Still there?')
  await refusedAndGoesOn(glimpse, /characters/)
})

test('no picture', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.question.fill('Still there?')
  await glimpse.ask.click()
  await expect(glimpse.alert).toHaveText(/picture/)
  await expect(glimpse.question).toHaveValue('Still there?')
})

test.describe(() => {
  test.use({ cuts: true })

  test('a server that cannot be reached', async ({ glimpse }) => {
    await begun(glimpse)
    await glimpse.page.route('**/api/page/ask', (route) => route.abort())
    await glimpse.ask.click()
    await expect(glimpse.alert).toHaveText(/cannot be reached/)
    await glimpse.page.unroute('**/api/page/ask')
    await refusedAndGoesOn(glimpse, /cannot be reached/)
  })
})

const proxies: [number, RegExp][] = [
  [401, /asks for a login/],
  [413, /the limit is the proxy's/],
  [429, /too many requests/],
  [502, /cannot be reached right now/],
  [503, /cannot be reached right now/],
  [504, /cannot be reached right now/],
  [524, /cannot be reached right now/],
  [418, /reply could not be read/],
]

test("what a proxy's own pages mean is said", async ({ glimpse }) => {
  await begun(glimpse)
  for (const [status, sentence] of proxies) {
    const page = { status, contentType: 'text/html', body: `<h1>${status}</h1>` }
    await glimpse.page.route('**/api/page/ask', (route) => route.fulfill(page))
    await glimpse.ask.click()
    await expect(glimpse.alert).toHaveText(sentence)
    await expect(glimpse.question).toHaveValue('Still there?')
    await glimpse.page.unroute('**/api/page/ask')
  }
  await refusedAndGoesOn(glimpse, /could not be read/)
})

test('a picture that a proxy has refused stays, and is sent with the next question', async ({ glimpse }) => {
  await glimpse.open()
  const page = { status: 413, contentType: 'text/html', body: '<h1>413</h1>' }
  await glimpse.page.route('**/api/page/upload', (route) => route.fulfill(page))
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await expect(glimpse.alert).toHaveText(/the limit is the proxy's/)
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
  await glimpse.page.unroute('**/api/page/upload')
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('What is this?')
  await expect(glimpse.question).toHaveValue('')
  await expect(glimpse.alert).toHaveCount(0)
})

test('a picture that Glimpse has refused does not stay', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.picture.setInputFiles(asFile(noise))
  await expect(glimpse.alert).toHaveText(/picture/i)
  await expect(glimpse.shown).toHaveCount(0)
})

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false })
  test('100 MB', async ({ glimpse }) => {
    await glimpse.page.goto('/')
    await glimpse.picture.setInputFiles(hundredMegabytes())
    await glimpse.describe.click()
    await expect(glimpse.page.getByRole('main')).toHaveText(/at most \d+ bytes/)
    await expect(glimpse.page.getByRole('link')).toBeVisible()
  })
})

import { expect, test } from './glimpse'
import { asFile, blue, red, square } from './pictures'

/** A DataTransfer in the page that carries a file. */
const carrying = (page: import('@playwright/test').Page, bytes: Buffer) =>
  page.evaluateHandle((base64) => {
    const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
    const transfer = new DataTransfer()
    transfer.items.add(new File([data], 'dropped.png', { type: 'image/png' }))
    return transfer
  }, bytes.toString('base64'))

test('a picture is chosen, shown at once, and asked about', async ({ glimpse }) => {
  await glimpse.open()
  const chooser = glimpse.page.waitForEvent('filechooser')
  await glimpse.page.getByText('Choose a picture').click()
  await (await chooser).setFiles(asFile(square(red)))
  await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
  await glimpse.page.waitForURL(/\/c\//)
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('What is this?')
  await expect(glimpse.last.locator('.answer')).toHaveText(/\S/)
  await expect(glimpse.question).toHaveValue('')
  await expect(glimpse.question).toBeFocused()
})

test('a question that is asked while the picture is on its way waits for it', async ({ glimpse }) => {
  await glimpse.open()
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => (arrive = resolve))
  await glimpse.page.route('**/api/page/upload', async (route) => {
    await arrived
    await route.continue()
  })
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.question.press('Enter')
  await expect(glimpse.alert).toHaveCount(0)
  arrive()
  await glimpse.answered(1)
  await expect(glimpse.last).toContainText('What is this?')
})

test('what is chosen and typed before the page listens is not lost', async ({ glimpse }) => {
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => (arrive = resolve))
  await glimpse.page.route('**/*.wasm', async (route) => {
    await arrived
    await route.continue()
  })
  await glimpse.page.goto('/')
  await glimpse.picture.setInputFiles(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  arrive()
  await glimpse.page.waitForURL(/\/c\//)
  await expect(glimpse.question).toHaveValue('What is this?')
  await glimpse.ask.click()
  await glimpse.answered(1)
})

test('a picture is dropped anywhere, and all of the page shows that it would take it', async ({ glimpse }) => {
  await glimpse.open()
  const dataTransfer = await carrying(glimpse.page, square(blue))
  await glimpse.question.dispatchEvent('dragover', { dataTransfer })
  await expect(glimpse.page.getByText('Drop it anywhere')).toBeVisible()
  await glimpse.question.dispatchEvent('drop', { dataTransfer })
  await expect(glimpse.page.getByText('Drop it anywhere')).toBeHidden()
  await glimpse.page.waitForURL(/\/c\//)
  await glimpse.describe.click()
  await glimpse.answered(1)
})

test('a picture is pasted anywhere', async ({ glimpse }) => {
  await glimpse.open()
  const clipboardData = await carrying(glimpse.page, square(blue))
  await glimpse.question.evaluate(
    (element, data) =>
      element.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })),
    clipboardData,
  )
  await glimpse.page.waitForURL(/\/c\//)
  await expect(glimpse.shown).toBeVisible()
})

test('text that carries a picture of itself is pasted as text where text is typed', async ({ glimpse }) => {
  await glimpse.open()
  const clipboardData = await carrying(glimpse.page, square(blue))
  // What the page leaves to the browser is pasted as text.
  const isLeft = (text: string) =>
    glimpse.question.evaluate(
      (element, [data, text]) => {
        data.setData('text/plain', text)
        const paste = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })
        return element.dispatchEvent(paste)
      },
      [clipboardData, text] as const,
    )
  expect(await isLeft('Region\tTotal\nNorth\t12')).toBe(true)
  expect(new URL(glimpse.page.url()).pathname).toBe('/')
  // A file manager puts the file's name beside the file.
  expect(await isLeft('dropped.png')).toBe(false)
  await glimpse.page.waitForURL(/\/c\//)
})

test('text is pasted into the question as ever', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.question.focus()
  await glimpse.page.keyboard.insertText('How many?')
  await expect(glimpse.question).toHaveValue('How many?')
})

test('another picture begins another conversation', async ({ glimpse }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.describe.click()
  await glimpse.answered(1)
  const first = glimpse.page.url()
  await glimpse.picture.setInputFiles(asFile(square(blue)))
  await glimpse.page.waitForURL((url) => url.href !== first)
  await expect(glimpse.turns).toHaveCount(0)
  await glimpse.page.goBack()
  await expect(glimpse.turns).toHaveCount(1)
})

test.describe(() => {
  test.use({ refusals: true })
  test('after a refused picture, asking says again why', async ({ glimpse }) => {
    await glimpse.open()
    await glimpse.picture.setInputFiles(asFile(Buffer.alloc(0)))
    await expect(glimpse.alert).toHaveText(/empty/i)
    await glimpse.page.getByRole('button', { name: 'Dismiss' }).click()
    await expect(glimpse.alert).toHaveCount(0)
    await glimpse.question.fill('What is this?')
    await glimpse.ask.click()
    await expect(glimpse.alert).toHaveText(/empty/i)
    await expect(glimpse.question).toHaveValue('What is this?')
    await glimpse.put(asFile(square(red)))
    await glimpse.ask.click()
    await glimpse.answered(1)
  })
})

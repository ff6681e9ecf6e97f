// Pictures from addresses. Glimpse may fetch from itself in these tests, and from
// nothing else on this machine.

import { examples, expect, test } from './glimpse'
import { asFile, red, square } from './pictures'

test.describe('with JavaScript', () => {
  test.use({ refusals: true })

  test('a picture is fetched from an address and asked about', async ({ glimpse, baseURL }) => {
    await glimpse.open()
    await glimpse.fromAddress.click()
    await expect(glimpse.address).toBeFocused()
    const { file, question, answer } = examples[1]
    await glimpse.address.fill(`${baseURL}/examples/${file}`)
    await glimpse.address.press('Enter')
    await glimpse.page.waitForURL(/\/c\/[0-9a-f]{32}$/)
    await expect(glimpse.address).toBeHidden()
    await expect(glimpse.shown).toHaveJSProperty('complete', true)
    await expect(glimpse.question).toBeFocused()
    await glimpse.question.fill(question)
    await glimpse.ask.click()
    await glimpse.answered(1)
    await expect(glimpse.last.locator('.answer')).toHaveText(answer)
    await glimpse.fromAddress.click()
    await expect(glimpse.address).toHaveValue('')
  })

  test('what is refused says why, and nothing is lost', async ({ glimpse, baseURL }) => {
    await glimpse.open()
    await glimpse.put(asFile(square(red)))
    await glimpse.question.fill('What is this?')
    const refuse = async (address: string, words: RegExp) => {
      await glimpse.fromAddress.click()
      await glimpse.address.fill(address)
      await glimpse.page.getByRole('button', { name: 'Open', exact: true }).click()
      await expect(glimpse.alert).toContainText(words)
      await expect(glimpse.shown).toHaveJSProperty('naturalWidth', 3200)
      await expect(glimpse.question).toHaveValue('What is this?')
      if (await glimpse.address.isHidden()) await glimpse.fromAddress.click()
      await expect(glimpse.address).toHaveValue(address)
      await glimpse.page.keyboard.press('Escape')
    }
    await refuse('cat.jpg', /begins with https:/)
    await refuse(`${baseURL}/`, /web page/)
    await refuse(`${baseURL}/favicon.svg`, /SVG/)
    await refuse(`${baseURL}/examples/none.png`, /404/)
    await refuse('http://localhost:1/a.png', /from where nothing is fetched/)
    await refuse('http://169.254.169.254/latest', /from where nothing is fetched/)
    await glimpse.ask.click()
    await glimpse.answered(1)
  })

  test('an address that is pasted is offered, in the question it stays text', async ({ glimpse, baseURL }) => {
    await glimpse.open()
    const paste = (text: string) =>
      glimpse.page.evaluate((text) => {
        const clipboardData = new DataTransfer()
        clipboardData.setData('text/plain', text)
        const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true })
        ;(document.activeElement ?? document.body).dispatchEvent(event)
      }, text)
    await glimpse.question.focus()
    await paste(`${baseURL}/examples/1.png`)
    await expect(glimpse.address).toBeHidden()
    await glimpse.question.blur()
    await paste('just words')
    await expect(glimpse.address).toBeHidden()
    await paste(` ${baseURL}/examples/1.png\n`)
    await expect(glimpse.address).toHaveValue(`${baseURL}/examples/1.png`)
    await expect(glimpse.address).toBeFocused()
    await glimpse.address.press('Enter')
    await glimpse.page.waitForURL(/\/c\//)
  })
})

for (const format of ['text/uri-list', 'text/x-moz-url', 'text/plain']) {
  test(`a picture's address is dropped as ${format}`, async ({ glimpse, baseURL }) => {
    await glimpse.open()
    const { file } = examples[1]
    const dataTransfer = await glimpse.page.evaluateHandle(
      ([format, address]) => {
        const transfer = new DataTransfer()
        transfer.setData(format, format === 'text/x-moz-url' ? `${address}\nA title` : address)
        return transfer
      },
      [format, `${baseURL}/examples/${file}`],
    )
    await glimpse.anew.dispatchEvent('dragover', { dataTransfer })
    await glimpse.anew.dispatchEvent('drop', { dataTransfer })
    await glimpse.page.waitForURL(/\/c\/[0-9a-f]{32}$/)
    await expect(glimpse.shown).toBeVisible()
  })
}

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false, refusals: true })

  test('an address, posted as a form', async ({ glimpse, baseURL }) => {
    await glimpse.page.goto('/')
    const open = glimpse.page.getByRole('button', { name: 'Open', exact: true })
    await glimpse.question.fill('What is this?')
    await glimpse.fromAddress.click()
    await glimpse.address.fill(`${baseURL}/`)
    await open.click()
    await expect(glimpse.alert).toContainText(/web page/)
    await expect(glimpse.question).toHaveValue('What is this?')
    await glimpse.fromAddress.click()
    await expect(glimpse.address).toHaveValue(`${baseURL}/`)
    await glimpse.address.fill(`${baseURL}/examples/1.png`)
    await open.click()
    await expect(glimpse.page).toHaveURL(/\/c\/[0-9a-f]{32}$/)
    await expect(glimpse.shown).toBeVisible()
    await expect(glimpse.turns).toHaveCount(0)
  })
})

// Every state of the page, light and dark, as axe-core judges it.

import AxeBuilder from '@axe-core/playwright'
import { details } from './glimpse'
import { asFile, red, square } from './pictures'
import { expect, Glimpse, type Scripted, test } from './scripted'

type Step = (glimpse: Glimpse, scripted: Scripted) => Promise<unknown>

const asked: Step = async (glimpse) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  await glimpse.question.fill('What is this?')
  await glimpse.ask.click()
  await glimpse.waits()
}
const answering: Step = async (glimpse, scripted) => {
  await asked(glimpse, scripted)
  await scripted.begin()
  await scripted.release()
  await expect(glimpse.last.locator('.answer')).toHaveText('a')
}
const answered: Step = async (glimpse, scripted) => {
  await answering(glimpse, scripted)
  await scripted.open()
  await glimpse.answered(1)
}
const shared = async (glimpse: Glimpse) => {
  await glimpse.page.getByRole('button', { name: 'Share', exact: true }).click()
  await glimpse.page.getByRole('button', { name: 'Make an address' }).click()
  return glimpse.page.getByRole('textbox', { name: 'Address' }).inputValue()
}
const settings =
  (decoding: string): Step =>
  async (glimpse) => {
    await glimpse.open()
    await glimpse.settings.click()
    await glimpse.decode(decoding)
    await glimpse.panel.getByText('More', { exact: true }).click()
  }

const states: Record<string, Step> = {
  'an empty page': (glimpse) => glimpse.open(),
  'a picture without a question': async (glimpse) => {
    await glimpse.open()
    await glimpse.put(asFile(square(red)))
  },
  'a picture on its way, and others to choose from': async (glimpse) => {
    await glimpse.open()
    await glimpse.page.route('**/api/page/upload', () => {})
    const files = ['a.png', 'b.png', 'c.png'].map((name) => asFile(square(red), name))
    await glimpse.picture.setInputFiles(files)
    await glimpse.page.getByRole('button', { name: 'a.png' }).click()
    await expect(glimpse.page.getByRole('button', { name: 'Cancel' })).toBeVisible()
  },
  'a camera that is not there': async (glimpse) => {
    await glimpse.open()
    await glimpse.page.getByRole('button', { name: 'Camera', exact: true }).click()
    await expect(glimpse.page.getByRole('dialog', { name: 'Camera' }).getByRole('alert')).toHaveText(/\S/)
  },
  'a picture close up': async (glimpse) => {
    await glimpse.open()
    await glimpse.put(asFile(square(red)))
    await glimpse.page.getByRole('button', { name: 'Zoom' }).click()
    await expect(glimpse.page.getByRole('button', { name: 'Zoom' })).toHaveAttribute('aria-pressed', 'true')
  },
  'a question that waits': asked,
  'an answer that comes': answering,
  'an answer that is complete, with its prompt': async (glimpse, scripted) => {
    await answered(glimpse, scripted)
    await details(glimpse.last)
  },
  'an answer that was stopped': async (glimpse, scripted) => {
    await answering(glimpse, scripted)
    await glimpse.stop.click()
    await glimpse.answered(1)
  },
  'an answer that failed': async (glimpse, scripted) => {
    await answering(glimpse, scripted)
    await scripted.fail()
    await expect(glimpse.last.getByRole('button', { name: 'Ask again' })).toBeVisible()
  },
  'an answer without words': async (glimpse, scripted) => {
    await scripted.answers({ 'What is this?': [] })
    await asked(glimpse, scripted)
    await scripted.open()
    await glimpse.answered(1)
    await expect(glimpse.last).toContainText('The model gave no answer.')
  },
  'a bad answer': async (glimpse, scripted) => {
    await answered(glimpse, scripted)
    await glimpse.last.getByRole('button', { name: 'Bad answer' }).click()
    await expect(glimpse.page.getByRole('textbox', { name: 'What was wrong?' })).toBeVisible()
  },
  'a conversation that is being shared': async (glimpse, scripted) => {
    await answered(glimpse, scripted)
    await shared(glimpse)
  },
  'what was shared': async (glimpse, scripted) => {
    await answered(glimpse, scripted)
    await glimpse.page.goto(await shared(glimpse))
    await expect(glimpse.page.getByRole('article')).toHaveCount(1)
  },
  'several answers': async (glimpse, scripted) => {
    await glimpse.open()
    await glimpse.put(asFile(square(red)))
    await glimpse.set({ Decoding: 'Beam search', Beams: '3', Answers: '2' })
    await scripted.open()
    await glimpse.describe.click()
    await glimpse.answered(1)
  },
  'an alert': async (glimpse) => {
    await glimpse.open()
    await glimpse.ask.click()
    await expect(glimpse.alert).toHaveCount(1)
  },
  'a picture that was refused': async (glimpse) => {
    await glimpse.open()
    await glimpse.picture.setInputFiles(asFile(Buffer.alloc(0)))
    await expect(glimpse.alert).toHaveCount(1)
  },
  'a picture’s address': async (glimpse) => {
    await glimpse.open()
    await glimpse.fromAddress.click()
  },
  'the settings, greedy': settings('Greedy'),
  'the settings, beam search': settings('Beam search'),
  'the settings, sampling': settings('Sampling'),
  'the page after a form that was posted and refused': async (glimpse) => {
    await glimpse.open()
    // As a browser without scripts sends it.
    await glimpse.page.evaluate(() =>
      HTMLFormElement.prototype.submit.call(document.querySelector('form:has(textarea)')),
    )
    await expect(glimpse.alert).toHaveCount(1)
    await glimpse.hydrated()
  },
  'a conversation that is not there': (glimpse) => glimpse.open(`/c/${'0'.repeat(32)}`),
  'an address that is not there': (glimpse) => glimpse.page.goto('/nowhere'),
  'a file that is not there': async (glimpse) => {
    await glimpse.page.goto('/pkg/nothing.css')
    await expect(glimpse.page.getByRole('heading', { name: 'Not found' })).toBeVisible()
  },
  'a page that is for its host alone': async (glimpse) => {
    // As through a proxy that nobody has named.
    await glimpse.page.setExtraHTTPHeaders({ 'x-forwarded-for': '192.0.2.7' })
    await glimpse.page.goto('/status')
    await expect(glimpse.page.getByRole('heading', { name: 'Not for everybody' })).toBeVisible()
  },
  'the status page before anybody has asked': async (glimpse) => {
    await glimpse.page.goto('/status')
    await expect(glimpse.page.getByRole('img', { name: /^Questions a minute/ })).toBeVisible()
  },
  'the status page': async (glimpse, scripted) => {
    await answered(glimpse, scripted)
    await glimpse.page.goto('/status')
    await glimpse.page.getByText('Minute by minute').click()
    await expect(glimpse.page.getByRole('img', { name: /^Questions a minute/ })).toBeVisible()
  },
}

/** Those for which connections are cut. */
const cutOff: Record<string, Step> = {
  'a connection that is lost': async (glimpse, scripted) => {
    await answering(glimpse, scripted)
    await scripted.kill()
    await expect(glimpse.status).toContainText('Connection lost')
  },
  'an answer that was interrupted': async (glimpse, scripted) => {
    await answering(glimpse, scripted)
    await scripted.kill()
    await scripted.start()
    await glimpse.page.reload()
    await glimpse.hydrated()
    await expect(glimpse.last).toContainText('Interrupted')
  },
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [cuts, those] of [[false, states], [true, cutOff]] as const) {
    test.describe(colorScheme, () => {
      test.use({ colorScheme, refusals: true, cuts })
      for (const [state, reach] of Object.entries(those)) {
        test(state, async ({ glimpse, scripted }) => {
          await reach(glimpse, scripted)
          const { violations } = await new AxeBuilder({ page: glimpse.page }).analyze()
          expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([])
        })
      }
    })
  }
}

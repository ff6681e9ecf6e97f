// The page in the languages that it speaks, as browsers with these locales see it.

import AxeBuilder from '@axe-core/playwright'
import type { Page } from '@playwright/test'
import { expect, test } from './glimpse'
import { asFile, red, square } from './pictures'

/** Each with what a few buttons are called in it, and what is said of a file that is no picture. */
const languages = [
  { locale: 'en-US', lang: 'en', dir: 'ltr', name: 'English', ask: 'Ask', anew: 'New conversation', settings: 'Settings', label: 'Language', picture: 'Picture', question: 'Question', refusal: 'This is not a picture that can be read here.' },
  { locale: 'de-AT', lang: 'de', dir: 'ltr', name: 'Deutsch', ask: 'Fragen', anew: 'Neue Unterhaltung', settings: 'Einstellungen', label: 'Sprache', picture: 'Bild', question: 'Frage', refusal: 'Das ist kein Bild, das hier gelesen werden kann.' },
  { locale: 'fr-FR', lang: 'fr', dir: 'ltr', name: 'Français', ask: 'Demander', anew: 'Nouvelle conversation', settings: 'Réglages', label: 'Langue', picture: 'Image', question: 'Question', refusal: 'Ce n’est pas une image lisible ici.' },
  { locale: 'es-MX', lang: 'es', dir: 'ltr', name: 'Español', ask: 'Preguntar', anew: 'Nueva conversación', settings: 'Ajustes', label: 'Idioma', picture: 'Imagen', question: 'Pregunta', refusal: 'Esto no es una imagen que se pueda leer aquí.' },
  { locale: 'zh-CN', lang: 'zh-Hans', dir: 'ltr', name: '简体中文', ask: '提问', anew: '新对话', settings: '设置', label: '语言', picture: '图片', question: '问题', refusal: '这不是这里能读取的图片。' },
  { locale: 'ar-EG', lang: 'ar', dir: 'rtl', name: 'العربية', ask: 'اسأل', anew: 'محادثة جديدة', settings: 'الإعدادات', label: 'اللغة', picture: 'الصورة', question: 'السؤال', refusal: 'هذه ليست صورة يمكن قراءتها هنا.' },
] as const
type Language = (typeof languages)[number]
const [english, german, , , , arabic] = languages

const text = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('Not a picture.') }

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

async function speaks(page: Page, { lang, dir, ask, anew, settings }: Language) {
  await expect(page.locator('html')).toHaveAttribute('lang', lang)
  await expect(page.locator('html')).toHaveAttribute('dir', dir)
  for (const name of [ask, anew, settings]) await expect(button(page, name)).toBeVisible()
}

async function choose(page: Page, from: Language, to: Language) {
  await button(page, from.settings).click()
  await page.getByRole('combobox', { name: from.label, exact: true }).selectOption({ label: to.name })
}

for (const language of languages) {
  test.describe(language.locale, () => {
    test.use({ locale: language.locale, refusals: true })

    test('shows its own words, and says in them what is wrong', async ({ glimpse, page }) => {
      const response = await page.goto('/')
      expect(response?.headers()['content-language']).toBe(language.lang)
      expect(response?.headers()['vary']).toContain('Accept-Language')
      await glimpse.hydrated()
      await speaks(page, language)
      await page.getByLabel(language.picture, { exact: true }).setInputFiles(text)
      await expect(glimpse.alert).toContainText(language.refusal)
    })

    test.describe('without JavaScript', () => {
      test.use({ javaScriptEnabled: false })
      test('the same', async ({ glimpse, page }) => {
        await page.goto('/')
        await speaks(page, language)
        await page.getByLabel(language.picture, { exact: true }).setInputFiles(text)
        await page.getByRole('textbox', { name: language.question, exact: true }).fill('What is this?')
        await button(page, language.ask).click()
        await expect(glimpse.alert).toContainText(language.refusal)
        await speaks(page, language)
      })
    })
  })
}

test('a language that is chosen stays', async ({ glimpse, page }) => {
  await glimpse.open()
  await choose(page, english, arabic)
  await speaks(page, arabic)
  await glimpse.hydrated()
  expect(new URL(page.url()).search).toBe('')
  await page.reload()
  await speaks(page, arabic)
  await glimpse.hydrated()
  await choose(page, arabic, german)
  await speaks(page, german)
})

test('it stays in a conversation', async ({ glimpse, page }) => {
  await glimpse.open()
  await glimpse.put(asFile(square(red)))
  const address = page.url()
  await choose(page, english, german)
  await speaks(page, german)
  expect(page.url()).toBe(address)
  await expect(glimpse.shown).toBeVisible()
})

test.describe('where there are no cookies', () => {
  test.use({ refusals: true })
  test('it stays too, and errors are told in it', async ({ glimpse, page }) => {
    await glimpse.open()
    await choose(page, english, german)
    await speaks(page, german)
    await page.context().clearCookies()
    await page.goto('/')
    await speaks(page, german)
    await glimpse.hydrated()
    await page.context().clearCookies()
    await page.getByLabel(german.picture, { exact: true }).setInputFiles(asFile(Buffer.alloc(0)))
    await expect(glimpse.alert).toContainText('Die Datei ist leer.')
  })
})

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false })
  test('a language is chosen with a button, and stays', async ({ page, glimpse }) => {
    await page.goto('/')
    await choose(page, english, arabic)
    await button(page, 'Apply').click()
    await speaks(page, arabic)
    await page.goto('/')
    await speaks(page, arabic)
    await expect(glimpse.alert).toHaveCount(0)
  })
})

test.describe('Arabic', () => {
  test.use({ locale: 'ar' })
  for (const colorScheme of ['light', 'dark'] as const) {
    test.describe(colorScheme, () => {
      test.use({ colorScheme })
      test('axe finds nothing', async ({ glimpse, page }) => {
        const finds = async () => {
          const { violations } = await new AxeBuilder({ page }).analyze()
          return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])
        }
        await glimpse.open()
        expect(await finds()).toEqual([])
        await button(page, arabic.settings).click()
        expect(await finds()).toEqual([])
        await page.keyboard.press('Escape')
        await page.getByRole('group', { name: 'أمثلة' }).getByRole('button').first().click()
        await expect(page.getByRole('article')).toHaveAttribute('aria-busy', 'false')
        expect(await finds()).toEqual([])
      })
    })
  }
  test('nothing is wider than a phone', async ({ page, glimpse }) => {
    await page.setViewportSize({ width: 390, height: 844 })
    await glimpse.open()
    const wider = () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)
    expect(await wider()).toBe(false)
    // The drawer comes from the side where lines end.
    await button(page, arabic.settings).click()
    const drawer = (await page.locator('#settings').boundingBox())!
    expect(Math.round(drawer.x)).toBe(0)
  })
})

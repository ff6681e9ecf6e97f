// What a page complains of does not escape these tests: each of them fails on it.

import { complaintsOf, expect, test } from './glimpse'

const wrongs: [string, RegExp, () => void][] = [
  ['an error in the console', /^out of order$/, () => console.error('out of order')],
  ['a warning in the console', /^not in order$/, () => console.warn('not in order')],
  ['an exception', /^thrown$/, () => void setTimeout(() => { throw new Error('thrown') })],
  [
    'a script in the page',
    /^the policy's script-src-elem forbids inline$/,
    () => document.body.appendChild(document.createElement('script')).append('window.isRun = true'),
  ],
  [
    'a style in the page',
    /^the policy's style-src-elem forbids inline$/,
    () => document.head.appendChild(document.createElement('style')).append('p { color: red }'),
  ],
  [
    'a style in an attribute',
    /^the policy's style-src-attr forbids inline$/,
    () => document.body.insertAdjacentHTML('beforeend', '<p style="color: red">'),
  ],
  [
    'a picture from elsewhere',
    /^the policy's img-src forbids http:\/\/elsewhere\.example\/$/,
    () => void (new Image().src = 'http://elsewhere.example/'),
  ],
  ['a request that fails', /^lost \S+\/lost: /, () => void fetch('/lost').catch(() => {})],
  ['what is not there', /^Failed to load resource.* 404/, () => void fetch('/nowhere')],
]

for (const [what, complaint, act] of wrongs) {
  test(`${what} is noticed`, async ({ page, baseURL }) => {
    const complaints = await complaintsOf(page, [baseURL!])
    await page.route('**/lost', (route) => route.abort())
    await page.goto('/')
    expect(complaints).toEqual([])
    await page.evaluate(act)
    await expect.poll(() => complaints).toContainEqual(expect.stringMatching(complaint))
  })
}

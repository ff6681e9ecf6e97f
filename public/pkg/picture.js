// @ts-check
// Sends a picture with its progress, which `fetch` does not tell, and loads the rest when somebody wants it:
// `shrink.js` for a large photo, `choice.js` for several at once, `camera.js` for the camera, and `zoom.js` for the
// first pointer on a picture. JavaScript, since all of it is loaded by few, and the progress and the choice alone were
// 5 kB more of WebAssembly for everybody.

/** What the server reads as it is. */
const READ = /^image\/(jpeg|png|webp|gif|bmp|tiff)$/

/** Bytes from which it is worth while to look whether a picture can be smaller. */
const LARGE = 1_500_000

const root = document.documentElement

/** @type {XMLHttpRequest | undefined} */
let sending
let count = 0

/** Lets go of the picture that is on its way. */
export function stop() {
  count += 1
  sending?.abort()
}

/**
 * Sends a picture, smaller where it is a large photo, whose shorter side keeps `side` pixels (0: all it has).
 * Resolves to the status and the text of the reply. A status of 0: there was none; of 1: it has more than `most` bytes.
 *
 * @param {File} file
 * @param {number} side
 * @param {number} most
 * @param {string} address
 * @param {string} secret the visitor's
 * @returns {Promise<[number, string]>}
 */
export async function send(file, side, most, address, secret) {
  stop()
  tell()
  const own = count
  /** @type {Blob} */
  let picture = file
  if (file.size > LARGE || !READ.test(file.type)) {
    picture = await import('./shrink.js').then(
      ({ shrink }) => shrink(file, side),
      () => file,
    )
  }
  if (own !== count) return [0, '']
  if (picture.size > most) return [1, '']
  const form = new FormData()
  form.append('picture', picture, file.name)
  return new Promise((resolve) => {
    const request = (sending = new XMLHttpRequest())
    request.open('POST', address)
    request.setRequestHeader('accept', 'application/json')
    request.setRequestHeader('x-glimpse-visitor', secret)
    request.setRequestHeader('x-glimpse-language', root.lang)
    request.upload.onprogress = ({ loaded, total }) => tell(loaded / total)
    request.onloadend = () => {
      if (sending === request) sending = undefined
      resolve([request.status, request.responseText])
    }
    request.send(form)
  })
}

/**
 * How much of it is on the server, from 0 to 1.
 *
 * @param {number} [part]
 */
function tell(part) {
  const bar = document.querySelector('.uploading progress')
  const words = document.querySelector('.uploading output')
  if (!bar || !words) return
  if (part === undefined) bar.removeAttribute('value')
  else bar.setAttribute('value', String(part))
  const percent = new Intl.NumberFormat(root.lang, { style: 'percent' })
  words.textContent = part === undefined ? '' : percent.format(part)
}

// Several files at once are not for the page's WebAssembly, which opens one: it listens later than this.

const input = () => /** @type {HTMLInputElement | null} */ (document.getElementById('picture'))

/**
 * Pictures of what was put in, or where none is one, whatever it is.
 *
 * @param {FileList | undefined | null} list
 */
function pictures(list) {
  const all = [...(list ?? [])]
  const found = all.filter(({ type, name }) => type.startsWith('image/') || /\.(hei[cf]|avif)$/i.test(name))
  return found.length ? found : all
}

/** @param {File[]} files */
function put(files) {
  const field = input()
  if (!field) return
  const carrier = new DataTransfer()
  for (const file of files) carrier.items.add(file)
  field.files = carrier.files
  field.dispatchEvent(new Event('change', { bubbles: true }))
}

/** @param {Event} event @param {FileList | undefined | null} list */
function choose(event, list) {
  const files = pictures(list)
  if (files.length < 2) return false
  event.preventDefault()
  event.stopImmediatePropagation()
  import('./choice.js').then(({ offer }) => offer(files, put))
  return true
}

addEventListener(
  'change',
  (event) => {
    const { target } = event
    if (target === input() && target instanceof HTMLInputElement && choose(event, target.files)) target.value = ''
  },
  true,
)
addEventListener('paste', (event) => choose(event, event.clipboardData?.files), true)
addEventListener(
  'drop',
  (event) => {
    // What else listens is told that nothing hangs on the pointer any more.
    if (choose(event, event.dataTransfer?.files)) dispatchEvent(new DragEvent('dragleave'))
  },
  true,
)
// Not without a script: a form would have to take one of several.
document.addEventListener('DOMContentLoaded', several)
several()
function several() {
  const field = input()
  if (field) field.multiple = true
}

// What stands in the page and is not wanted by everybody.

// By plain http there is no camera for the page, but a phone has one behind its file chooser.
if ('mediaDevices' in navigator || matchMedia('(pointer: coarse)').matches) root.dataset.camera = ''

addEventListener('click', ({ target }) => {
  if (!(target instanceof Element)) return
  if (target.closest('[data-open-camera]')) import('./camera.js').then(({ openCamera }) => openCamera())
  if (target.closest('.tool[data-zoom]')) import('./zoom.js').then(({ toggle }) => toggle())
})

for (const type of ['pointerover', 'focusin', 'touchstart']) {
  addEventListener(type, begin, { passive: true })
}

/** @param {Event} event */
function begin({ target }) {
  if (target instanceof Element && target.closest('[data-zoom]')) import('./zoom.js')
}

// @ts-check
// Several pictures that were put in at once: the visitor says which one, and the others stay for later, each for a
// conversation of its own. Which one goes into the page's file input, as if it alone had been chosen. Loaded when
// there are several, which is seldom; the words stand in the page.

const box = /** @type {HTMLElement} */ (document.getElementById('choice'))
const [question, strip] = /** @type {NodeListOf<HTMLElement>} */ (box.querySelectorAll('p, div'))

box.querySelector('button')?.addEventListener('click', () => {
  strip.replaceChildren()
  show()
})

/**
 * Puts pictures beside those that are there.
 *
 * @param {File[]} files
 * @param {(files: File[]) => void} open
 */
export function offer(files, open) {
  const buttons = files.map((file) => {
    const picture = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: file.name })
    const button = Object.assign(document.createElement('button'), { type: 'button', title: file.name })
    button.append(picture)
    button.onclick = () => {
      URL.revokeObjectURL(picture.src)
      button.remove()
      show()
      open([file])
    }
    return button
  })
  strip.append(...buttons)
  show()
  buttons[0].focus()
}

function show() {
  const count = strip.childElementCount
  box.hidden = !count
  const words = count === 1 ? box.dataset.one : box.dataset.several
  question.textContent = (words ?? '').replace('{number}', String(count))
}

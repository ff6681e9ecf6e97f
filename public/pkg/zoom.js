// @ts-check
// Zoom and pan of the picture: wheel (with Ctrl, or when it is large already), pinch, double click, keys, and a button.
// A CSS transform of the frame, in which the map of "Where it looked" lies too; nothing lies over the picture, so that
// a browser's own menu and its saving stay. Loaded when a pointer or the focus comes to a picture for the first time.

const LARGEST = 8
const STEP = 1.25
/** Of a double click and of the button. */
const CLOSE_UP = 2.5
/** Pixels that an arrow key moves. */
const MOVE = 60

const view = () => /** @type {HTMLElement | null} */ (document.querySelector('.view[data-zoom]'))

let [scale, x, y] = [1, 0, 0]
/** The picture that is zoomed. */
let zoomed = ''
/** @type {Map<number, PointerEvent>} */
const pointers = new Map()

const source = () => view()?.querySelector('img')?.srcset ?? ''

function apply() {
  const box = view()
  const frame = /** @type {HTMLElement | null | undefined} */ (box?.firstElementChild)
  if (!box || !frame) return
  // Not further than that its edges stay in sight.
  const room = (/** @type {number} */ at, /** @type {number} */ all, /** @type {number} */ seen) => {
    const most = Math.max(0, (all * scale - seen) / 2)
    return Math.min(most, Math.max(-most, at))
  }
  x = room(x, frame.offsetWidth, box.clientWidth)
  y = room(y, frame.offsetHeight, box.clientHeight)
  frame.style.transform = scale > 1 ? `translate(${x}px, ${y}px) scale(${scale})` : ''
  box.toggleAttribute('data-zoomed', scale > 1)
  document.querySelector('.tool[data-zoom]')?.setAttribute('aria-pressed', String(scale > 1))
}

/**
 * Makes it `factor` times as large; what is at a place of the window stays there, or else in the middle.
 *
 * @param {number} factor
 * @param {{ clientX: number, clientY: number }} [at]
 */
function zoom(factor, at) {
  const box = view()
  if (!box) return
  const next = Math.min(LARGEST, Math.max(1, scale * factor))
  const { left, top, width, height } = box.getBoundingClientRect()
  const [dx, dy] = at ? [at.clientX - left - width / 2, at.clientY - top - height / 2] : [0, 0]
  x = dx - ((dx - x) * next) / scale
  y = dy - ((dy - y) * next) / scale
  scale = next
  zoomed = source()
  apply()
}

/** @param {number} dx @param {number} dy */
function move(dx, dy) {
  x += dx
  y += dy
  apply()
}

function reset() {
  ;[scale, x, y] = [1, 0, 0]
  apply()
}

/**
 * Closer, or all of it.
 *
 * @param {MouseEvent} [at]
 */
export const toggle = (at) => (scale > 1 ? reset() : zoom(CLOSE_UP, at))

/** @param {EventTarget | null} target */
const isIn = (target) => target instanceof Node && !!view()?.contains(target)

/** @type {Record<string, () => void>} */
const keys = {
  '+': () => zoom(STEP),
  '=': () => zoom(STEP),
  '-': () => zoom(1 / STEP),
  0: reset,
  ArrowLeft: () => move(MOVE, 0),
  ArrowRight: () => move(-MOVE, 0),
  ArrowUp: () => move(0, MOVE),
  ArrowDown: () => move(0, -MOVE),
}

addEventListener('keydown', (event) => {
  const isArrow = event.key.startsWith('Arrow')
  if (event.target !== view() || event.ctrlKey || event.metaKey || event.altKey || (isArrow && scale === 1)) return
  const act = keys[event.key]
  if (act) {
    event.preventDefault()
    act()
  }
})

addEventListener(
  'wheel',
  (event) => {
    if (!isIn(event.target) || !(event.ctrlKey || event.metaKey || scale > 1)) return
    event.preventDefault()
    // A notch of a wheel is 100 and more, a pinch on a touchpad a few at a time.
    zoom(Math.exp(-Math.max(-50, Math.min(50, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.004)), event)
  },
  { passive: false },
)

addEventListener('dblclick', (event) => {
  if (!isIn(event.target)) return
  event.preventDefault()
  toggle(event)
})

addEventListener('pointerdown', (event) => {
  if (isIn(event.target) && event.button === 0) pointers.set(event.pointerId, event)
})

addEventListener('pointermove', (event) => {
  const before = pointers.get(event.pointerId)
  if (!before) return
  pointers.set(event.pointerId, event)
  const other = [...pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId)
  if (other) {
    const apart = (/** @type {PointerEvent} */ one) =>
      Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY)
    const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 }
    zoom(apart(event) / Math.max(1, apart(before)), middle)
    move((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2)
  } else if (scale > 1) {
    move(event.clientX - before.clientX, event.clientY - before.clientY)
  }
})

for (const type of ['pointerup', 'pointercancel']) {
  addEventListener(type, (event) => pointers.delete(/** @type {PointerEvent} */ (event).pointerId))
}

// A picture that is large is moved, not dragged away.
addEventListener('dragstart', (event) => {
  if (isIn(event.target) && scale > 1) event.preventDefault()
})
addEventListener('resize', apply)

// Another picture begins as a whole.
new MutationObserver(() => {
  if (scale > 1 && source() !== zoomed) reset()
}).observe(document.body, { subtree: true, childList: true, attributeFilter: ['srcset'] })

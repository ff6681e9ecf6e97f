// @ts-check
// The camera: a live preview, a shutter, front and back. What is taken goes into the page's file input, as if it had
// been chosen. Loaded when somebody wants it, which few do; the dialog and its words stand in the page.

const dialog = /** @type {HTMLDialogElement} */ (document.getElementById('camera'))
const video = /** @type {HTMLVideoElement} */ (dialog.querySelector('video'))
const input = /** @type {HTMLInputElement} */ (document.getElementById('picture'))
const problem = /** @type {HTMLElement} */ (dialog.querySelector('[role=alert]'))

/** @type {MediaStream | undefined} */
let stream
/** Counts what was asked of the camera, so that only the last is shown. */
let count = 0

/** @type {Record<string, () => void>} */
const deeds = { take, turn, close: () => dialog.close() }
for (const [name, deed] of Object.entries(deeds)) {
  dialog.querySelector(`[data-do=${name}]`)?.addEventListener('click', deed)
}
dialog.addEventListener('close', stop)
addEventListener('pagehide', stop)
video.addEventListener('loadeddata', () => show({ live: '' }))

/** Opens the camera; a phone's own one where the page may not have it. */
export function openCamera() {
  if (!navigator.mediaDevices) {
    const own = Object.assign(document.createElement('input'), { type: 'file', accept: 'image/*', capture: 'environment' })
    own.onchange = () => own.files && put(own.files)
    return own.click()
  }
  dialog.showModal()
  return start({ facingMode: { ideal: 'environment' } })
}

/** @param {MediaTrackConstraints} which */
async function start(which) {
  stop()
  const own = ++count
  show({})
  try {
    const found = await navigator.mediaDevices.getUserMedia({
      video: { ...which, width: { ideal: 1920 }, height: { ideal: 1440 } },
    })
    if (own !== count || !dialog.open) return found.getTracks().forEach((track) => track.stop())
    stream = found
    video.srcObject = found
    const { facingMode } = settings()
    video.toggleAttribute('data-front', facingMode !== 'environment')
    dialog.toggleAttribute('data-several', (await cameras()).length > 1)
  } catch (error) {
    if (own !== count) return
    const name = error instanceof Error ? error.name : ''
    const which = name === 'NotAllowedError' ? 'denied' : name === 'NotReadableError' ? 'busy' : 'missing'
    show({ problem: dialog.dataset[which] })
  }
}

/** The other side's camera, where the browser knows sides; the next one elsewhere. */
async function turn() {
  const { facingMode, deviceId } = settings()
  if (facingMode) return start({ facingMode: { ideal: facingMode === 'user' ? 'environment' : 'user' } })
  const all = await cameras()
  const next = all[(all.findIndex((camera) => camera.deviceId === deviceId) + 1) % all.length]
  return start({ deviceId: { exact: next.deviceId } })
}

async function take() {
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight })
  canvas.getContext('2d')?.drawImage(video, 0, 0)
  const photo = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.95))
  if (!photo) return
  dialog.close()
  const carrier = new DataTransfer()
  carrier.items.add(new File([photo], 'photo.jpg', { type: 'image/jpeg' }))
  put(carrier.files)
}

/** @param {FileList} files */
function put(files) {
  input.files = files
  input.dispatchEvent(new Event('change', { bubbles: true }))
}

function stop() {
  count += 1
  stream?.getTracks().forEach((track) => track.stop())
  stream = undefined
  video.srcObject = null
}

/** @param {{ live?: string, problem?: string }} state */
function show({ live, problem: sentence }) {
  dialog.toggleAttribute('data-live', live !== undefined)
  problem.textContent = sentence ?? ''
}

const settings = () => stream?.getVideoTracks()[0]?.getSettings() ?? {}

async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices()
  return devices.filter(({ kind }) => kind === 'videoinput')
}

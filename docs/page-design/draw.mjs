// Draws the page's layouts in all their states, as static pages to look at:
//   node docs/page-design/draw.mjs      leaves target/page-design/index.html
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as sass from 'sass'
import * as P from './parts.mjs'

const states = {
  empty: {}, answered: { log: () => P.t1() + P.t2() + P.t3({ open: true, look: false }) + P.suggestions },
  queue: { log: () => P.t1() + P.t2() + P.waiting(), busy: 1 },
  streaming: { log: () => P.t2() + P.streaming(), busy: 1 },
  error: { log: () => P.t2() + P.failed(), value: '' },
  settings: { log: () => P.t2() + P.t3() , settings: 1 },
  history: { log: () => P.t2() + P.t3(), history: 1 },
  heat: { log: () => P.t2() + P.t3({ look: 1 }), heat: 1 },
}
const extra = {
  attempts: { log: () => P.t2() + P.attempted() },
  stopped: { log: () => P.stopped() + P.empty() },
  editing: { log: () => P.t1() + P.editing() },
  compared: { log: () => P.t1() + P.compared(), several: 1 },
  matching: { log: () => P.matched(), composer: P.texts },
  offline: { log: () => P.t1() + P.t2(), alert: P.banner },
  share: { log: () => P.t1() + P.t2(), share: 1 },
  keys: { log: () => P.t1(), keys: 1 },
  scrolled: { log: () => P.t1() + P.t2() + P.t3(), toEnd: 1 },
  dropping: { log: () => P.t1(), over: P.dropping },
  camera: { over: P.camera },
  lost: { whole: P.lost },
  one: { log: () => P.t1() + P.suggestions },
  looking: { log: () => P.looking(), busy: 1 },
  uploading: { stage: P.uploading, log: () => '', start: 1 },
  ready: { log: () => '', start: 1 },
  address: { address: 1 },
  examples: { log: () => P.t2(), examples: 1 },
}
const page = (layout, name, s, css) => {
  const begun = !!s.log
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"><meta name="color-scheme" content="light dark"><title>Glimpse: ${name}</title>
${css.map((c) => `<link rel="stylesheet" href="${c}">`).join('')}</head>
<body>${s.whole ?? ''}${s.whole ? '' : `<div class="page"${begun ? ' data-begun' : ''}>${P.header({ begun, several: s.several })}
<main class="desk">${begun ? (s.stage ?? P.stage({ heat: s.heat })) : P.invite()}
<section class="chat"><div class="said">${begun ? (s.start ? P.start : '') : P.welcome}
<div class="log" role="log" aria-label="Conversation" aria-live="off" tabindex="0"><div class="turns">${s.log ? s.log() : ''}</div></div>${s.toEnd ? P.toEnd : ''}</div>
${begun ? '' : P.examples}
${s.alert ?? ''}${s.composer ?? P.composer({ busy: s.busy, value: s.value, begun })}</section></main>
<p class="unseen" role="status">${s.busy ? 'You’re at place 3 in the queue, about 20 seconds' : ''}</p></div>
${P.settings(s.settings)}${P.history(s.history)}${P.fromAddress(s.address)}${begun ? P.examplesPopover(s.examples) + P.share(s.share) : ''}${P.keys(s.keys)}${s.over ?? ''}`}
</body></html>`
}
const here = dirname(fileURLToPath(import.meta.url))
const out = join(here, '../../target/page-design')
const css = (name) => readFileSync(join(here, `${name}.css`), 'utf8')
const built = (name) => sass.compile(join(here, `../../style/_${name}.scss`)).css
const pieces = ['tokens', 'base', 'tool', 'header', 'picture', 'transcript', 'composer', 'examples', 'drawer', 'settings', 'history']
const shared = pieces.map(built).join('\n') + css('unbuilt')
const layouts = { a: built('page'), b: css('b'), c: css('c') }
const drawn = []
for (const [layout, own] of Object.entries(layouts)) {
  mkdirSync(join(out, layout), { recursive: true })
  writeFileSync(join(out, layout, 'style.css'), shared + own)
  const all = layout === 'a' ? { ...states, ...extra } : states
  for (const [name, state] of Object.entries(all)) {
    writeFileSync(join(out, layout, `${name}.html`), page(layout, name, state, ['style.css']))
    drawn.push(`<li><a href="${layout}/${name}.html">${layout}: ${name}</a></li>`)
  }
}
writeFileSync(join(out, 'index.html'), `<!DOCTYPE html><meta charset="utf-8"><title>Every state</title><ul>${drawn.join('')}</ul>`)
console.log(join(out, 'index.html'))

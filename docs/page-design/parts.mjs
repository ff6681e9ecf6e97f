import { i } from './icons.mjs'
export const tool = (icon, label, { text = false, cls = '', attrs = '' } = {}) =>
  `<button type="button" class="tool${cls ? ' ' + cls : ''}"${text ? '' : ` title="${label}"`} ${attrs}>${i(icon)}<span${text ? '' : ' class="unseen"'}>${label}</span></button>`

export const header = ({ several, begun } = {}) => `
<header class="top">
  ${tool('history', 'History', { attrs: 'popovertarget="history" aria-controls="history" aria-expanded="false"' })}
  <h1 class="brand"><svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M2 16C7 7 25 7 30 16 25 25 7 25 2 16Z"/><circle cx="16" cy="16" r="5.4"/></svg><span>Glimpse</span></h1>
  ${several ? `<div class="models"><select name="model" form="ask" aria-label="Model"><option>blip2-flan-t5-xl</option></select><button type="button" class="tool wordy" title="Compare" popovertarget="compare" aria-haspopup="dialog">${i('compare')}<span>Compare</span></button></div>`
    : `<p class="model">Small demo model · CPU</p>`}
  <div class="top-tools">
    ${begun ? tool('share', 'Share', { cls: 'share-button', attrs: 'popovertarget="share"' }) : ''}
    <form class="anew" method="get" action="/"><button type="submit" class="tool wordy" title="New conversation">${i('plus')}<span>New conversation</span></button></form>
    <button type="button" class="tool wordy settings-button" title="Settings" popovertarget="settings" aria-controls="settings" aria-expanded="false">${i('settings')}<span>Settings</span></button>
  </div>
</header>`

const pictureInput = `<input type="file" class="unseen" name="picture" form="ask" accept="image/*" autocomplete="off" aria-label="Picture" id="picture">`
export const invite = (upload) => `
<section class="stage empty"${upload === 'drag' ? ' data-over' : ''}>
  ${pictureInput}
  <div class="invite">
    <svg class="art" viewBox="0 0 64 48" aria-hidden="true"><rect x="17" y="5" width="40" height="30" rx="5" transform="rotate(6 37 20)"/><rect class="front" x="7" y="9" width="42" height="32" rx="5"/><circle cx="18.500" cy="19.500" r="3.500"/><path d="m8 36 11-10 8 7 9-11 12 12"/></svg>
    <p class="sources"><label for="picture" class="primary">${i('picture')}<span>Choose a picture</span></label>${tool('camera', 'Camera', { text: true, cls: 'camera-button' })}${tool('link', 'From an address', { text: true, cls: 'from-address-button', attrs: 'popovertarget="from-address" aria-haspopup="dialog"' })}</p>
    <p class="ways">or drop one anywhere, or paste it</p>
  </div>
</section>`

export const uploading = `
<section class="stage" data-opening>
  ${pictureInput}
  <div class="view"><div class="frame"><img src="../../../public/examples/8.png" srcset="../../../public/examples/8.png 0.1x" alt="IMG_2093.jpg"></div></div>
  <div class="uploading"><progress max="100" value="62" aria-label="Sending the picture"></progress><p>Sending the picture · 62 %</p><button type="button" class="quiet">Cancel</button></div>
</section>`

export const heatMap = `<svg class="heat" viewBox="0 0 1600 1200" preserveAspectRatio="none" aria-hidden="true"><defs><filter id="hb" x="-50%" y="-50%" width="200%" height="200%"><feGaussianBlur stdDeviation="70"/></filter><filter id="hb2" x="-50%" y="-50%" width="200%" height="200%"><feGaussianBlur stdDeviation="36"/></filter></defs><rect width="1600" height="1200" fill="#0b1030" opacity=".42"/><g filter="url(#hb)"><ellipse cx="380" cy="760" rx="310" ry="190" fill="#b5367a" opacity=".75"/><ellipse cx="760" cy="500" rx="150" ry="120" fill="#6b2a86" opacity=".5"/><ellipse cx="700" cy="1080" rx="190" ry="80" fill="#6b2a86" opacity=".5"/></g><g filter="url(#hb2)"><ellipse cx="380" cy="760" rx="210" ry="110" fill="#fb8761" opacity=".8"/><ellipse cx="400" cy="770" rx="110" ry="56" fill="#fcfdbf" opacity=".85"/></g></svg>`

export const stage = ({ heat } = {}) => `
<section class="stage"${heat ? ' data-looking' : ''}>
  ${pictureInput}
  <div class="view" tabindex="0" role="group" aria-label="Picture, zoomed with + and −">
    <div class="frame"><img src="../../../public/examples/8.png" srcset="../../../public/examples/8.png 0.1x" alt="a beach with a red umbrella and two sailboats on the water">${heat ? heatMap : ''}</div>
  </div>
  ${heat ? `<div class="looked" role="group" aria-label="Where it looked">
    <div class="looked-head"><strong>Where it looked</strong><p class="legend"><span>less</span><span class="scale"></span><span>more</span></p><button type="button" class="tool" title="Hide the map">${i('close')}<span class="unseen">Hide the map</span></button></div>
    <div class="words" role="group" aria-label="Words"><button type="button" aria-pressed="false">Whole answer</button><button type="button" aria-pressed="true">red</button><button type="button" aria-pressed="false">and</button><button type="button" aria-pressed="false">white</button></div>
    <p class="hint">Bright areas drew more of the model’s attention for this word. It’s a clue to how the answer came about, not a proof.</p>
  </div>` : ''}
  <div class="picture-tools" role="group" aria-label="Picture tools">
    <p class="about-picture" dir="auto">a beach with a red umbrella and two sailboats on the water</p>
    ${tool('zoomout', 'Zoom out', { cls: 'out' })}${tool('zoomin', 'Zoom in')}
    ${tool('look', 'Where it looked', { cls: 'of-look', attrs: `aria-pressed="${!!heat}"` })}
    <label for="picture" class="tool" title="Replace the picture">${i('replace')}<span class="unseen">Replace the picture</span></label>
    ${tool('remove', 'Remove the picture', { cls: 'remove' })}
    <a class="tool save" href="../../../public/examples/8.png" download title="Download the picture">${i('download')}<span class="unseen">Download the picture</span></a>
  </div>
</section>`

const details = (open) => `
<details class="details"${open ? ' open' : ''}><summary title="Details">${i('info')}<span>0.8 s</span><span class="unseen">, details</span></summary>
  <div class="panel">
    <dl><div><dt>Time</dt><dd>0.8 s</dd></div><div><dt>First word</dt><dd>after 0.3 s</dd></div><div><dt>Speed</dt><dd>34 tokens/s</dd></div><div><dt>Decoding</dt><dd>Greedy</dd></div><div><dt>Max new tokens</dt><dd>50</dd></div><div><dt>Model</dt><dd>blip2-flan-t5-xl</dd></div></dl>
    <p class="cap">How sure it was</p>
    <p class="sure"><button type="button" class="p4">red <small>97 %</small></button> <button type="button" class="p3">and <small>81 %</small></button> <button type="button" class="p1">white <small>44 %</small></button></p>
    <p class="cap">Prompt</p><p>The picture, then:</p><pre dir="auto">Question: how many boats are on the water? Answer: two. Question: What colour is the umbrella? Answer:</pre>
  </div>
</details>`
const actions = ({ open, look, good, pager, bad, noEdit } = {}) => `
<div class="foot"><div class="actions" role="group" aria-label="Answer tools">
  ${pager ? attempts : ''}${tool('copy', 'Copy')}${tool('retry', 'Retry')}${noEdit ? '' : tool('edit', 'Edit the question')}<span class="gap"></span>${tool('up', 'Good answer', { attrs: `aria-pressed="${!!good}"` })}${tool('down', 'Bad answer', { attrs: `aria-pressed="${!!bad}"` })}<span class="gap"></span>${tool('look', 'Where it looked', { attrs: `aria-pressed="${!!look}"` })}
</div>${details(open)}</div>`
const eye = `<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M2 16C7 7 25 7 30 16 25 25 7 25 2 16Z"/><circle cx="16" cy="16" r="5.4"/></svg>`
let n = 0
export const turn = (q, body, { caption, busy } = {}) => `
<article class="turn" aria-labelledby="q${++n}" aria-busy="${!!busy}">
  <p class="asked${caption ? ' caption' : ''}" id="q${n}" dir="auto">${q}</p>
  <div class="reply${busy ? ' busy' : ''}">${eye}<div class="said-back">${body}</div></div>
</article>`
export const answer = (text, o = {}) => `<p class="answer${o.coming ? ' coming' : ''}" dir="auto">${text}</p>${o.coming ? '' : actions(o)}`
const attempts = `<p class="attempts" role="group" aria-label="Attempts">${tool('left', 'Earlier attempt')}<span>2 of 2</span>${tool('right', 'Later attempt')}</p>`
export const t1 = () => turn('Describe the picture', answer('a beach with a red umbrella and two sailboats on the water'), { caption: true })
export const t2 = () => turn('How many boats are on the water?', answer('two', { good: true }) )
export const t3 = (o = {}) => turn('What colour is the umbrella?', answer('red and white', o))
export const suggestions = `<p class="suggestions" role="group" aria-label="Suggestions"><button type="button">What is in the background?</button><button type="button">Is the sun shining?</button></p>`
export const waiting = () => turn('Where is the towel?', `<div class="waiting"><p><strong>You’re at place 3 in the queue.</strong> <span>About 20 seconds.</span></p><svg class="places" viewBox="0 0 96 12" aria-hidden="true"><circle cx="6" cy="6" r="5" class="busy"/><circle cx="24" cy="6" r="5"/><circle cx="42" cy="6" r="5"/><circle cx="60" cy="6" r="5" class="you"/></svg><p class="hint">You can leave this page. The answer will be here when you come back.</p></div>`, { busy: true })
export const looking = () => turn('Where is the towel?', `<div class="waiting"><p><strong>Looking at the picture …</strong></p></div>`, { busy: true })
export const streaming = () => turn('What is happening here?', answer('It is a quiet day at the beach. Someone has put up a red and white umbrella and spread a blue towel in its shade, and two boats are sailing', { coming: true }), { busy: true })
export const failed = () => turn('Where is the towel?', `<div class="problem" role="alert">${i('warning')}<p><strong>The connection was lost halfway.</strong> The answer stopped here; your question is safe.</p><p class="ways-on"><button type="button" class="again">${i('retry')}<span>Retry</span></button><button type="button" class="quiet">${i('edit')}<span>Edit</span></button></p></div>`)

export const composer = ({ busy, value = '', begun } = {}) => `
<form class="composer" id="ask" method="post" action="/ask" enctype="multipart/form-data" novalidate>
  <textarea name="question" rows="1" aria-label="Question" dir="auto" placeholder="Your question" autocomplete="off" enterkeyhint="send">${value}</textarea>
  <div class="buttons">
    ${busy ? `<button type="submit" name="action" value="ask" class="ask stop">${i('stop')}<span>Stop</span></button>` : `<button type="submit" name="action" value="ask" class="ask">${i('send')}<span>Ask</span></button>`}
    <button type="submit" name="action" value="describe" class="describe"${busy ? ' disabled' : ''}>${i('describe')}<span>Describe</span></button>
    ${begun ? `<button type="button" class="tool wordy examples-button" title="Examples" popovertarget="examples">${i('examples')}<span>Examples</span></button>` : ''}
  </div>
</form>`
const ex = ['Describe it', 'What is above the rocket?', 'How many snails are in the picture?', 'What is the color of the triangle?', 'What is in this picture?', 'What is at the bottom?', 'Is there a donut in the image?', 'How many objects can you see?']
export const examples = `
<form class="examples" method="post" action="/ask"><h2 class="small-head" id="ex">Or try one of these</h2><div role="group" aria-label="Examples">${ex.map((q, k) => `<button type="submit" name="example" value="${k}" title="${q}"><img src="../../../public/examples/${k + 1}.png" alt="" width="192" height="144"><span>${q}</span></button>`).join('')}</div></form>`
export const welcome = `<div class="welcome"><h2>Ask a picture anything</h2><p>Put one in, then ask what you’d like to know. Or have it described.</p><p class="about-model">The <strong>small demo model</strong> knows drawn scenes and simple shapes, not photos.</p></div>`

const field = (label, value, hint, type = 'number', extra = '') => `<div class="field"><label><span>${label}</span><input type="${type}" value="${value}" form="ask" ${extra}></label><p class="hint">${hint}</p></div>`
export const settings = (open) => `
<div class="drawer settings" id="settings" popover="auto" role="dialog" aria-labelledby="settings-title"${open ? ' data-open' : ''}>
  <div class="drawer-head"><h2 id="settings-title">Settings</h2><button type="button" class="tool" title="Close" popovertarget="settings" popovertargetaction="hide">${i('close')}<span class="unseen">Close</span></button></div>
  <div class="drawer-body">
    <div class="field presets"><label><span>Preset</span><select><option>Glimpse</option><option>As in the Space</option><option>As in the paper</option><option>Exactly transformers’ defaults</option></select></label><p class="hint">Sets everything below in one go.</p></div>
    <fieldset class="choice decoding"><legend>Decoding</legend><div class="choices"><label><input type="radio" name="decoding" value="greedy"><span>Greedy</span></label><label><input type="radio" name="decoding" value="beams"><span>Beam search</span></label><label><input type="radio" name="decoding" value="sampling" checked><span>Sampling</span></label></div><p class="hint">Rolls the dice for each word, so every try reads a little different.</p></fieldset>
    ${field('Temperature', '1', 'Low plays safe, high gets adventurous.')}
    ${field('Top p', '0.9', 'Draws only from the likeliest words that add up to this share.')}
    ${field('Top k', '50', 'Draws only from this many words. 0 means all.')}
    ${field('Seed', '', 'The same number gives the same answer again.', 'number', 'placeholder="Random"')}
    ${field('Max new tokens', '50', 'The longest an answer may get. A token is about a word.')}
    <div class="field off"><label><span>Beams</span><input type="number" value="5" disabled></label><p class="hint">Only with Beam search.</p></div>
    <details class="more"><summary>More${i('chevdown')}</summary>${field('Min new tokens', '1', 'Keeps short answers going.')}${field('Repetition penalty', '1', 'Above 1, it repeats itself less.')}</details>
    <fieldset class="choice"><legend>Appearance</legend><div class="choices"><label><input type="radio" name="theme" checked><span>${i('auto')}Auto</span></label><label><input type="radio" name="theme"><span>${i('sun')}Light</span></label><label><input type="radio" name="theme"><span>${i('moon')}Dark</span></label></div></fieldset>
    <div class="field presets"><label><span>Language</span><select><option>English</option></select></label></div>
  </div>
  <div class="drawer-foot"><p class="hint">Kept in this browser.</p><button type="button" class="reset">Reset</button></div>
</div>`
const kept = (img, title, when, o = {}) => `<li${o.current ? ' aria-current="true"' : ''}><a href="#"><img src="../../../public/examples/${img}" alt="" width="48" height="48"><span class="title" dir="auto">${title}</span><span class="when">${when}</span></a><span class="kept-tools">${tool('pin', o.pinned ? 'Unpin' : 'Pin', { attrs: `aria-pressed="${!!o.pinned}"` })}${tool('edit', 'Rename')}${tool('trash', 'Delete')}</span></li>`
export const history = (open) => `
<div class="drawer history" id="history" popover="auto" role="dialog" aria-labelledby="history-title"${open ? ' data-open' : ''}>
  <div class="drawer-head"><h2 id="history-title">History</h2><button type="button" class="tool" title="Close" popovertarget="history" popovertargetaction="hide">${i('close')}<span class="unseen">Close</span></button></div>
  <div class="search">${i('search')}<input type="search" aria-label="Search conversations" placeholder="Search"></div>
  <div class="drawer-body">
    <h3>Pinned</h3><ul>${kept('1.png', 'A bee, a bus, a crown and a flower', 'Monday', { pinned: true })}</ul>
    <h3>Today</h3><ul>${kept('8.png', 'What colour is the umbrella?', 'Now · 3 questions', { current: true })}${kept('3.png', 'How many snails are in the picture?', '9:14 · 1 question')}${kept('2.png', 'What is above the rocket?', '8:52 · 2 questions')}</ul>
    <h3>Earlier</h3><ul>${kept('7.png', 'Is there a donut in the image?', '21 November')}${kept('8.png', 'How many objects can you see?', '19 November')}</ul>
  </div>
  <div class="drawer-foot"><p class="hint">6 of 50 conversations, kept for 30 days. Only you can see them.</p><button type="button" class="danger">${i('trash')}<span>Delete all</span></button></div>
</div>`
export const fromAddress = (open) => `<div class="float from-address" id="from-address" popover="auto" role="dialog" aria-label="Picture from an address"${open ? ' data-open' : ''}><input type="text" inputmode="url" name="address" form="ask" aria-label="Picture address" placeholder="https://…"><button type="submit" form="ask" class="again">Open</button></div>`
export const examplesPopover = (open) => `<div class="float examples-float" id="examples" popover="auto" role="dialog" aria-label="Examples to try"${open ? ' data-open' : ''}>${examples}</div>`

export const further = turn => turn
export const attempted = () => turn('What is happening here?', `<p class="answer" dir="auto">a quiet day at the beach with an umbrella, a towel and</p><p class="note">Cut off at 12 tokens. <button type="button" class="again">Continue</button></p><ul class="further" aria-label="Further answers"><li dir="auto">two boats sail past a sunny beach</li><li dir="auto">somebody left a towel and a ball in the sand</li></ul>` + actions({ pager: 1, bad: 1 }) + `<div class="feedback"><input type="text" aria-label="What was wrong?" placeholder="What was wrong? (optional)"><button type="button" class="again">Send</button></div>`)
export const stopped = () => turn('Tell me a story about it', `<p class="answer" dir="auto">Once upon a time there was a</p><p class="note">Stopped here.</p>` + actions())
export const empty = () => turn('Why?', `<p class="note">The model gave no answer. Try other words. <button type="button" class="again">${i('describe')}<span>Describe</span></button></p>` + actions())
export const editing = () => `<article class="turn" aria-label="Editing a question"><div class="asked editing"><textarea aria-label="Edit the question" rows="1">How many boats are on the water?</textarea><p class="ways-on"><button type="button" class="quiet">Cancel</button><button type="button" class="primary">Ask</button></p></div></article>`
export const compared = () => `<article class="turn" aria-labelledby="qc"><p class="asked" id="qc" dir="auto">What colour is the umbrella?</p><div class="compared">${['blip2-flan-t5-xl', 'blip-vqa-base'].map((m, k) => `<section class="of-model" aria-label="Answer of ${m}"><p class="by"><span>${m}</span> · ${k ? '0.2' : '0.8'} s</p><p class="answer" dir="auto">${k ? 'red' : 'red and white'}</p>${actions({ noEdit: 1 })}</section>`).join('')}</div></article>`
const bar = (t, m, c) => `<li><span class="text" dir="auto">${t}</span><span class="match"><span class="word">match </span>${m} %</span><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="${m}" height="1"/></svg><span class="cosine">cosine ${c}</span></li>`
export const matched = () => turn('Match 3 texts', `<ol class="matches" aria-label="How well each text fits, the best first">${bar('a beach with a red umbrella', 96, '0.471')}${bar('two boats on the sea', 61, '0.422')}${bar('a dog in the snow', 2, '0.183')}</ol>`)
export const texts = `<form class="composer" id="ask" novalidate><div class="texts" role="group" aria-label="Texts to compare the picture with">${['a beach with a red umbrella', 'two boats on the sea', ''].map((t, k) => `<div class="text"><input type="text" aria-label="Text ${k + 1}" placeholder="A text" value="${t}"><button type="button" class="tool" title="Remove">${i('close')}<span class="unseen">Remove text ${k + 1}</span></button></div>`).join('')}</div><div class="buttons"><button type="submit" class="ask">${i('send')}<span>Match</span></button><button type="button" class="add">${i('plus')}<span>Add a text</span></button></div></form>`
export const banner = `<div class="alert"><p role="alert">${i('warning')}You’re offline. Your answer will be here when you’re back.</p><button type="button" class="again">Try now</button><button type="button" class="tool" title="Dismiss">${i('close')}<span class="unseen">Dismiss</span></button></div>`
export const share = (open) => `<div class="float share" id="share" popover="auto" role="dialog" aria-labelledby="share-title"${open ? ' data-open' : ''}><h2 id="share-title">Share this conversation</h2><p class="hint">Anyone with the address can read it and see the picture. Nobody can add to it. You can take it back at any time.</p><div class="row"><input type="text" readonly aria-label="Address" value="https://glimpse.example/s/7f3k9q"><button type="button" class="primary">${i('copy')}<span>Copy</span></button></div><p class="row wrap"><button type="button" class="quiet">Markdown</button><button type="button" class="quiet">JSON</button><button type="button" class="quiet">Web page</button><button type="button" class="danger quiet">Stop sharing</button></p></div>`
export const dropping = `<div class="dropping" aria-hidden="true"><p>${i('picture')}<strong>Drop the picture</strong><span>It starts a new conversation. This one stays in your history.</span></p></div>`
export const camera = `<div class="camera" role="dialog" aria-label="Camera"><div class="view"><div class="frame"><img src="../../../public/examples/8.png" srcset="../../../public/examples/8.png 0.1x" alt=""></div></div><p class="shutter-row">${tool('close', 'Cancel', {})}<button type="button" class="shutter"><span class="unseen">Take the picture</span></button>${tool('replace', 'Other camera', {})}</p></div>`
export const lost = `<main class="lost"><svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M2 16C7 7 25 7 30 16 25 25 7 25 2 16Z"/><circle cx="16" cy="16" r="5.4"/></svg><h1>There’s nothing here</h1><p>The conversation was deleted, or the address has a typo.</p><form method="get" action="/"><button type="submit" class="primary">${i('plus')}<span>New conversation</span></button></form></main>`
export const toEnd = `<button type="button" class="to-end" title="To the newest answer">${i('chevdown')}<span class="unseen">To the newest answer</span></button>`
export const keys = (open) => `<div class="float keys" id="keys" popover="auto" role="dialog" aria-labelledby="keys-title"${open ? ' data-open' : ''}><h2 id="keys-title">Keyboard</h2><dl>${[['Enter', 'Ask'], ['Shift + Enter', 'New line'], ['Esc', 'Stop the answer'], ['↑ ↓', 'From turn to turn'], ['+ − 0', 'Zoom the picture'], ['?', 'This list']].map(([k, v]) => `<div><dt><kbd>${k}</kbd></dt><dd>${v}</dd></div>`).join('')}</dl></div>`

export const start = `<div class="start"><h2>What would you like to know?</h2><p class="suggestions" role="group" aria-label="Suggestions"><button type="button">Describe the picture</button><button type="button">What is in the background?</button><button type="button">What colours stand out?</button></p></div>`

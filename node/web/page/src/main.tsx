// The page: who is in sees groups on the left, one of them in the middle, its people on the
// right. Nothing here knows more than the API tells.
import { render } from 'preact'
import { effect } from '@preact/signals'
import { useState } from 'preact/hooks'
import { Chat } from './chat'
import { Left } from './left'
import { Doctor, Find, First, Found } from './pages'
import { Search, within } from './search'
import { Side } from './side'
import { ended, Fault, login, token } from './net'
import { byAddress, go, groups, keepUp, linked, me, place, said, seen, side, unread, unsent, watchDeliveries } from './state'
import { unkept } from './draft'
import { Copy, sentence } from './parts'
import { clean } from './words'

function App() {
  if (!token.value) return <Door />
  if (!me.value || !groups.value) return <div class="door"><p role="status">{linked.value ? 'Asking the node…' : 'The node does not answer. Trying again…'}</p>{!linked.value && <Away />}</div>
  const v = place.value
  const inside = v.view !== 'group' || !!v.id
  return (
    <div class={'page' + (inside ? ' inside' : '') + (side.value && v.view === 'group' && v.id ? ' aside' : '')}>
      <a class="skip" href="#middle" onClick={(e) => { e.preventDefault(); document.querySelector<HTMLElement>('.write textarea, main button, main input')?.focus() }}>To the messages</a>
      {!linked.value && <div class="banner" role="alert">The node does not answer. Trying again… What you write stays in this tab.<Away /></div>}
      <Left />
      {v.view === 'new' ? <Found /> : v.view === 'find' ? <Find /> : v.view === 'doctor' ? <Doctor /> : v.view === 'search' ? <Search /> : groups.value.length === 0 ? <First /> : <Chat />}
      <Side />
      <div class="sr" aria-live="polite">{said.value}</div>
    </div>
  )
}

/** Away says what helps if the node does not come back by itself. */
function Away() {
  return (
    <ul class="facts">
      <li>If it has stopped: <code>pandanode run --detach</code> starts it.</li>
      <li>If it is locked, since it was started where nobody could be asked: <code>pandanode unlock</code> opens its store with the passphrase. A page is not asked for that.</li>
      <li>Once it runs again: <code>pandanode web</code> prints a new link. The page is closed until then.</li>
    </ul>
  )
}

let refused: Fault | null = null

function Door() {
  const [why] = useState(refused)
  const left = [...unsent(), ...unkept()]
  return (
    <main class="door">
      <img src="/icon.svg" alt="" width="88" height="88" />
      <h1>pandanode</h1>
      <p>{why ? sentence(why.message) : ended.value ? 'This tab was logged in, and is not any more. A session ends with its node, by “pandanode web end”, 12 hours after it was last used, and after 7 days.' : 'This tab is not logged in.'}</p>
      <p>Type this in a terminal of this machine, and open the link that it prints:</p>
      <pre><code>pandanode web</code></pre>
      {left.length > 0 && <section class="left-over"><h2>Not sent from this tab</h2>{left.map((text) => <div class="row"><p class="grow" dir="auto">{clean(text)}</p><Copy text={text} /></div>)}</section>}
      <p class="faint">Each link logs in one tab, once, within a minute.</p>
    </main>
  )
}

function keys(e: KeyboardEvent) {
  if (e.key === '/' && !e.ctrlKey && !e.metaKey && me.peek() && !(e.target as Element).closest('input, textarea, select, dialog')) {
    e.preventDefault()
    within.value = ''
    return go({ view: 'search' })
  }
  if (!e.altKey || e.ctrlKey || e.metaKey || (e.key !== 'ArrowUp' && e.key !== 'ArrowDown')) return
  const all = groups.peek() || []
  const at = all.findIndex((g) => g.id === place.peek().id)
  const next = all[at + (e.key === 'ArrowDown' ? 1 : -1)]
  if (next) {
    e.preventDefault()
    go({ view: 'group', id: next.id })
  }
}

async function begin() {
  try {
    await login()
  } catch (e) {
    refused = e instanceof Fault ? e : null
  }
  const app = document.getElementById('app')!
  render(<App />, app)
  effect(() => {
    const n = (groups.value || []).reduce((sum, g) => sum + (g.muted ? g.mention_count : unread(g)), 0)
    const here = groups.value?.find((g) => g.id === place.value.id)
    document.title = (n ? `(${n}) ` : '') + (here ? clean(here.name) + ' – ' : '') + 'pandanode'
  })
  let up = false
  effect(() => {
    if (token.value && !up) {
      up = true
      void keepUp().finally(() => (up = false))
    }
    if (!token.value) {
      me.value = null
      groups.value = null
    }
  })
  watchDeliveries()
  addEventListener('keydown', keys)
  addEventListener('popstate', byAddress)
  addEventListener('hashchange', () => {
    if (location.hash.startsWith('#login=')) void login().catch((e) => (refused = e instanceof Fault ? e : null))
  })
  addEventListener('focus', seen)
  document.addEventListener('visibilitychange', seen)
}

void begin()

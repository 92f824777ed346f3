// The left: groups, and ways to others.
import { Icon } from './icons'
import { useRef } from 'preact/hooks'
import type { Group } from './api.gen'
import { leave, ask } from './net'
import { go, groups, now, place, unread } from './state'
import { within } from './search'
import { ago, clean, hue, initial } from './words'
import { You } from './you'

export function Left() {
  const list = useRef<HTMLElement>(null)
  const walk = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowDown' ? 1 : e.key === 'ArrowUp' ? -1 : 0
    if (!step) return
    const all = [...list.current!.querySelectorAll<HTMLElement>('.group')]
    const at = all.indexOf(document.activeElement as HTMLElement)
    const next = all[at + step]
    if (at >= 0 && next) {
      e.preventDefault()
      next.focus()
    }
  }
  const view = place.value.view
  return (
    <nav class="left" aria-label="Groups">
      <header>
        <img src="/icon.svg" alt="" width="32" height="32" />
        <h1 class="grow">pandanode</h1>
        <button class="icon" aria-label="Search in all groups" title="Search in all groups (/)" aria-current={view === 'search' ? 'page' : undefined} onClick={() => { within.value = ''; go({ view: 'search' }) }}><Icon of="search" /></button>
      </header>
      <div class="row ways">
        <button aria-current={view === 'new' ? 'page' : undefined} onClick={() => go({ view: 'new' })}>+ New group</button>
        <button aria-current={view === 'find' ? 'page' : undefined} onClick={() => go({ view: 'find' })}>Find or join</button>
      </div>
      <section class="groups" ref={list} onKeyDown={walk} aria-label="Your groups">
        {groups.value?.map((g) => <Line key={g.id} g={g} />)}
        {groups.value?.length === 0 && <p class="faint pad">No groups yet.</p>}
      </section>
      <footer>
        <You />
        <button class="icon" aria-label="How the node is" title="How the node is" aria-current={view === 'doctor' ? 'page' : undefined} onClick={() => go({ view: 'doctor' })}><Icon of="doctor" /></button>
        <button class="icon" aria-label="Log this tab out" title="Log this tab out" onClick={() => void ask('POST', '/logout').finally(leave)}><Icon of="out" /></button>
      </footer>
    </nav>
  )
}

export const standing: Record<string, string> = {
  loading: 'is being loaded',
  joining: 'joining: waits for a member',
  syncing: 'catching up',
  out: 'you are out',
  refused: 'you were not let in',
}

function Line({ g }: { g: Group }) {
  const n = unread(g)
  const here = place.value.view === 'group' && place.value.id === g.id
  const mentions = g.mention_count
  return (
    <button class="group" aria-current={here ? 'page' : undefined} onClick={() => go({ view: 'group', id: g.id })}>
      <span class={'face ' + hue(g.id)} aria-hidden="true">{initial(g.name)}</span>
      <span class="grow">
        <span>{g.pinned && <><Icon of="pin" /><span class="sr">pinned </span></>}<bdi class={n && !g.muted ? 'strong' : ''}>{clean(g.name)}</bdi>{g.muted && <> <Icon of="mute" /><span class="sr"> muted</span></>}</span>
        <small>{standing[g.state] || (g.leaving ? 'leaving' : clean(g.description) || (g.members === 1 ? 'only you' : g.members + ' members'))}</small>
      </span>
      <span class="stack">
        <small>{g.active && ago(g.active, now.value)}</small>
        {n > 0 && <span class={mentions ? 'count hot' : g.muted ? 'count still' : 'count'}>{mentions ? '@ ' : ''}{n >= 1000 ? '999+' : n}<span class="sr"> unread</span></span>}
      </span>
    </button>
  )
}

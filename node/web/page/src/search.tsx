// Search: messages that have words, in one group or in all of them.
import type { ComponentChildren } from 'preact'
import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { Message } from './api.gen'
import { goTo } from './chat'
import { Fault, gather, path } from './net'
import { Head } from './pages'
import { Trouble } from './parts'
import { groups, now, trouble } from './state'
import { ago, clean, moment, Name, plain, short } from './words'

const words = signal('')
export const within = signal('') // a group's ID; empty: all
const found = signal<Message[] | null>(null)
const busy = signal(false)
const further = signal<Map<string, number>>(new Map()) // groups that may have more, with the cursor before which
let asked = { words: '', within: '' }
let control: AbortController | undefined

const page = 30 // hits of a group at a time

/** look asks the groups, a few at a time: a browser has few connections to one place. */
async function look(from: Map<string, number>) {
  control?.abort()
  const mine = (control = new AbortController())
  const { words } = asked
  busy.value = true
  trouble.value = null
  const rest = [...from]
  const next = new Map<string, number>()
  const one = async () => {
    for (let g = rest.shift(); g && !mine.signal.aborted; g = rest.shift()) {
      const [id, before] = g
      const { items } = await gather<Message>(path`/v1/groups/${id}/search?words=${words}&limit=${page}&before=${before}`, page, mine.signal)
      if (mine.signal.aborted) return
      if (items.length === page) next.set(id, items.at(-1)!.cursor)
      if (items.length) found.value = (found.peek() || []).concat(items).sort((a, b) => b.sent.localeCompare(a.sent))
    }
  }
  try {
    await Promise.all([one(), one(), one()])
    if (!mine.signal.aborted) further.value = next
  } catch (e) {
    if (!mine.signal.aborted) {
      mine.abort()
      trouble.value = e instanceof Fault ? e : new Fault({ message: String(e) })
    }
  } finally {
    if (control === mine) busy.value = false
  }
}

function begin() {
  asked = { words: words.peek().trim(), within: within.peek() }
  if (!asked.words) return
  found.value = []
  further.value = new Map()
  void look(new Map((groups.peek() || []).filter((g) => (!asked.within || g.id === asked.within) && g.state !== 'joining' && g.state !== 'refused').map((g) => [g.id, 0])))
}

const fold = (s: string) => s.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()

/** Marked shows a text from where the first word is, with the words marked. */
function Marked({ text }: { text: string }) {
  const terms = asked.words.split(/["\s]+/).map(fold).filter(Boolean)
  let folded = ''
  const at: number[] = [] // of each character of folded, where it is in text
  for (let i = 0; i < text.length; ) {
    const c = String.fromCodePoint(text.codePointAt(i)!)
    for (const f of fold(c)) for (let k = 0; k < f.length; k++) at.push(i)
    folded += fold(c)
    i += c.length
  }
  const hits: [number, number][] = []
  for (const t of terms) for (let i = folded.indexOf(t); i >= 0 && hits.length < 100; i = folded.indexOf(t, i + t.length)) hits.push([at[i]!, at[i + t.length] ?? text.length])
  hits.sort((a, b) => a[0] - b[0])
  const start = Math.max(0, (hits[0]?.[0] ?? 0) - 60)
  const end = Math.min(text.length, start + 260)
  const parts: ComponentChildren[] = [start ? '…' : '']
  let here = start
  for (const [a, b] of hits) {
    if (a < here || a >= end) continue
    parts.push(text.slice(here, a), <mark>{text.slice(a, b)}</mark>)
    here = b
  }
  parts.push(text.slice(here, Math.max(here, end)), end < text.length ? '…' : '')
  return <>{parts}</>
}

export function Search() {
  const line = useRef<HTMLInputElement>(null)
  useEffect(() => line.current!.select(), [])
  const list = found.value
  return (
    <main class="middle">
      <Head title="Search" />
      <Trouble of={trouble.value} />
      <div class="sheet">
        <form role="search" class="row" onSubmit={(e) => { e.preventDefault(); begin() }}>
          <label class="grow">Words, or "some words" as they stand<input ref={line} required autoFocus dir="auto" maxLength={200} value={words.value} onInput={(e) => (words.value = e.currentTarget.value)} /></label>
          <label class="in">In<select value={within.value} onChange={(e) => { within.value = e.currentTarget.value; if (asked.words) begin() }}>
            <option value="">all groups</option>
            {groups.value?.map((g) => <option value={g.id}>{clean(g.name)}</option>)}
          </select></label>
          <button class="good">Search</button>
        </form>
        <p class="faint" role="status">{busy.value ? 'Looking…' : list && (list.length ? `${list.length}${further.value.size ? ' and more' : ''} found` : 'Nothing was found. A word is found by its beginning, too.')}</p>
        <ul class="hits">{list?.map((m) => (
          <li key={m.id}>
            <button class="hit" onClick={() => void goTo(m.group, m.id, m.cursor)}>
              <small><b><Name id={m.user} name={m.name} /></b>{!asked.within && <> in <bdi>{clean(groups.value?.find((g) => g.id === m.group)?.name) || short(m.group)}</bdi></>}<time dateTime={m.sent} title={moment(m.sent)}>{ago(m.sent, now.value)}</time></small>
              <span dir="auto"><Marked text={plain(m)} /></span>
            </button>
          </li>
        ))}</ul>
        {further.value.size > 0 && !busy.value && <div class="row end"><button onClick={() => void look(further.value)}>Look further back</button></div>}
      </div>
    </main>
  )
}

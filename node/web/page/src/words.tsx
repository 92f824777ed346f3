// Text of other people, times and marks, as they are shown.
import type { ComponentChildren } from 'preact'
import type { Event, Member, Message, Span } from './api.gen'
import { me, members } from './state'

// Characters that turn or hide what follows are shown as a mark. Joiners, variation selectors
// and the marks of a direction alone stay: emoji and many languages need them.
const hostile = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029\u00ad\u180e\u2060-\u2064\ufeff]/g
export const clean = (s: string | undefined) => (s || '').replace(hostile, '\ufffd')

export const short = (id: string) => id.slice(0, 16)

const plainName = (s: string) => clean(s).normalize('NFKD').replace(/[\p{M}\p{Cf}\s]/gu, '').toLowerCase()

/** verified says whether people of this node verified a user. Nobody else's name has the mark: the node takes it out. */
export const verified = (id: string | undefined) => members.value.list.some((m) => m.user === id && m.verified) || members.value.known.some((k) => k.id === id && k.verified)

const wrong = 'NOT the one you verified'

/** doubt says why a name could be taken for another's; the node knows better than this of members. */
function doubt(id: string, name: string) {
  const member = members.value.list.find((m) => m.user === id)
  if (member) return member.doubt || ''
  const is = (x: string) => plainName(x) !== '' && plainName(x) === plainName(name)
  if (!verified(id) && members.value.known.some((k) => k.id !== id && k.verified && is(k.name || ''))) return wrong
  return [...members.value.list.map((m) => [m.user, m.name]), ...members.value.known.map((k) => [k.id, k.name || ''])].some(([x, y]) => x !== id && is(y!)) ? "name like another's" : ''
}

/** Name shows a name with the mark of a user who was verified; beside it the ID, where it could be taken for another's. */
export function Name({ id, name }: { id: string; name: string }) {
  const shown = clean(name) || short(id)
  const why = doubt(id, name)
  return (
    <>
      {verified(id) && <span class="verified" role="img" aria-label="verified" title="You verified this user">✓</span>}
      <bdi title={id}>{why ? `${shown} (${short(id)})` : shown}</bdi>
      {why === wrong && <strong class="wrong"> {wrong}</strong>}
    </>
  )
}

/** called is that as a text. */
export function called(id: string | undefined, name: string | undefined): string {
  if (!id) return clean(name)
  const why = doubt(id, name || '')
  return (verified(id) ? '✓ ' : '') + (clean(name) || short(id)) + (why ? ` (${why === wrong ? wrong + ', ' : ''}${short(id)})` : '')
}

export const nameOf = (m: Pick<Member, 'user' | 'name'>) => called(m.user, m.name)

/** hue is one of eight colours for a user, the same everywhere. */
export function hue(id: string) {
  let n = 0
  for (const c of id) n = (n * 31 + c.charCodeAt(0)) | 0
  return 'hue' + (Math.abs(n) % 8)
}

export const initial = (s: string) => [...new Intl.Segmenter().segment(clean(s).trim() || '?')][0]!.segment.toUpperCase()

const link = /\bhttps?:\/\/[^\s<>"'\ufffd]+[^\s<>"'\ufffd.,;:!?)\]}]/g

/** Text shows what somebody wrote: as text, with links that begin with http. */
export function Text({ children }: { children: string }) {
  const text = clean(children)
  const out: ComponentChildren[] = []
  let at = 0
  for (const m of text.matchAll(link)) {
    out.push(text.slice(at, m.index), <a href={m[0]} target="_blank" rel="noopener noreferrer">{m[0]}</a>)
    at = m.index + m[0].length
  }
  out.push(text.slice(at))
  return <>{out}</>
}

const blocks = /^(paragraph|heading|quote|list|item|code-block|rule|table|row)$/

function flat(all: Span[]): string {
  return all.map((s) => (s.kind === 'mention' ? '@' + (s.name || short(s.user || '')) : s.kind === 'break' || s.kind === 'rule' ? '\n' : (s.text || '') + flat(s.spans || []) + (blocks.test(s.kind) ? '\n' : s.kind === 'cell' ? ' ' : ''))).join('')
}

/** plain is what a message says, as text alone. */
export const plain = (m: Message) => clean((m.spans ? flat(m.spans) : m.text || (m.files || []).map((f) => f.name || 'a file').join(', ')).trim())

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' })
const date = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
const dated = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' })
const brief = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })

export const time = (t: string) => clock.format(new Date(t))
export const moment = (t: string) => full.format(new Date(t))
export const dayOf = (t: string) => new Date(t).toDateString()

export function day(t: string, now: number) {
  const d = new Date(t)
  if (d.toDateString() === new Date(now).toDateString()) return 'Today'
  if (d.toDateString() === new Date(now - 86_400_000).toDateString()) return 'Yesterday'
  return d.getFullYear() === new Date(now).getFullYear() ? date.format(d) : dated.format(d)
}

export function ago(t: string, now: number) {
  const d = new Date(t)
  if (d.toDateString() === new Date(now).toDateString()) return clock.format(d)
  if (d.toDateString() === new Date(now - 86_400_000).toDateString()) return 'Yesterday'
  return brief.format(d)
}

export const count = (n: number, one: string, many = one + 's') => `${n} ${n === 1 ? one : many}`

/** telling says what an event of a timeline is. */
export function telling(e: Event): string {
  const mine = me.value?.user
  const user = e.user && e.user === mine ? 'you' : (e.user ? called(e.user, e.user_name) : 'somebody')
  const by = e.by && e.by === mine ? 'You' : (e.by ? called(e.by, e.by_name) : '')
  const up = (s: string) => s.charAt(0).toUpperCase() + s.slice(1)
  const detail = clean(e.detail)
  switch (e.kind) {
    case 'joined':
      return detail === 'founded' ? 'You founded the group' : 'You joined the group'
    case 'out':
      return 'You are not in this group any more'
    case 'member-added':
      return by && e.by !== e.user ? `${by} let ${user} in` : `${up(user)} joined`
    case 'member-removed':
      return by ? `${by} removed ${user}` : `${up(user)} was removed`
    case 'member-left':
      return `${up(user)} left`
    case 'role':
      return `${by || 'Somebody'} made ${user} ${detail}`
    case 'profile': {
      const [field, value] = cut(detail)
      return field === 'name' ? `${by || 'Somebody'} named the group “${text(value)}”` : `${by || 'Somebody'} changed the ${field}: ${text(value)}`
    }
    case 'setting': {
      const [key, value] = cut(detail)
      if (key === 'expiry') return value === '""' ? `${by || 'Somebody'} lets messages stay` : `${by || 'Somebody'} lets messages expire after ${value.replaceAll('"', '')}`
      if (key === 'files.max') return value === '""' ? `${by || 'Somebody'} lets files have any size` : `${by || 'Somebody'} lets files have at most ${value.replaceAll('"', '')}`
      return `${by || 'Somebody'} set ${key} to ${value}`
    }
    case 'join-requested':
      return `${detail || up(user)} asks to be let in`
    case 'join-denied':
      return `${by || 'Somebody'} did not let ${user} in`
    case 'device-revoked':
      return `${by || 'Somebody'} revoked a device of ${user}`
    case 'reboot':
      return `${by || 'Somebody'} gave the group fresh keys`
    case 'removal-cancelled':
      return `The removal of ${user} does not count`
  }
  return up(e.kind.replaceAll('-', ' '))
}

/** text is what a value in JSON says, if that is a text. */
function text(value: string): string {
  try {
    const v: unknown = JSON.parse(value)
    if (typeof v === 'string') return clean(v)
  } catch { /* it is shown as it is */ }
  return value
}

function cut(s: string): [string, string] {
  const i = s.indexOf(' ')
  return i < 0 ? [s, ''] : [s.slice(0, i), s.slice(i + 1)]
}

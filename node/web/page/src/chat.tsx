// The middle: a group's timeline, and the line to write in.
import { Icon } from './icons'
import { signal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Explanation, Group, Happening, Message } from './api.gen'
import { ask, path } from './net'
import { attempt, dropPending, go, groups, me, members, now, open, place, refresh, send, showsEnd, side, Timeline, timelineOf, trouble } from './state'
import type { Pending } from './state'
import { Attached, filesOf, Holders, UploadLine, Viewer } from './files'
import { attach, edit, reply, Writing } from './write'
import { standing } from './left'
import { within } from './search'
import { Said } from './spans'
import { openThread } from './thread'
import { Copy, Dialog, Empty, sentence, Sure, Trouble } from './parts'
import { called, clean, count, day, dayOf, hue, initial, moment, Name, telling, Text, time } from './words'

const active = signal('') // the message whose actions show
const asking = signal<Message | null>(null) // why
const deleting = signal<Message | null>(null)
const dropping = signal(false) // files are held over the group
const picking = signal<Message | null>(null)

export function Chat() {
  const g = open.value
  if (!g) return <main class="middle"><Empty><p>{place.value.id ? 'This group is not here.' : 'Choose a group.'}</p></Empty></main>
  const t = timelineOf(g.id)
  const over = (e: DragEvent) => { if (may && e.dataTransfer?.types.includes('Files')) { e.preventDefault(); dropping.value = true } }
  const may = (g.state === 'member' || g.state === 'syncing') && g.role !== 'read-only' && !g.leaving
  return (
    <main class={'middle' + (dropping.value ? ' dropping' : '')} key={g.id} onDragOver={over} onDragLeave={(e) => e.target === e.currentTarget && (dropping.value = false)}
      onDrop={(e) => { dropping.value = false; if (may && e.dataTransfer?.types.includes('Files')) { e.preventDefault(); attach(g.id, filesOf(e.dataTransfer)) } }}>
      <header>
        <button class="icon back" aria-label="Back to the groups" onClick={() => go({ view: 'group' })}><Icon of="back" /></button>
        <span class={'face ' + hue(g.id)} aria-hidden="true">{initial(g.name)}</span>
        <div class="grow">
          <h2 dir="auto">{clean(g.name)}</h2>
          <small>{standing[g.state] || `${count(g.members, 'member')}, ${count(g.topic_peers, 'connection')}${g.private ? ', private' : ''}`}</small>
        </div>
        <button class="icon" aria-label="Search in this group" title="Search in this group" onClick={() => { within.value = g.id; go({ view: 'search' }) }}><Icon of="search" /></button>
        <button class="icon" aria-label="Members and settings" aria-expanded={side.value !== ''} onClick={() => (side.value = side.value ? '' : 'members')}><Icon of="menu" /></button>
      </header>
      <Trouble of={trouble.value} />
      {g.state === 'joining' || g.state === 'refused' ? <Joining g={g} /> : <Log t={t} g={g} />}
      {may && <Writing key={'w' + g.id} g={g} t={t} />}
      {g.state === 'out' && <p class="note">You are not in this group any more. What you have of it stays until you forget it, under Settings.</p>}
      {g.role === 'read-only' && g.state === 'member' && <p class="note">You may read in this group, and not write.</p>}
      {asking.value && <Why m={asking.value} close={() => (asking.value = null)} />}
      {dropping.value && <div class="dropzone" aria-hidden="true">Drop files here to send them to {clean(g.name)}</div>}
      <Viewer />
      {picking.value && <Pick m={picking.value} close={() => (picking.value = null)} />}
      {deleting.value && (
        <Sure title="Delete this message?" text="It is taken away for everybody who has not read it yet, and from the screens of all others. Somebody who kept it keeps it." yes="Delete"
          act={() => attempt(() => ask('DELETE', path`/v1/groups/${deleting.peek()!.group}/messages/${deleting.peek()!.id}`))} close={() => setTimeout(() => (deleting.value = null))} />
      )}
    </main>
  )
}

function Joining({ g }: { g: Group }) {
  const [why, set] = useState<Explanation | null>(null)
  useEffect(() => {
    let here = true
    const look = () => ask<Explanation>('GET', path`/v1/groups/${g.id}/why/join`).then((e) => here && set(e), () => undefined)
    void look()
    const t = setInterval(look, 5000)
    return () => { here = false; clearInterval(t) }
  }, [g.id, g.state])
  const end = () => attempt(async () => {
    await ask('POST', path`/v1/groups/${g.id}/${g.state === 'refused' ? 'forget' : 'leave'}`)
    await refresh(g.id)
    if (!groups.value?.some((x) => x.id === g.id)) go({ view: 'group' })
  })
  return (
    <Empty>
      <h3>{g.state === 'refused' ? 'You were not let in' : 'You asked to be let in'}</h3>
      {g.missing && <p>{sentence(clean(g.missing))}</p>}
      {why && <ul class="facts">{[...(why.facts || []), ...(why.next || [])].map((f) => <li>{sentence(clean(f))}</li>)}</ul>}
      {g.state === 'joining' && <p class="faint">This goes on by itself, also when you close the page.</p>}
      <button onClick={() => void end()}>{g.state === 'refused' ? 'Take it off the list' : 'Ask no more'}</button>
    </Empty>
  )
}

// The log renders a window of the items, so that a long history costs as much as a short one.
const room = () => Math.max(30, Math.ceil(innerHeight / 30) + 14)
const step = 12

function Log({ t, g }: { t: Timeline; g: Group }) {
  const box = useRef<HTMLDivElement>(null)
  const items = t.items.value
  const pending = t.pending.value
  const [size] = useState(room)
  const [end, setEnd] = useState(Infinity) // the window ends before this item; Infinity: with the newest
  const anchor = useRef<{ key: string; top: number } | null>(null)
  const stuck = useRef(true) // to the end
  const loading = useRef(false)
  const first = useRef(items[0])
  let last = Math.min(end, items.length)
  if (end !== Infinity && first.current && items[0] !== first.current) { // earlier ones were put before
    const moved = items.indexOf(first.current)
    if (moved > 0) last = Math.min(end + moved, items.length)
  }
  const start = Math.max(0, last - size)
  const shown = items.slice(start, last)

  const aim = goal.value?.group === g.id ? goal.value : null
  const hold = () => { // remember where something on the screen is
    const el = box.current
    if (!el) return // it went while earlier messages came
    const top = el.getBoundingClientRect().top
    for (const row of el.children) {
      const r = row.getBoundingClientRect()
      if (r.bottom > top + 1 && (row as HTMLElement).dataset.key) return (anchor.current = { key: (row as HTMLElement).dataset.key!, top: r.top })
    }
  }
  useLayoutEffect(() => {
    const el = box.current!
    if (!t.loaded.value) return
    const aimed = aim ? items.findIndex((h) => h.message?.id === aim.id) : -1
    if (aimed >= 0) { // somebody goes to a place
      stuck.current = false
      showsEnd(false)
      first.current = items[0]
      const row = [...el.children].find((r) => (r as HTMLElement).dataset.id === aim!.id) as HTMLElement | undefined
      if (!row) return setEnd(Math.min(items.length, aimed + (size >> 1)))
      goal.value = null
      anchor.current = null
      if (end === Infinity) setEnd(last)
      row.scrollIntoView({ block: 'center' })
      row.focus({ preventScroll: true })
      row.classList.add('aimed')
      setTimeout(() => row.classList.remove('aimed'), 2500)
      return
    }
    if (items[0] !== first.current) {
      const moved = first.current ? items.indexOf(first.current) : 0
      first.current = items[0]
      if (moved > 0 && end !== Infinity) setEnd(end + moved)
    }
    if (stuck.current && end === Infinity) el.scrollTop = el.scrollHeight
    else if (anchor.current) {
      const row = [...el.children].find((r) => (r as HTMLElement).dataset.key === anchor.current!.key)
      if (row) el.scrollTop += row.getBoundingClientRect().top - anchor.current.top
    }
    anchor.current = null
    if (!stuck.current) fill() // at an end nobody can scroll, so no event would come
  })
  useEffect(() => {
    const el = box.current!
    const grow = new ResizeObserver(() => { if (stuck.current) el.scrollTop = el.scrollHeight })
    grow.observe(el)
    return () => grow.disconnect()
  }, [])

  const earlier = async () => {
    if (loading.current || !t.more.peek()) return
    loading.current = true
    if (end === Infinity) setEnd(items.length)
    hold()
    const was = anchor.current
    try {
      await attempt(async () => {
        const before = t.items.peek()[0]
        await t.earlier()
        anchor.current = was
        const moved = t.items.peek().indexOf(before!)
        if (moved > 0) hold()
      })
    } finally {
      loading.current = false
    }
  }
  /** fill moves the window where it comes near an end of what is shown. */
  const fill = () => {
    const el = box.current!
    if (el.scrollTop < 300) {
      if (start > 0) { hold(); setEnd(Math.max(size, last - step)) }
      else void earlier()
      return true
    }
    if (el.scrollHeight - el.scrollTop - el.clientHeight >= 300) return false
    if (last >= items.length) {
      if (!t.newer.peek() || loading.current) return false
      loading.current = true
      if (end === Infinity) setEnd(items.length)
      void attempt(() => t.onward()).finally(() => (loading.current = false))
      return true
    }
    hold()
    setEnd(Math.min(items.length, last + step))
    return true
  }
  const scrolled = () => {
    const el = box.current
    if (!el) return // the log has gone, the event was on its way
    const below = el.scrollHeight - el.scrollTop - el.clientHeight
    const atEnd = last >= items.length && below < 24 && !t.newer.peek()
    stuck.current = atEnd
    if (atEnd && end !== Infinity) setEnd(Infinity)
    showsEnd(atEnd)
    if (!fill() && end === Infinity && !atEnd) setEnd(items.length)
  }
  const toEnd = () => void (t.newer.peek() ? attempt(() => t.load()) : Promise.resolve()).then(() => { stuck.current = true; setEnd(Infinity); showsEnd(true) })
  useEffect(() => { if (pending.length) toEnd() }, [pending.length])
  const keys = (e: KeyboardEvent) => {
    const row = (e.target as HTMLElement).closest<HTMLElement>('[data-key]')
    if (e.key === 'End' && e.ctrlKey) return toEnd()
    if (!row || (e.target as HTMLElement) !== row) {
      if (e.key === 'Escape') { active.value = ''; row?.focus() }
      return
    }
    let to: Element | null = null
    const step = e.key === 'ArrowUp' ? 'previousElementSibling' : e.key === 'ArrowDown' ? 'nextElementSibling' : ''
    if (step) for (to = row[step]; to && !(to as HTMLElement).dataset.id; ) to = to[step]
    const m = t.message(row.dataset.id!)
    if (to) { e.preventDefault(); (to as HTMLElement).focus() }
    else if (!m || e.ctrlKey || e.metaKey || e.altKey) return
    else if (e.key === 'r') { e.preventDefault(); reply(m) }
    else if (e.key === 't') { e.preventDefault(); openThread(m) }
    else if (e.key === 'e' && m.own) { e.preventDefault(); edit(m) }
    else if (e.key === '+') { e.preventDefault(); picking.value = m }
    else if (e.key === 'Delete') deleting.value = m
    else if (e.key === 'w' || e.key === 'Enter') asking.value = m
  }
  if (!t.loaded.value) return <div class="log" ref={box} aria-busy="true" />
  return (
    <div class="scroll">
      <div class="log" ref={box} role="log" aria-label="Messages" aria-live="polite" tabIndex={0} onScroll={scrolled} onKeyDown={keys}
        onMouseLeave={() => (active.value = '')}>
        {start === 0 && !t.more.value && <p class="begin">This is where <bdi>{clean(g.name)}</bdi> begins.</p>}
        {shown.map((h, i) => <Row key={h.cursor} h={h} before={items[start + i - 1]} after={items[start + i + 1]} fresh={h.cursor === t.newFrom} border={border(items, start + i, t.more.value)} g={g} />)}
        {last === items.length && pending.map((p) => <Waiting key={'p' + p.key} p={p} g={g} />)}
      </div>
      {end !== Infinity && (last < items.length || t.newer.value || !stuck.current) && (
        <button class="down" onClick={toEnd}><Icon of="down" /> {last < items.length || t.newer.value ? 'Newest messages' : 'To the end'}</button>
      )}
    </div>
  )
}

/** run says whether a message goes on what the same person said just before. */
function run(a: Happening | undefined, b: Happening | undefined) {
  return !!a?.message && !!b?.message && a.message.user === b.message.user && dayOf(a.at) === dayOf(b.at) && Math.abs(Date.parse(b.message.sent) - Date.parse(a.message.sent)) < 5 * 60_000
}

/** border is what stands before an item where messages from before this device came in begin or end, which members gave it. Events between messages do not count. */
function border(items: Happening[], i: number, more: boolean) {
  const m = items[i]!.message
  if (!m) return ''
  while (--i >= 0 && !items[i]!.message);
  const before = items[i]?.message
  if (m.earlier && !before?.earlier && (before || !more)) return 'Earlier messages, given by members'
  return !m.earlier && before?.earlier ? 'Since you came in' : ''
}

function Row({ h, before, after, fresh, border, g }: { h: Happening; before?: Happening; after?: Happening; fresh: boolean; border: string; g: Group }) {
  const newDay = !before || dayOf(before.at) !== dayOf(h.at)
  const m = h.message
  return (
    <>
      {newDay && <div class="day" role="separator"><span>{day(h.at, now.value)}</span></div>}
      {fresh && <div class="day new" role="separator"><span>New</span></div>}
      {border && <div class="day earlier" role="separator"><span>{border}</span></div>}
      {m ? <Bubble h={h} m={m} g={g} begins={newDay || fresh || border !== '' || !run(before, h)} ends={!run(h, after)} /> : <p class="event" data-key={h.cursor} title={moment(h.at)}>{telling(h.event!)}</p>}
    </>
  )
}

function Bubble({ h, m, g, begins, ends }: { h: Happening; m: Message; g: Group; begins: boolean; ends: boolean }) {
  const shows = active.value === m.id
  const gone = m.deleted ? `${m.deleted.by === me.value?.user ? 'You' : called(m.deleted.by, m.deleted.name)} deleted this message` : m.expired ? 'This message has expired' : m.cannot_show ? sentence(clean(m.cannot_show)) : ''
  return (
    <article class={'m' + (m.own ? ' own' : '') + (begins ? ' first' : '') + (m.mentions_me ? ' hot' : '')} data-key={h.cursor} data-id={m.id} tabIndex={-1}
      onMouseEnter={() => (active.value = m.id)} onFocusIn={() => (active.value = m.id)} onClick={() => (active.value = m.id)}
      aria-label={`${m.own ? 'You' : called(m.user, m.name)}, ${time(m.sent)}`}>
      {begins && !m.own && <b class={hue(m.user)}><Name id={m.user} name={m.name} /></b>}
      {m.reply_to && <button class="quote" onClick={() => void jump(m.group, m.reply_to!.id)}><b>{m.reply_to.user === me.value?.user ? 'You' : m.reply_to.user ? called(m.reply_to.user, m.reply_to.name) : 'A message that is not here'}</b> {clean(m.reply_to.excerpt)}</button>}
      {gone ? <p class="gone">{gone}</p> : <>
        {m.files?.length ? <Attached files={m.files} /> : null}
        {m.text || !m.files?.length ? <Said m={m} /> : null}
      </>}
      {m.reactions?.length ? (
        <div class="reactions">{m.reactions.map((r) => (
          <button aria-pressed={!!r.mine} aria-label={`${r.text}, ${r.count}: ${r.users.map(userName).join(', ')}`} title={r.users.map(userName).join(', ')} onClick={() => react(m, r.text, !!r.mine)}>{clean(r.text)} {r.count}</button>
        ))}</div>
      ) : null}
      {(m.thread || (m.replies || 0) > 0) && !gone && <button class="mark" onClick={() => openThread(m)}>{m.thread ? 'In a thread' : count(m.replies!, 'answer')}</button>}
      {(ends || m.edited || (m.own && m.state !== 'held')) && (
        <small class="foot">
          {m.edited && 'edited · '}<time dateTime={m.sent} title={moment(m.sent)}>{time(m.sent)}</time>
          {m.own && !m.deleted && <button class="mark" onClick={() => (asking.value = m)} title="Why?">{mark(m)}</button>}
        </small>
      )}
      {shows && !m.deleted && !m.expired && g.state === 'member' && (
        <span class="acts" role="toolbar" aria-label="What to do with this message">
          <button aria-label="React" title="React (+)" onClick={() => (picking.value = m)}><Icon of="react" /></button>
          <button aria-label="Reply" title="Reply (r)" onClick={() => reply(m)}><Icon of="reply" /></button>
          <button aria-label="Thread" title="Thread (t)" onClick={() => openThread(m)}><Icon of="thread" /></button>
          {m.own && <button aria-label="Edit" title="Edit (e)" onClick={() => edit(m)}><Icon of="edit" /></button>}
          {(m.own || g.role === 'owner' || g.role === 'admin') && <button aria-label="Delete" title="Delete (Del)" onClick={() => (deleting.value = m)}><Icon of="bin" /></button>}
          <button aria-label="About this message" title="About this message (w)" onClick={() => (asking.value = m)}><Icon of="info" /></button>
        </span>
      )}
    </article>
  )
}

const userName = (id: string) => (id === me.value?.user ? 'you' : called(id, members.value.list.find((m) => m.user === id)?.name))

function mark(m: Message) {
  if (m.state === 'held') return `✓✓ held by ${m.held_by || 0} of ${m.readers || 0}`
  if (m.state === 'published') return '✓ sent'
  return '✓ queued'
}

function Waiting({ p, g }: { p: Pending; g: Group }) {
  return (
    <article class="m own first waiting" aria-label="You, not sent yet">
      {p.files.map((u) => <UploadLine key={u.key} u={u} />)}
      {p.text && <p dir="auto"><Text>{p.text}</Text></p>}
      {p.fault ? (
        <small class="foot failed" role="alert">
          {sentence(p.fault.message)} {p.fault.code === 'unavailable' ? 'It may have been sent: look before you send it again.' : ''}
          <button class="mark" onClick={() => { dropPending(g.id, p.key); for (const u of p.files) if (u.fault.peek()) u.begin(false); void send(g.id, p) }}>Send again</button>
          <button class="mark" onClick={() => dropPending(g.id, p.key)}>Discard</button>
        </small>
      ) : <small class="foot">…</small>}
    </article>
  )
}

const goal = signal<{ group: string; id: string } | null>(null) // the message to be shown next

/** goTo shows a message in its place, and loads what is around it. */
export const goTo = (group: string, id: string, cursor: number) => attempt(async () => {
  const t = timelineOf(group)
  if (!t.message(id)) await t.around(cursor)
  goal.value = { group, id }
  if (place.peek().view !== 'group' || place.peek().id !== group) go({ view: 'group', id: group })
})

/** jump shows a message that another one names. */
const jump = (group: string, id: string) => attempt(async () => {
  const here = timelineOf(group).message(id)
  await goTo(group, id, here ? here.cursor : (await ask<Message>('GET', path`/v1/groups/${group}/messages/${id}`)).cursor)
})

const react = (m: Message, text: string, mine: boolean) => attempt(() => ask(mine ? 'DELETE' : 'PUT', path`/v1/groups/${m.group}/messages/${m.id}/reactions/${text}`))

const usual = ['👍', '❤️', '😂', '😮', '😢', '🙏', '🎉', '🐼']

function Pick({ m, close }: { m: Message; close: () => void }) {
  const [own, set] = useState('')
  const choose = (text: string) => { close(); void react(m, text, false) }
  return (
    <Dialog title="React" close={close}>
      <div class="picks">{usual.map((e) => <button aria-label={'React with ' + e} onClick={() => choose(e)}>{e}</button>)}</div>
      <form class="row" onSubmit={(e) => { e.preventDefault(); if (own.trim()) choose(own.trim()) }}>
        <label class="grow">Another one<input value={own} onInput={(e) => set(e.currentTarget.value)} /></label>
        <button class="good">React</button>
      </form>
    </Dialog>
  )
}

function Why({ m, close }: { m: Message; close: () => void }) {
  const [why, set] = useState<Explanation | null>(null)
  const [versions, setVersions] = useState<Message['versions']>()
  useEffect(() => {
    ask<Explanation>('GET', path`/v1/groups/${m.group}/why/${m.id}`).then(set, () => undefined)
    if (m.edited) ask<Message>('GET', path`/v1/groups/${m.group}/messages/${m.id}`).then((x) => setVersions(x.versions), () => undefined)
  }, [m.id])
  return (
    <Dialog title="About this message" close={close}>
      <p><b>{m.own ? 'You' : <Name id={m.user} name={m.name} />}</b>, {moment(m.sent)}{m.expires && <>. It expires on {moment(m.expires)}</>}</p>
      {why ? <ul class="facts">{[...(why.facts || []), ...(why.next || [])].map((f) => <li>{sentence(clean(f))}</li>)}</ul> : <p class="faint">Asking the node…</p>}
      {m.files?.length ? <><h3>Who has its files</h3><ul class="facts">{m.files.map((f) => <Holders key={f.id} of={f} />)}</ul></> : null}
      {versions && versions.length > 1 && <><h3>Its versions</h3><ol class="facts">{versions.map((v) => <li dir="auto"><small>{moment(v.sent)}</small><br />{clean(v.text)}</li>)}</ol></>}
      <div class="row end">
        <code class="grow">{m.id.slice(0, 16)}</code>
        {m.text && <Copy text={m.text} label="Copy the text" />}
        <Copy text={m.id} label="Copy the ID" />
      </div>
    </Dialog>
  )
}

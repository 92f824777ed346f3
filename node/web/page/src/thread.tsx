// A thread beside its group.
import { signal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Group, Happening, Message } from './api.gen'
import { Attached } from './files'
import { Icon } from './icons'
import { ask, follow, path } from './net'
import { attempt, send, side, timelineOf } from './state'
import { Said } from './spans'
import { called, hue, moment, Name, time } from './words'

export const thread = signal('') // its first message

export function openThread(m: Message) {
  thread.value = m.thread || m.id
  side.value = 'thread'
}

export function Thread({ g }: { g: Group }) {
  const first = thread.value
  const t = timelineOf(g.id)
  const [read, set] = useState<Map<string, Message> | null>(null)
  const ofIt = (m: Message) => m.thread === first || m.reply_to?.id === first
  const box = useRef<HTMLOListElement>(null)
  const line = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    const stop = new AbortController()
    set(null)
    void attempt(async () => {
      const root = await ask<Message>('GET', path`/v1/groups/${g.id}/messages/${first}`)
      const of = new Map([[root.id, root]])
      await follow<Happening>('GET', path`/v1/groups/${g.id}/timeline?since=${root.cursor}`, (h) => {
        if (h.message && ofIt(h.message)) of.set(h.message.id, h.message)
      }, { signal: stop.signal }).catch((e) => { if (!stop.signal.aborted) throw e })
      if (!stop.signal.aborted) set(of)
    })
    line.current?.focus()
    return () => stop.abort()
  }, [first, g.id])
  const all = new Map(read || [])
  if (read) for (const { message: m } of t.items.value) if (m && (m.id === first || ofIt(m))) all.set(m.id, m)
  const list = [...all.values()].sort((a, b) => a.cursor - b.cursor)
  useLayoutEffect(() => { box.current?.lastElementChild?.scrollIntoView({ block: 'nearest' }) }, [list.length])
  const may = (g.state === 'member' || g.state === 'syncing') && g.role !== 'read-only' && !g.leaving
  const go = () => {
    const text = line.current!.value.trim()
    if (!text) return
    line.current!.value = ''
    void send(g.id, { text, files: [], thread: first })
  }
  return (
    <div class="thread">
      <ol ref={box} aria-label="The thread" aria-live="polite">{list.map((m) => (
        <li key={m.id} class={m.own ? 'm own first' : 'm first'}>
          <b class={hue(m.user)}>{m.own ? 'You' : <Name id={m.user} name={m.name} />}</b>
          {m.deleted ? <p class="gone">{called(m.deleted.by, m.deleted.name)} deleted this message</p> : m.expired ? <p class="gone">This message has expired</p> : <>{m.files?.length ? <Attached files={m.files} /> : null}{m.text || !m.files?.length ? <Said m={m} /> : null}</>}
          <small class="foot"><time dateTime={m.sent} title={moment(m.sent)}>{time(m.sent)}</time></small>
        </li>
      ))}</ol>
      {read && list.length < 2 && <p class="faint">Nobody has written in this thread yet.</p>}
      {may && (
        <form class="row" onSubmit={(e) => { e.preventDefault(); go() }}>
          <textarea ref={line} class="grow" rows={2} dir="auto" aria-label="Message to the thread" placeholder="Write in the thread" maxLength={65536}
            onKeyDown={(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.altKey && !e.isComposing) { e.preventDefault(); go() } }} />
          <button class="good send" aria-label="Send to the thread"><Icon of="send" /></button>
        </form>
      )}
    </div>
  )
}

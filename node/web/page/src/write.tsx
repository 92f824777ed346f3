// The line to write in.
import { signal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Group, Member, Message } from './api.gen'
import { begun, draft, read, sending, sent } from './draft'
import { filesOf, Upload, UploadLine } from './files'
import { Icon } from './icons'
import { ask, Fault, path } from './net'
import { attempt, members, send, Timeline, trouble } from './state'
import { called, clean, Name } from './words'

const writing = signal<{ group: string; reply?: Message; edit?: Message }>({ group: '' })
const uploads = signal<Record<string, Upload[]>>({}) // that wait for their message, by group

export function reply(m: Message) {
  writing.value = { group: m.group, reply: m }
  focusLine()
}
export function edit(m: Message) {
  writing.value = { group: m.group, edit: m }
  focusLine()
}
const focusLine = () => setTimeout(() => document.querySelector<HTMLElement>('.write textarea')?.focus())

const maxFiles = 16

/** attach gives files to the node, for the next message. */
export function attach(group: string, files: File[]) {
  const has = uploads.peek()[group] || []
  if (has.length + files.length > maxFiles) trouble.value = new Fault({ message: `a message has at most ${maxFiles} files` })
  uploads.value = { ...uploads.peek(), [group]: has.concat(files.slice(0, maxFiles - has.length).map((f) => new Upload(f, group))) }
  focusLine()
}

function drop(group: string, u: Upload) {
  u.drop()
  uploads.value = { ...uploads.peek(), [group]: uploads.peek()[group]!.filter((x) => x !== u) }
}

const markdown = signal(false) // what is sent is Markdown

interface Completion { at: number; names: Member[]; chosen: number }

/** naming finds the "@" that somebody types at, and the members whose names it may begin. */
function naming(text: string, caret: number): Completion | null {
  const m = /(?:^|[\s(])@([^@\n]{0,40})$/u.exec(text.slice(0, caret))
  if (!m) return null
  const typed = m[1]!.toLowerCase()
  const names = members.peek().list.filter((x) => !x.self && x.name.toLowerCase().startsWith(typed) && x.name.toLowerCase() !== typed)
  return names.length ? { at: caret - m[1]!.length, names: names.slice(0, 6), chosen: 0 } : null
}

export function Writing({ g, t }: { g: Group; t: Timeline }) {
  const area = useRef<HTMLTextAreaElement>(null)
  const chosen = useRef<HTMLInputElement>(null)
  const [completion, complete] = useState<Completion | null>(null)
  const w = writing.value.group === g.id ? writing.value : { group: g.id }
  const files = uploads.value[g.id] || []
  const fit = () => {
    const el = area.current!
    el.style.height = 'auto'
    el.style.height = Math.min(el.scrollHeight, innerHeight * 0.4) + 'px'
  }
  const note = () => { if (!w.edit) begun(g.id, { text: area.current!.value, reply_to: w.reply?.id }) }
  useLayoutEffect(() => {
    const el = area.current!
    if (w.edit) el.value = w.edit.text || ''
    else if (!el.value) el.value = draft(g.id).text
    fit()
  }, [g.id, w.edit?.id])
  useEffect(() => { if (w.reply && area.current!.value) note() }, [w.reply?.id])
  useEffect(() => {
    if (matchMedia('(min-width: 700px) and (pointer: fine)').matches) area.current!.focus()
    let here = true
    const look = () => void read(g.id).then(async (d) => {
      if (!d || !here || !area.current || writing.peek().edit) return
      area.current.value = d.text
      fit()
      const to = d.reply_to ? t.message(d.reply_to) || (await ask<Message>('GET', path`/v1/groups/${g.id}/messages/${d.reply_to}`)) : undefined
      if (here && draft(g.id) === d) writing.value = { group: g.id, reply: to }
    }).catch(() => undefined)
    const seen = () => { if (document.visibilityState === 'visible') look() }
    look()
    addEventListener('focus', seen)
    document.addEventListener('visibilitychange', seen)
    return () => { here = false; removeEventListener('focus', seen); document.removeEventListener('visibilitychange', seen) }
  }, [g.id])
  const done = () => {
    writing.value = { group: g.id }
    area.current!.value = ''
    complete(null)
    fit()
  }
  const cancel = () => {
    writing.value = { group: g.id }
    if (w.edit) area.current!.value = draft(g.id).text
    else begun(g.id, { text: area.current!.value })
    fit()
  }
  const go = () => {
    const text = area.current!.value.replace(/^\n+|\s+$/g, '')
    const { edit, reply } = w
    if (edit) {
      if (text) void attempt(() => ask('PUT', path`/v1/groups/${g.id}/messages/${edit.id}`, { text, markdown: edit.media_type === 'text/markdown' || undefined })).then((ok) => { if (ok) { done(); area.current!.value = draft(g.id).text; fit() } })
      return
    }
    if (!text && !files.length) return
    if (files.some((u) => u.fault.peek())) {
      trouble.value = new Fault({ message: 'a file was not taken: take it out first' })
      return
    }
    done()
    sending(g.id)
    uploads.value = { ...uploads.peek(), [g.id]: [] }
    void send(g.id, { text, files, reply: reply?.id, markdown: markdown.peek() }).then((ok) => ok && sent(g.id))
  }
  const choose = (m: Member) => {
    const el = area.current!
    el.setRangeText(m.name + ' ', completion!.at, el.selectionStart, 'end')
    complete(null)
    note()
    el.focus()
  }
  const keys = (e: KeyboardEvent) => {
    if (e.isComposing) return
    const c = completion
    if (c && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
      e.preventDefault()
      complete({ ...c, chosen: (c.chosen + (e.key === 'ArrowDown' ? 1 : c.names.length - 1)) % c.names.length })
    } else if (c && (e.key === 'Enter' || e.key === 'Tab') && !e.shiftKey) { e.preventDefault(); choose(c.names[c.chosen]!) }
    else if (c && e.key === 'Escape') { e.preventDefault(); complete(null) }
    else if (e.key === 'Enter' && !e.shiftKey && !e.altKey) { e.preventDefault(); go() }
    else if (e.key === 'Escape' && (w.reply || w.edit)) { e.preventDefault(); cancel() }
    else if (e.key === 'ArrowUp' && !area.current!.value) {
      const mine = t.items.peek().findLast((h) => h.message?.own && !h.message.deleted && !h.message.expired && h.message.text)?.message
      if (mine) { e.preventDefault(); edit(mine) }
    }
  }
  const about = w.reply || w.edit
  return (
    <form class="write" onSubmit={(e) => { e.preventDefault(); go() }}>
      {about && (
        <div class="about">
          <span class="grow"><b>{w.edit ? 'Editing' : `Replying to ${about.own ? 'yourself' : called(about.user, about.name)}`}</b> {clean(about.text).slice(0, 120)}</span>
          <button type="button" class="icon" aria-label="Cancel" onClick={cancel}><Icon of="close" /></button>
        </div>
      )}
      {files.length > 0 && <div class="about files">{files.map((u) => <UploadLine key={u.key} u={u} drop={() => drop(g.id, u)} />)}</div>}
      <input ref={chosen} type="file" multiple hidden aria-label="Files to send" onChange={(e) => { attach(g.id, [...e.currentTarget.files || []]); e.currentTarget.value = '' }} />
      <button type="button" class="icon" aria-label="Attach files" title="Attach files: drop or paste them here, too. Where and by whom a picture was taken is taken out." disabled={!!w.edit} onClick={() => chosen.current!.click()}><Icon of="attach" /></button>
      {completion && <ul class="names" role="listbox" id="names" aria-label="Members">{completion.names.map((m, i) => (
        <li role="option" id={'name' + i} aria-selected={i === completion.chosen} onMouseDown={(e) => { e.preventDefault(); choose(m) }}><Name id={m.user} name={m.name} /></li>
      ))}</ul>}
      <textarea ref={area} rows={1} dir="auto" aria-label={`Message to ${clean(g.name)}`} placeholder={markdown.value && !w.edit ? 'Write a message in Markdown' : 'Write a message'} maxLength={65536} onKeyDown={keys}
        onPaste={(e) => { const f = filesOf(e.clipboardData); if (f.length && !w.edit) { e.preventDefault(); attach(g.id, f) } }}
        aria-autocomplete="list" aria-controls={completion ? 'names' : undefined} aria-activedescendant={completion ? 'name' + completion.chosen : undefined} onBlur={() => complete(null)}
        onInput={(e) => { fit(); note(); complete(naming(e.currentTarget.value, e.currentTarget.selectionStart)) }} />
      <button type="button" class="icon" aria-label="Markdown" aria-pressed={markdown.value} title="Markdown: **bold**, _italic_, `code`, lists" disabled={!!w.edit} onClick={() => { markdown.value = !markdown.peek(); area.current!.focus() }}><Icon of="mark" /></button>
      <button class="good send" aria-label={w.edit ? 'Save' : 'Send'}><Icon of={w.edit ? 'save' : 'send'} /></button>
    </form>
  )
}

// The line to write in.
import { signal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import type { Group, Message } from './api.gen'
import { filesOf, Upload, UploadLine } from './files'
import { Icon } from './icons'
import { ask, Fault, path } from './net'
import { attempt, send, Timeline, trouble } from './state'
import { clean } from './words'

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
  uploads.value = { ...uploads.peek(), [group]: has.concat(files.slice(0, maxFiles - has.length).map((f) => new Upload(f))) }
  focusLine()
}

function drop(group: string, u: Upload) {
  u.drop()
  uploads.value = { ...uploads.peek(), [group]: uploads.peek()[group]!.filter((x) => x !== u) }
}

// Drafts stay in memory: a browser may write what a page stores to the disk.
const drafts = new Map<string, string>()

export function Writing({ g, t }: { g: Group; t: Timeline }) {
  const area = useRef<HTMLTextAreaElement>(null)
  const chosen = useRef<HTMLInputElement>(null)
  const w = writing.value.group === g.id ? writing.value : { group: g.id }
  const files = uploads.value[g.id] || []
  const fit = () => {
    const el = area.current!
    el.style.height = 'auto'
    el.style.height = Math.min(el.scrollHeight, innerHeight * 0.4) + 'px'
  }
  useLayoutEffect(() => {
    const el = area.current!
    if (w.edit) el.value = w.edit.text || ''
    else if (!el.value) el.value = drafts.get(g.id) || ''
    fit()
  }, [g.id, w.edit?.id])
  useEffect(() => { if (matchMedia('(min-width: 700px) and (pointer: fine)').matches) area.current!.focus() }, [g.id])
  const done = () => {
    writing.value = { group: g.id }
    area.current!.value = ''
    drafts.delete(g.id)
    fit()
  }
  const cancel = () => {
    writing.value = { group: g.id }
    if (w.edit) area.current!.value = drafts.get(g.id) || ''
    fit()
  }
  const go = () => {
    const text = area.current!.value.replace(/^\n+|\s+$/g, '')
    const { edit, reply } = w
    if (edit) {
      if (text) void attempt(() => ask('PUT', path`/v1/groups/${g.id}/messages/${edit.id}`, { text })).then((ok) => ok && done())
      return
    }
    if (!text && !files.length) return
    if (files.some((u) => u.fault.peek())) {
      trouble.value = new Fault({ message: 'a file was not taken: take it out first' })
      return
    }
    done()
    uploads.value = { ...uploads.peek(), [g.id]: [] }
    void send(g.id, { text, files, reply: reply?.id })
  }
  const keys = (e: KeyboardEvent) => {
    if (e.isComposing) return
    if (e.key === 'Enter' && !e.shiftKey && !e.altKey) { e.preventDefault(); go() }
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
          <span class="grow"><b>{w.edit ? 'Editing' : `Replying to ${about.own ? 'yourself' : clean(about.name)}`}</b> {clean(about.text).slice(0, 120)}</span>
          <button type="button" class="icon" aria-label="Cancel" onClick={cancel}><Icon of="close" /></button>
        </div>
      )}
      {files.length > 0 && <div class="about files">{files.map((u) => <UploadLine key={u.key} u={u} drop={() => drop(g.id, u)} />)}</div>}
      <input ref={chosen} type="file" multiple hidden aria-label="Files to send" onChange={(e) => { attach(g.id, [...e.currentTarget.files || []]); e.currentTarget.value = '' }} />
      <button type="button" class="icon" aria-label="Attach files" title="Attach files: drop or paste them here, too. Where and by whom a picture was taken is taken out." disabled={!!w.edit} onClick={() => chosen.current!.click()}><Icon of="attach" /></button>
      <textarea ref={area} rows={1} dir="auto" aria-label={`Message to ${clean(g.name)}`} placeholder="Write a message" maxLength={65536} onKeyDown={keys}
        onPaste={(e) => { const f = filesOf(e.clipboardData); if (f.length && !w.edit) { e.preventDefault(); attach(g.id, f) } }}
        onInput={(e) => { fit(); if (!w.edit) drafts.set(g.id, e.currentTarget.value) }} />
      <button class="good send" aria-label={w.edit ? 'Save' : 'Send'}><Icon of={w.edit ? 'save' : 'send'} /></button>
    </form>
  )
}

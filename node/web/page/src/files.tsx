// Files: those that messages name, and those that are given to the node for one.
import { signal } from '@preact/signals'
import type { Signal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import type { File as Named, Files } from './api.gen'
import { Icon } from './icons'
import { ask, content, Fault, follow, path, upload } from './net'
import { Dialog, sentence } from './parts'
import { picture, shows } from './picture'
import type { Picture } from './picture'
import { attempt, trouble } from './state'
import { called, clean } from './words'

const units = ['bytes', 'kB', 'MB', 'GB']

export function size(n: number): string {
  let u = 0
  for (; n >= 1000 && u < 3; u++) n /= 1000
  return `${u && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[u]}`
}

// A file is looked at again while it is fetched and somebody sees it.
const known = new Map<string, Signal<Named>>()
const watched = new Map<string, { n: number; since: number }>()

/** told keeps what the node has said of a file. */
function told(f: Named): Signal<Named> {
  let s = known.get(f.id)
  if (!s) known.set(f.id, (s = signal(f)))
  return s
}

setInterval(async () => {
  for (const [id, w] of watched) {
    const s = known.get(id)
    const age = Date.now() - w.since
    if (!s?.peek().wanted || document.visibilityState !== 'visible' || (age > 30_000 && age % 5000 > 500)) continue
    await ask<Named>('GET', path`/v1/files/${id}`).then((f) => (s.value = { ...s.peek(), state: f.state, have: f.have, wanted: f.wanted, why: f.why }), () => undefined)
  }
}, 500)

/** fetchFile has the node fetch a file. The stream of how far that is would hold a connection. */
const fetchFile = (f: Named) => attempt(async () => {
  const stop = new AbortController()
  const s = told(f)
  await follow<Named>('POST', path`/v1/files/${f.id}/fetch`, (x) => {
    s.value = { ...s.peek(), state: x.state, have: x.have, wanted: x.wanted, why: x.why }
    const w = watched.get(f.id)
    if (w) w.since = Date.now()
    stop.abort()
  }, { signal: stop.signal }).catch((e) => { if (!stop.signal.aborted) throw e })
})

/** save gives a file to the browser, to keep. Its type is none that any browser runs, whatever the file is. */
const save = (f: Named) => attempt(async () => {
  const url = URL.createObjectURL(new Blob([await content(f.id)], { type: 'application/octet-stream' }))
  const a = document.createElement('a')
  a.href = url
  a.download = clean(f.name) || 'file'
  a.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
})

// Pictures that were shown, by the ID of their file. The browser holds their bytes, so only some stay.
interface Drawn extends Picture { url: string }
const drawn = new Map<string, Promise<Drawn | null>>()
const keep = 40
const maxShown = 20 << 20 // bytes

function draw(f: Named): Promise<Drawn | null> {
  let p = drawn.get(f.id)
  drawn.delete(f.id) // and to the end, as the one that was used last
  p ??= content(f.id).then((b) => {
    const bytes = new Uint8Array(b)
    const is = picture(bytes)
    return shows(is) ? { ...is!, url: URL.createObjectURL(new Blob([bytes], { type: is!.type })) } : null
  })
  drawn.set(f.id, p)
  p.catch(() => drawn.delete(f.id))
  for (const [id, old] of drawn) {
    if (drawn.size <= keep) break
    drawn.delete(id)
    void old.then((d) => d && URL.revokeObjectURL(d.url), () => undefined)
  }
  return p
}

/** preview is the small picture that came with a message. */
function preview(f: Named): Drawn | null {
  if (!f.preview) return null
  const bytes = Uint8Array.from(atob(f.preview), (c) => c.charCodeAt(0))
  const is = picture(bytes)
  return is?.type === 'image/jpeg' && shows(is) ? { ...is, url: URL.createObjectURL(new Blob([bytes], { type: is.type })) } : null
}

const pictured = /^image\/(jpeg|png|gif|webp)$/
const viewing = signal<Named | null>(null)

/** Attached shows the files of a message. */
export function Attached({ files }: { files: Named[] }) {
  return <div class="files">{files.map((f) => <One key={f.id} of={f} />)}</div>
}

function One({ of }: { of: Named }) {
  const s = told(of)
  useEffect(() => { // the message was read again
    if (s.peek().state !== of.state || s.peek().have !== of.have || s.peek().wanted !== of.wanted || s.peek().why !== of.why) s.value = { ...s.peek(), ...of }
  }, [of])
  useEffect(() => {
    const w = watched.get(of.id) || { n: 0, since: Date.now() }
    watched.set(of.id, { n: w.n + 1, since: w.since })
    return () => {
      const left = watched.get(of.id)!.n - 1
      if (left) watched.get(of.id)!.n = left
      else watched.delete(of.id)
    }
  }, [of.id])
  const f = { ...s.value, name: of.name, media_type: of.media_type, preview: of.preview }
  return pictured.test(f.media_type) && f.state !== 'faulty' && f.size <= maxShown && (f.preview || f.state === 'here') ? <Shown f={f} /> : <Line f={f} />
}

/** Shown is a picture in a message: small until all of it is here. */
function Shown({ f }: { f: Named }) {
  const [small] = useState(() => preview(f))
  const [full, set] = useState<Drawn | null>(null)
  const [bad, setBad] = useState(false)
  useEffect(() => () => { if (small) URL.revokeObjectURL(small.url) }, [])
  useEffect(() => {
    if (f.state !== 'here') return
    let here = true
    draw(f).then((d) => here && (d ? set(d) : setBad(true)), () => here && setBad(true))
    return () => { here = false }
  }, [f.state])
  const is = full || small
  if (bad && !small) return <Line f={f} />
  const scale = small ? Math.min(1, 320 / small.width, 320 / small.height) : 1
  const grown = small ? Math.max(scale, Math.min(320 / small.width, 320 / small.height, (full?.width || 0) / small.width)) : 1
  const [w, h] = small ? [Math.round(small.width * grown), Math.round(small.height * grown)] : [240, 180] // known before it is drawn, so that nothing jumps
  return (
    <figure>
      <button class="pic" aria-label={`Open the picture ${clean(f.name)}`} onClick={() => { viewing.value = f; if (f.state === 'away') void fetchFile(f) }}>
        {is ? <img src={is.url} width={w} height={h} alt={clean(f.description) || clean(f.name) || 'picture'} onError={() => (is === full ? (set(null), setBad(true)) : undefined)} /> : <span class="blank" />}
      </button>
      {f.state !== 'here' && <Line f={f} />}
    </figure>
  )
}

function standing(f: Named): string {
  if (f.state === 'faulty') return `${size(f.size)}. ${f.why ? sentence(clean(f.why)) : 'It can never be opened.'}`
  if (f.state === 'here') return size(f.size)
  if (f.wanted) return f.why ? `${size(f.size)}. It does not come: ${sentence(clean(f.why))}` : f.have ? `Fetching: ${size(Math.min(f.have, f.size))} of ${size(f.size)}` : `Fetching ${size(f.size)}…`
  return f.state === 'partly' ? `${size(Math.min(f.have, f.size))} of ${size(f.size)} are here` : `${size(f.size)}, not here yet`
}

/** Line is a file as a name with what can be done. */
export function Line({ f }: { f: Named }) {
  return (
    <div class={'file ' + f.state}>
      <Icon of="file" />
      <span class="grow"><bdi>{clean(f.name) || 'A file without a name'}</bdi><small role={f.wanted ? 'status' : undefined}>{standing(f)}</small>
        {f.wanted && f.state !== 'here' && f.state !== 'faulty' && <progress max={f.sealed} value={f.have} aria-label={`How much of ${clean(f.name)} is here`} />}</span>
      {f.state === 'here' ? <button class="icon" aria-label={`Save ${clean(f.name)}`} title="Save" onClick={() => void save(f)}><Icon of="download" /></button>
        : f.state !== 'faulty' && !f.wanted && <button aria-label={`Fetch ${clean(f.name)}`} onClick={() => void fetchFile(f)}>Fetch</button>}
    </div>
  )
}

/** Viewer shows one picture, large. */
export function Viewer() {
  const f = viewing.value
  return f ? <View key={f.id} of={f} /> : null
}

function View({ of }: { of: Named }) {
  const f = told(of).value
  const [full, set] = useState<Drawn | null>(null)
  const [small] = useState(() => preview(of))
  useEffect(() => () => { if (small) URL.revokeObjectURL(small.url) }, [])
  useEffect(() => { if (f.state === 'here') draw(of).then(set, () => undefined) }, [f.state])
  const is = full || small
  return (
    <Dialog title={clean(of.name) || 'A picture'} wide close={() => (viewing.value = null)}>
      {is && <img class={full ? 'large' : 'large soft'} src={is.url} alt={clean(of.description) || clean(of.name) || 'picture'} />}
      <Line f={{ ...f, name: of.name }} />
    </Dialog>
  )
}

/** Holders says which connected members and mailboxes have a file. */
export function Holders({ of }: { of: Named }) {
  const [f, set] = useState<Named | null>(null)
  useEffect(() => { ask<Named>('GET', path`/v1/files/${of.id}` + '?holders=true').then(set, () => undefined) }, [of.id])
  const have = f?.holders?.filter((h) => h.have > 0).map((h) => `${(h.mailbox ? `the mailbox ${h.peer.slice(-8)}` : h.user ? called(h.user, h.name) : h.peer.slice(-8))}${h.have < f.sealed ? ` (${size(h.have)})` : ''}`)
  return <li><b><bdi>{clean(of.name)}</bdi></b> {!f ? '…' : have?.length ? 'Held by ' + have.join(', ') + ', as far as is connected.' : 'No connected member has it.'}</li>
}

/** Upload is a file on its way to the node. */
export class Upload {
  sent = signal(0)
  fault = signal<Fault | null>(null)
  named = signal<Named | null>(null)
  done!: Promise<Named>
  private control!: AbortController
  readonly key = ++uploads
  constructor(readonly file: File, readonly group: string) {
    this.begin(false)
  }

  /** begin gives the file to the node; raw: with what a picture says of where and by whom it was taken. */
  begin(raw: boolean) {
    this.fault.value = null
    this.control = new AbortController()
    const { file, group } = this
    this.done = (async () => {
      const { max, group_max } = await limits(group)
      if (group_max && file.size > group_max) throw new Fault({ code: 'invalid', message: `${file.name} has ${size(file.size)}, and the group takes files of at most ${size(group_max)}`, hint: 'an owner or admin of the group changes its setting files.max' })
      if (file.size > max) throw new Fault({ code: 'invalid', message: `${file.name} has ${size(file.size)}, and at most ${size(max)} are sent`, hint: 'files.max in the configuration of your node' })
      return upload<Named>(file, group, raw, (n) => (this.sent.value = n), this.control.signal)
    })()
    this.done.then((f) => (this.named.value = f), (e) => (this.fault.value = e instanceof Fault ? e : new Fault({ message: String(e) })))
  }

  drop() {
    this.control.abort()
  }
}

let uploads = 0

const limits = (group: string) => ask<Files>('GET', '/v1/files?group=' + encodeURIComponent(group))

/** UploadLine shows a file that will be sent. */
export function UploadLine({ u, drop }: { u: Upload; drop?: () => void }) {
  const [small, set] = useState('')
  useEffect(() => {
    let url = ''
    if (u.file.size <= maxShown) {
      void u.file.arrayBuffer().then((b) => {
        const is = picture(new Uint8Array(b))
        if (shows(is)) set((url = URL.createObjectURL(new Blob([b], { type: is!.type }))))
      }, () => undefined)
    }
    return () => { if (url) URL.revokeObjectURL(url) }
  }, [u])
  const fault = u.fault.value
  const named = u.named.value
  return (
    <div class={'file' + (fault ? ' faulty' : '')}>
      {small ? <img src={small} alt="" width="44" height="44" /> : <Icon of="file" />}
      <span class="grow"><bdi>{clean(u.file.name)}</bdi>
        <small role={fault ? 'alert' : undefined}>{fault ? sentence(fault.message) + (fault.hint ? ` What helps: ${fault.hint}` : '') : named ? size(named.size) : `${size(u.sent.value)} of ${size(u.file.size)}`}</small>
        {!named && !fault && <progress max={u.file.size || 1} value={u.sent.value} aria-label={`How much of ${clean(u.file.name)} the node has`} />}
      </span>
      {fault && fault.code === 'invalid' && pictured.test(u.file.type) && /taken out|metadata/.test(fault.message) && <button type="button" onClick={() => u.begin(true)}>Send it with all that it says</button>}
      {drop && <button type="button" class="icon" aria-label={`Do not send ${clean(u.file.name)}`} onClick={drop}><Icon of="close" /></button>}
    </div>
  )
}

/** filesOf gives the files of a drop or a paste. */
export function filesOf(d: DataTransfer | null): File[] {
  const out: File[] = []
  for (const item of d?.items || []) {
    if (item.kind !== 'file') continue
    if (item.webkitGetAsEntry?.()?.isDirectory) {
      trouble.value = new Fault({ message: 'a folder cannot be sent: pack it into one file, or choose the files in it' })
      continue
    }
    const f = item.getAsFile()
    if (f) out.push(f)
  }
  return out
}

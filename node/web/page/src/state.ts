// What the page knows, and how it keeps up with the node.
import { batch, computed, signal } from '@preact/signals'
import type { Candidate, Event, Group, Happening, ID, Member, Members, Message, Request, Requests, Sent, UserProfile } from './api.gen'
import type { Upload } from './files'
import { all, ask, Fault, follow, gather, gone, path, token } from './net'

export const me = signal<ID | null>(null)
export const profile = signal<UserProfile>({ name: '' }) // what this node's user says of itself
export const ownName = computed(() => profile.value.name || me.value?.name || '')
export const groups = signal<Group[] | null>(null) // null: not known yet
export const place = signal<{ view: 'group' | 'find' | 'new' | 'search' | 'doctor'; id?: string }>({ view: 'group' })
export const side = signal<'' | 'members' | 'invites' | 'settings' | 'thread'>('')
export const linked = signal(true) // the stream of events is there
export const trouble = signal<Fault | null>(null) // of the last thing that somebody did
export const said = signal('') // for a screen reader
let saidOf = '' // the message that it quotes
export const now = signal(Date.now()) // once a minute

export const open = computed(() => (place.value.view === 'group' ? groups.value?.find((g) => g.id === place.value.id) : undefined))
export const unread = (g: Group) => g.unread_count

/** attempt does something, and shows what went wrong. */
export async function attempt<T>(f: () => Promise<T>): Promise<T | undefined> {
  try {
    trouble.value = null
    return await f()
  } catch (e) {
    trouble.value = e instanceof Fault ? e : new Fault({ message: String(e) })
  }
}

/** Timeline is what is known of the messages of a group, oldest first. */
export class Timeline {
  items = signal<Happening[]>([])
  more = signal(false) // there are earlier ones
  newer = signal(false) // there are later ones: an older place is looked at
  loaded = signal(false)
  pending = signal<Pending[]>([])
  newFrom = 0 // the cursor of the first that was new when the group was opened
  private reading: Promise<void> | null = null
  private again = false
  constructor(readonly id: string) {}

  get cursor() {
    return this.items.peek().at(-1)?.cursor ?? 0
  }

  private turn = 0 // of reading in place of what is there: the last one counts

  private async replace(read: () => Promise<{ items: Happening[]; cut: boolean }>) {
    const turn = ++this.turn
    const { items, cut } = await read()
    if (turn !== this.turn) return
    batch(() => {
      this.items.value = items
      this.more.value = !!items[0]?.more
      this.newer.value = cut
      this.loaded.value = true
    })
  }

  /** load reads the newest, in place of what is there. */
  load() {
    return this.replace(async () => ({ items: await all<Happening>(path`/v1/groups/${this.id}/timeline` + '?last=120'), cut: false }))
  }

  /** around reads what is about a cursor, in place of what is there. */
  around(cursor: number) {
    return this.replace(async () => {
      const before = await all<Happening>(path`/v1/groups/${this.id}/timeline?last=80&before=${cursor + 1}`)
      const after = await gather<Happening>(path`/v1/groups/${this.id}/timeline?since=${cursor}`, 80)
      return { items: before.concat(after.items), cut: after.cut }
    })
  }

  /** onward reads what comes after what is there, where that is not the newest. */
  async onward() {
    const since = this.cursor
    const found = await gather<Happening>(path`/v1/groups/${this.id}/timeline?since=${since}`, 200)
    if (since !== this.cursor || !this.newer.peek()) return
    batch(() => {
      this.items.value = this.items.peek().concat(found.items)
      this.newer.value = found.cut
    })
  }

  /** earlier reads what was before. */
  async earlier() {
    const first = this.items.peek()[0]
    if (!first || !this.more.peek()) return
    const found = await all<Happening>(path`/v1/groups/${this.id}/timeline` + `?last=200&before=${first.cursor}`)
    if (this.items.peek()[0] !== first) return // it was loaded anew meanwhile
    batch(() => {
      this.items.value = found.concat(this.items.peek())
      this.more.value = !!found[0]?.more
    })
  }

  /** later reads what has come since. Calls while it reads become one more. */
  later(): Promise<void> {
    if (this.reading) {
      this.again = true
      return this.reading
    }
    const read = async () => {
      do {
        this.again = false
        if (!this.loaded.peek()) {
          await this.load()
          continue
        }
        if (this.newer.peek()) return // it comes when somebody goes there
        const since = this.cursor
        const found = await all<Happening>(path`/v1/groups/${this.id}/timeline` + `?since=${since}`)
        if (found.length && since === this.cursor && !this.newer.peek()) this.take(found)
      } while (this.again)
    }
    this.reading = read().finally(() => (this.reading = null))
    return this.reading
  }

  private take(found: Happening[]) {
    const own = new Set(found.flatMap((h) => (h.message?.own ? [h.message.id] : [])))
    batch(() => {
      this.items.value = this.items.peek().concat(found)
      if (own.size) this.pending.value = this.pending.peek().filter((p) => !own.has(p.id!))
    })
    const last = found.at(-1)!.message
    if (last && !last.own) {
      saidOf = last.id
      said.value = `${last.name}: ${last.text ?? ''}`.slice(0, 200)
    }
  }

  /** renew reads messages again that have changed. */
  async renew(ids: string[]) {
    const changed = new Set(ids)
    if (changed.has(saidOf)) saidOf = said.value = '' // it may be deleted
    const wanted = this.items.peek().flatMap(({ message: m }) => (m && (changed.has(m.id) || changed.has(m.reply_to?.id ?? '')) ? [m.id] : [])) // answers quote it
    if (wanted.length > 40 && !this.newer.peek()) return this.load()
    const found = new Map<string, Message>()
    await Promise.all(wanted.map(async (id) => found.set(id, await ask<Message>('GET', path`/v1/groups/${this.id}/messages/${id}`))))
    if (found.size) {
      this.items.value = this.items.peek().map((h) => {
        const m = h.message && found.get(h.message.id)
        return m ? { ...h, message: { ...m, cursor: h.cursor } } : h
      })
    }
  }

  message(id: string): Message | undefined {
    return this.items.peek().find((h) => h.message?.id === id)?.message
  }
}

/** Pending is a message that the node has not accepted yet, as far as is known. */
export interface Pending extends Letter {
  key: number
  id?: string // once it is accepted, until the timeline has it
  fault?: Fault
}

/** Letter is a message that somebody has written. */
export interface Letter {
  text: string
  files: Upload[]
  reply?: string // the message that it answers
  thread?: string // the first message of its thread
  markdown?: boolean
}

const timelines = new Map<string, Timeline>()

export function timelineOf(id: string): Timeline {
  let t = timelines.get(id)
  if (!t) timelines.set(id, (t = new Timeline(id)))
  return t
}

export const members = signal<{ id: string; list: Member[]; known: Candidate[] }>({ id: '', list: [], known: [] })
export const requests = signal<{ id: string; list: Request[] }>({ id: '', list: [] })

export async function readMembers(id: string) {
  const found = await ask<Members>('GET', path`/v1/groups/${id}/members`)
  if (place.peek().id === id) members.value = { id, list: found.members || [], known: found.known || [] }
  const g = open.peek()
  if (g && (g.role === 'owner' || g.role === 'admin')) {
    const r = await ask<Requests>('GET', path`/v1/groups/${id}/requests`)
    if (place.peek().id === id) requests.value = { id, list: (r.requests || []).filter((x) => x.state === 'waiting') }
  } else requests.value = { id, list: [] }
}

const order = (a: Group, b: Group) => Number(!!b.pinned) - Number(!!a.pinned) || (b.active || b.created).localeCompare(a.active || a.created)

export async function readGroups() {
  const found = await ask<{ groups: Group[] }>('GET', '/v1/groups')
  groups.value = (found.groups || []).sort(order)
}

/** go opens a place and says so in the address. */
export function go(to: typeof place.value) {
  trouble.value = null
  const here = place.peek().id === to.id // its line of what is new stays
  place.value = to
  const hash = to.view === 'group' ? (to.id ? '#/g/' + to.id : '#/') : '#/' + to.view
  if (location.hash !== hash) history.pushState(null, '', hash)
  if (to.view === 'group' && to.id && !(here && timelineOf(to.id).loaded.peek())) void enter(to.id)
}

export function byAddress() {
  const m = /^#\/(?:g\/([a-z0-9]+)|(find|new|search|doctor))$/.exec(location.hash)
  place.value = m?.[1] ? { view: 'group', id: m[1] } : m?.[2] ? { view: m[2] as 'find' } : { view: 'group' }
  if (m?.[1]) void enter(m[1])
}

const quiet = (e: unknown) => {
  if (!(e instanceof Fault) || (e.code !== gone && e.code !== 'not-found' && token.peek())) console.warn(e)
}

let entering: Timeline | null = null // where the line of what is new is not drawn yet

/** enter reads a group that is opened, and draws the line before the read mark moves past it. */
async function enter(id: string) {
  const t = timelineOf(id)
  t.newFrom = 0
  entering = t
  void readMembers(id).catch(quiet)
  await t.later().catch(quiet)
  const g = groups.peek()?.find((x) => x.id === id)
  if (g && unread(g)) {
    t.newFrom = t.items.peek().find((h) => h.message && !h.message.own && !h.message.earlier && h.cursor > g.read)?.cursor ?? 0
    t.items.value = t.items.peek().slice() // so that the line shows
  }
  if (entering === t) entering = null
  seen()
}

/** seen moves the read mark to the newest that is shown, while somebody looks. */
export function seen() {
  const g = open.peek()
  if (!g || !unread(g) || document.visibilityState !== 'visible' || !document.hasFocus()) return
  const t = timelineOf(g.id)
  if (t === entering || !t.loaded.peek() || t.newer.peek() || !atEnd) return
  const cursor = t.cursor
  void ask('PUT', path`/v1/groups/${g.id}/read`, { cursor })
    .then(() => refresh(g.id))
    .catch(quiet)
}

let atEnd = true
export function showsEnd(yes: boolean) {
  atEnd = yes
  if (yes) seen()
}

/** refresh reads one group again. */
export async function refresh(id: string) {
  let found: Group | null = null
  try {
    found = await ask<Group>('GET', path`/v1/groups/${id}`)
  } catch (e) {
    if (!(e instanceof Fault) || e.code !== 'not-found') throw e
    if (!groups.peek()?.some((g) => g.id === id)) throw e // its first events can be ahead of it
  }
  const rest = (groups.peek() || []).filter((g) => g.id !== id)
  if (found) rest.push(found)
  groups.value = rest.sort(order)
}

// What events say is gathered for a moment, so that a burst becomes one question.
const touched = new Set<string>()
const changed = new Map<string, Set<string>>()
let timer = 0
let tries = 0

function happened(e: Event) {
  if (e.kind === 'people') void renewed().catch(quiet)
  if (!e.group) return
  touched.add(e.group)
  if ((e.kind === 'message-changed' || e.kind === 'file' || e.kind === 'file-progress') && e.message) {
    if (!changed.has(e.group)) changed.set(e.group, new Set())
    changed.get(e.group)!.add(e.message)
  }
  if (e.kind === 'message' && e.group === place.peek().id) void timelineOf(e.group).later().then(seen).catch(quiet) // at once
  if (!timer) timer = window.setTimeout(settle, 60)
}

async function settle() {
  timer = 0
  const ids = [...touched]
  const edits = new Map(changed)
  touched.clear()
  changed.clear()
  try {
    await (ids.length > 5 ? readGroups() : Promise.all(ids.map(refresh)))
    for (const id of ids) {
      const t = timelines.get(id)
      if (!t?.loaded.peek()) continue
      await t.later()
      const which = edits.get(id)
      if (which) await t.renew([...which])
      if (id === place.peek().id) await readMembers(id)
    }
    seen()
    tries = 0
  } catch (e) {
    quiet(e)
    if (tries++ < 6 && token.peek()) {
      for (const id of ids) touched.add(id)
      for (const [id, which] of edits) changed.set(id, new Set([...which, ...(changed.get(id) || [])]))
      if (!timer) timer = window.setTimeout(settle, 250 * tries)
    }
  }
}

/** keepUp follows the node's events for as long as this tab is logged in. */
export async function keepUp() {
  let last = ''
  let wait = 500
  while (token.peek()) {
    try {
      await start() // the stream begins with its first event, which may be far off
      linked.value = true
      await follow<Event>('GET', '/v1/events', (e, id) => {
        last = id || last
        happened(e)
      }, { last, begun: () => (wait = 500) })
    } catch (e) {
      if (e instanceof Fault && e.code === 'conflict') last = '' // the node began anew: so do we
      linked.value = false
    }
    await new Promise((r) => setTimeout(r, wait))
    wait = Math.min(wait * 2, 10_000)
  }
}

async function readProfile() {
  profile.value = await ask<UserProfile>('GET', '/v1/profile')
}

/** renewed reads again what a change of what is kept of somebody hides or shows. */
async function renewed() {
  const id = place.peek().id
  await Promise.all([readProfile(), readGroups()])
  if (id) await readMembers(id)
  for (const t of timelines.values()) if (t.loaded.peek()) await t.load()
}

/** start reads all that is shown first, and again after the node was away. */
export async function start() {
  const [id] = await Promise.all([ask<ID>('GET', '/v1/id'), readProfile(), readGroups()])
  for (const t of timelines.values()) if (t.loaded.peek() && !t.newer.peek()) await t.load()
  if (me.peek()) return
  me.value = id
  const first = groups.peek()?.[0]
  if (first && (!location.hash || location.hash === '#/') && matchMedia('(min-width: 700px)').matches) history.replaceState(null, '', '#/g/' + first.id)
  byAddress()
}

/** deliveries asks how far own messages are that are not with everybody yet. */
export function watchDeliveries() {
  let pause = 0
  setInterval(() => {
    now.value = Date.now()
  }, 60_000)
  setInterval(async () => {
    const g = open.peek()
    if (!g || document.visibilityState !== 'visible' || !linked.peek() || pause-- > 0) return
    const t = timelineOf(g.id)
    const waiting = t.items.peek().slice(-200).flatMap(({ message: m }) => (m?.own && !m.deleted && (m.held_by || 0) < (m.readers || 0) ? [m] : []))
    if (!waiting.length) return
    const young = waiting.some((m) => Date.now() - Date.parse(m.sent) < 60_000)
    pause = young ? 0 : 10
    const before = new Map(waiting.map((m) => [m.id, m]))
    try {
      const found = await Promise.all(waiting.slice(-20).map((m) => ask<Sent>('GET', path`/v1/groups/${g.id}/messages/${m.id}/delivery`)))
      const news = new Map(found.filter((s) => s.state !== before.get(s.id)?.state || (s.held_by || 0) !== (before.get(s.id)?.held_by || 0)).map((s) => [s.id, s]))
      if (news.size) {
        t.items.value = t.items.peek().map((h) => {
          const s = h.message && news.get(h.message.id)
          return s ? { ...h, message: { ...h.message!, state: s.state, held_by: s.held_by, readers: s.readers } } : h
        })
      }
    } catch (e) {
      quiet(e)
    }
  }, 1500)
}

let keys = 0

/** send gives a message to the node. It is shown at once, and stays until the node has it. */
export async function send(id: string, w: Letter) {
  const t = timelineOf(id)
  const p: Pending = { ...w, id: undefined, fault: undefined, key: ++keys }
  t.pending.value = [...t.pending.peek(), p]
  const set = (n: Partial<Pending>) => (t.pending.value = t.pending.peek().map((x) => (x.key === p.key ? { ...x, ...n } : x)))
  try {
    const files = (await Promise.all(p.files.map((u) => u.done))).map((f) => f.id)
    const s = await ask<Sent>('POST', path`/v1/groups/${id}/messages`, { text: p.text, files: files.length ? files : undefined, reply_to: p.reply, thread: p.thread, markdown: p.markdown || undefined, mention: p.text.includes('@') || undefined })
    set({ id: s.id })
    await t.later()
    t.pending.value = t.pending.peek().filter((x) => x.key !== p.key)
    return true
  } catch (e) {
    set({ fault: e instanceof Fault ? e : new Fault({ message: String(e) }) })
  }
}

/** unsent gives the texts that the node has not accepted, as far as is known. */
export const unsent = () => [...timelines.values()].flatMap((t) => t.pending.peek().flatMap((p) => (!p.id && p.text ? [p.text] : [])))

export function dropPending(id: string, key: number) {
  const t = timelineOf(id)
  t.pending.value = t.pending.peek().filter((x) => x.key !== key)
}

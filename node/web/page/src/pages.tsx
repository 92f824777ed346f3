// Found a group, find one, and how the node is.
import { Icon } from './icons'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Checkup, Found as Hit, Group, JoinUpdate, Peers, Status } from './api.gen'
import { ask, Fault, follow } from './net'
import { attempt, go, groups, ownName, readGroups, trouble } from './state'
import { sentence, Trouble } from './parts'
import { clean, count, moment, short } from './words'

export function Head({ title }: { title: string }) {
  return (
    <header>
      <button class="icon back" aria-label="Back to the groups" onClick={() => go({ view: 'group' })}><Icon of="back" /></button>
      <h2 class="grow">{title}</h2>
    </header>
  )
}

export function Found() {
  const [f, set] = useState({ name: '', description: '', policy: 'open', private: false })
  const [busy, setBusy] = useState(false)
  const make = async () => {
    setBusy(true)
    const g = await attempt(() => ask<Group>('POST', '/v1/groups', f.private ? { ...f, policy: 'invite' } : f))
    setBusy(false)
    if (g) {
      await readGroups()
      go({ view: 'group', id: g.id })
    }
  }
  return (
    <main class="middle">
      <Head title="New group" />
      <Trouble of={trouble.value} />
      <form class="sheet" onSubmit={(e) => { e.preventDefault(); void make() }}>
        <label>Name<input required autoFocus dir="auto" maxLength={64} value={f.name} onInput={(e) => set({ ...f, name: e.currentTarget.value })} /></label>
        <label>Description<input dir="auto" maxLength={1024} placeholder="Optional" value={f.description} onInput={(e) => set({ ...f, description: e.currentTarget.value })} /></label>
        <fieldset>
          <legend>Who comes in</legend>
          {([['open', 'Anybody who asks', 'Any member lets them in, without a question.'], ['request', 'Those whom an admin lets in', 'They ask, and you answer.'], ['invite', 'Those who have an invite', 'You give out links.']] as const).map(([v, t, d]) => (
            <label class="choice"><input type="radio" name="policy" disabled={f.private} checked={f.private ? v === 'invite' : f.policy === v} onChange={() => set({ ...f, policy: v })} /><span>{t}<small>{d}</small></span></label>
          ))}
        </fieldset>
        <label class="choice"><input type="checkbox" checked={f.private} onChange={(e) => set({ ...f, private: e.currentTarget.checked })} /><span>Private<small>Nobody finds it; a link is the only way in.</small></span></label>
        <div class="row end"><button class="good" disabled={busy}>Create the group</button></div>
      </form>
    </main>
  )
}

export function Find() {
  const [name, set] = useState('')
  const [link, setLink] = useState('')
  const [found, setFound] = useState<Hit[] | null>(null)
  const [busy, setBusy] = useState(false)
  const stop = useRef<AbortController>()
  useEffect(() => () => stop.current?.abort(), [])
  const search = async () => {
    stop.current?.abort()
    const control = (stop.current = new AbortController())
    setBusy(true)
    const by = new Map<string, Hit>()
    setFound([])
    try {
      trouble.value = null
      await follow<Hit>('GET', '/v1/find?timeout=10s&name=' + encodeURIComponent(name), (x) => {
        const old = by.get(x.id)
        by.set(x.id, old && old.verified && !x.verified ? old : x)
        setFound([...by.values()].sort((a, b) => Number(b.verified) - Number(a.verified)))
      }, { signal: control.signal })
    } catch (e) {
      if (!control.signal.aborted) trouble.value = e instanceof Fault ? e : new Fault({ message: String(e) })
    }
    if (stop.current === control) setBusy(false)
  }
  const join = (how: { group?: string; link?: string }) => attempt(async () => {
    let id = ''
    await follow<JoinUpdate>('POST', '/v1/join', (u) => (id = u.group), { body: how })
    setLink('')
    await readGroups()
    if (id) go({ view: 'group', id })
  })
  return (
    <main class="middle">
      <Head title="Find or join a group" />
      <Trouble of={trouble.value} />
      <div class="sheet">
        <form onSubmit={(e) => { e.preventDefault(); void search() }}>
          <h3>By its name</h3>
          <div class="row">
            <label class="grow">Words of the name, or the full ID<input required autoFocus dir="auto" value={name} onInput={(e) => set(e.currentTarget.value)} /></label>
            <button class="good">Search</button>
          </div>
        </form>
        <div aria-live="polite">
          {found && found.length === 0 && <p class="faint">{busy ? 'Looking everywhere…' : 'Nothing was found. A private group is found by nobody: ask for an invite.'}</p>}
          {found && found.length > 0 && <ul class="people">{found.map((x) => (
            <li key={x.id}>
              <span class="grow"><bdi class="strong">{clean(x.name)}</bdi> <small>{clean(x.description)}</small><small>{short(x.id)}, about {count(x.members, 'member')}, {{ open: 'open', request: 'an admin lets in', invite: 'by invite' }[x.policy]}{!x.verified && ', not verified'}</small></span>
              {groups.value?.some((g) => g.id === x.id) ? <button onClick={() => go({ view: 'group', id: x.id })}>Open</button>
                : x.policy === 'invite' ? <small>needs an invite</small> : <button class="good" onClick={() => void join({ group: x.id })}>Join</button>}
            </li>
          ))}</ul>}
          {found && found.length > 1 && <p class="faint">Anybody may use any name. Compare the ID with the one that you were told.</p>}
        </div>
        <form onSubmit={(e) => { e.preventDefault(); void join({ link: link.trim() }) }}>
          <h3>With an invite</h3>
          <label>The link<textarea required rows={3} class="link" spellcheck={false} placeholder="pandanode:invite/…" value={link} onInput={(e) => setLink(e.currentTarget.value)} /></label>
          <div class="row end"><button class="good">Join</button></div>
        </form>
      </div>
    </main>
  )
}

const signs: Record<string, string> = { ok: '✓', warn: '!', fail: '✕', unknown: '?' }

export function Doctor() {
  const [s, setS] = useState<Status | null>(null)
  const [c, setC] = useState<Checkup | null>(null)
  const [p, setP] = useState<Peers | null>(null)
  const read = () => attempt(async () => {
    setC(null)
    const [a, b, d] = await Promise.all([ask<Status>('GET', '/v1/status'), ask<Checkup>('GET', '/v1/checkup'), ask<Peers>('GET', '/v1/peers')])
    setS(a); setC(b); setP(d)
  })
  useEffect(() => void read(), [])
  return (
    <main class="middle">
      <Head title="How the node is" />
      <Trouble of={trouble.value} />
      <div class="sheet">
        {s && (
          <dl>
            <dt>Device</dt><dd><bdi>{clean(s.name)}</bdi></dd>
            <dt>User</dt><dd><code>{s.user}</code></dd>
            <dt>Version</dt><dd>{s.version || '–'}, up {s.uptime}</dd>
            <dt>State</dt><dd>{s.levels.map((l) => <div>{l.reached ? '✓ ' : '· '}{l.level}{l.missing && <small> {clean(l.missing)}</small>}</div>)}</dd>
          </dl>
        )}
        <div class="row"><h3 class="grow">Checks</h3><button onClick={() => void read()}>Check again</button></div>
        {c ? <ul class="checks">{c.findings.map((f) => <li class={f.health}><span aria-label={f.health}>{signs[f.health]}</span><span class="grow"><b>{f.check}</b> {sentence(clean(f.detail))}{f.hint && <small>What helps: {f.hint}</small>}</span></li>)}</ul> : <p class="faint">The node looks at itself…</p>}
        {p && <><h3>{count(p.peers.length, 'connected peer')}</h3><ul class="people">{p.peers.map((x) => <li><span class="grow"><code>{x.peer}</code><small>{x.direction}, by {x.source}, since {moment(x.since)}{x.limited && ', over a relay'}</small></span></li>)}</ul></>}
      </div>
    </main>
  )
}

/** First is what somebody sees who is in no group yet. */
export function First() {
  return (
    <main class="middle">
      <div class="hello">
        <img src="/icon.svg" alt="" width="88" height="88" />
        <h2>Welcome, <bdi>{clean(ownName.value)}</bdi></h2>
        <p>Your node runs, and this page talks to it alone. Three steps:</p>
        <ol>
          <li><b>Have a group.</b> Create one, or join one that is there, by its name or an invite.<div class="row"><button class="good" onClick={() => go({ view: 'new' })}>Create a group</button><button onClick={() => go({ view: 'find' })}>Find or join one</button></div></li>
          <li><b>Let others in.</b> In the group, under Invites, you make a link and a QR code.</li>
          <li><b>Write.</b> A message waits on your device until the others are there: ✓ it is kept, ✓✓ others have it.</li>
        </ol>
      </div>
    </main>
  )
}


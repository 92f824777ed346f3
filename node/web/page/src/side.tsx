// The right: members, requests, invites, settings.
import { Icon } from './icons'
import { useEffect, useState } from 'preact/hooks'
import type { Group, Invite, Invites, Member, Person, Request } from './api.gen'
import { ask, path } from './net'
import { attempt, go, groups, me, members, open, readMembers, refresh, requests, side } from './state'
import { Thread, thread } from './thread'
import { Copy, Dialog, QR, sentence, Sure } from './parts'
import { called, clean, count, hue, initial, moment, Name, nameOf, short } from './words'

const tabs = ['thread', 'members', 'invites', 'settings'] as const

export function Side() {
  const g = open.value
  if (!g || !side.value) return null
  const chief = g.role === 'owner' || g.role === 'admin'
  const shown = tabs.filter((t) => (t !== 'invites' || chief) && (t !== 'thread' || thread.value !== ''))
  const keys = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0
    const next = shown[shown.indexOf(side.value as 'members') + step]
    if (!step || !next) return
    side.value = next
    setTimeout(() => document.getElementById('tab-' + next)?.focus())
  }
  return (
    <aside class="side" aria-label="About this group" onKeyDown={(e) => e.key === 'Escape' && !(e.target as Element).closest('dialog') && (side.value = '')}>
      <header>
        <div role="tablist" class="tabs" onKeyDown={keys}>
          {shown.map((t) => (
            <button role="tab" id={'tab-' + t} aria-selected={side.value === t} aria-controls="tab" tabIndex={side.value === t ? 0 : -1} onClick={() => (side.value = t)}>
              {t.charAt(0).toUpperCase() + t.slice(1)}{t === 'members' && requests.value.list.length > 0 && <span class="count hot">{requests.value.list.length}<span class="sr"> ask to be let in</span></span>}
            </button>
          ))}
        </div>
        <button class="icon" aria-label="Close" onClick={() => (side.value = '')}><Icon of="close" /></button>
      </header>
      <div class="body" role="tabpanel" id="tab" aria-labelledby={'tab-' + side.value} key={g.id + side.value}>
        {side.value === 'thread' && thread.value && <Thread g={g} />}
        {side.value === 'members' && <People g={g} chief={chief} />}
        {side.value === 'invites' && chief && <Ways g={g} />}
        {side.value === 'settings' && <Settings g={g} chief={chief} />}
      </div>
    </aside>
  )
}

function People({ g, chief }: { g: Group; chief: boolean }) {
  const list = members.value.id === g.id ? members.value.list : []
  const waiting = requests.value.id === g.id ? requests.value.list : []
  return (
    <>
      {waiting.length > 0 && <><h3>Ask to be let in</h3><ul class="people">{waiting.map((r) => <Asks key={r.user} g={g} r={r} />)}</ul></>}
      <h3>{count(list.length, 'member')}</h3>
      <ul class="people">{list.map((m) => <Person key={m.user} g={g} m={m} chief={chief} />)}</ul>
    </>
  )
}

function Asks({ g, r }: { g: Group; r: Request }) {
  const answer = (how: string) => attempt(async () => { await ask('POST', path`/v1/groups/${g.id}/requests/${r.user}/` + how); await readMembers(g.id) })
  return (
    <li>
      <span class={'face ' + hue(r.user)} aria-hidden="true">{initial(r.name)}</span>
      <span class="grow"><Name id={r.user} name={r.name} /><small>{short(r.user)}{r.removed && ', was removed before'}</small></span>
      <span class="row">
        <button class="good" onClick={() => void answer('approve')}>Let in</button>
        <button onClick={() => void answer('deny')}>Refuse</button>
      </span>
    </li>
  )
}

const roles = ['owner', 'admin', 'member', 'read-only']

function Person({ g, m, chief }: { g: Group; m: Member; chief: boolean }) {
  const [more, set] = useState(false)
  const [sure, ask2] = useState(false)
  const [compare, verify] = useState(false)
  const owner = g.role === 'owner'
  const may = chief && !m.self && (owner || roles.indexOf(m.role) >= roles.indexOf(g.role || ''))
  const act = (f: () => Promise<unknown>) => void attempt(async () => { await f(); await readMembers(g.id) })
  return (
    <li class="person">
      <button class="line" aria-expanded={more} onClick={() => set(!more)}>
        <span class={'face ' + hue(m.user)} aria-hidden="true">{initial(m.name)}</span>
        <span class="grow"><Name id={m.user} name={m.name} />{m.self && ' (you)'}<small>{m.role}{!m.in_tree && ', being added'}{m.own_name && <>, calls itself <bdi>{clean(m.own_name)}</bdi></>}{m.about && <>, <bdi>{clean(m.about)}</bdi></>}{m.blocked && ', blocked'}{m.new_devices && ', has a new device'}</small></span>
      </button>
      {more && (
        <div class="more">
          <dl>
            <dt>User</dt><dd><code>{m.user}</code></dd>
            <dt>{m.devices.length === 1 ? 'Device' : 'Devices'}</dt><dd>{m.devices.map((d) => <code>{d}</code>)}</dd>
            <dt>Since</dt><dd>{moment(m.since)}</dd>
          </dl>
          {!m.self && <Keeps m={m} verify={() => verify(true)} act={act} />}
          {owner && !m.self && (
            <label>Role<select value={m.role} onChange={(e) => { const role = e.currentTarget.value; act(() => ask('POST', path`/v1/groups/${g.id}/members/${m.user}/role`, { role })) }}>{roles.map((r) => <option>{r}</option>)}</select></label>
          )}
          {may && <button class="bad" onClick={() => ask2(true)}>Remove from the group</button>}
        </div>
      )}
      {compare && <Compare m={m} close={() => verify(false)} act={act} />}
      {sure && <Sure title={`Remove ${nameOf(m)}?`} text={`${nameOf(m)} reads nothing that is written from now on, and keeps what was read before.`} yes="Remove" close={() => ask2(false)}
        act={() => act(() => ask('DELETE', path`/v1/groups/${g.id}/members/${m.user}`))} />}
    </li>
  )
}

/** Keeps is what stays on this node of somebody: its petname, whether it is verified, whether it is blocked. */
function Keeps({ m, verify, act }: { m: Member; verify: () => void; act: (f: () => Promise<unknown>) => void }) {
  const [pet, set] = useState(m.own_name ? m.name : '')
  const keep = (what: { petname?: string; blocked?: boolean }) => act(() => ask('PUT', path`/v1/people/${m.user}`, what))
  return (
    <fieldset>
      <legend>For you alone</legend>
      <form class="row" onSubmit={(e) => { e.preventDefault(); keep({ petname: pet.trim() }) }}>
        <label class="grow">Your name for this user<input value={pet} maxLength={64} onInput={(e) => set(e.currentTarget.value)} /></label>
        <button>Keep</button>
      </form>
      <div class="row">
        <button onClick={verify}>{m.verified ? 'Verified' : 'Verify'}…</button>
        <button class={m.blocked ? '' : 'bad'} onClick={() => keep({ blocked: !m.blocked })}>{m.blocked ? 'Show what this user writes' : 'Block'}</button>
      </div>
    </fieldset>
  )
}

/** Compare shows what two people compare. */
function Compare({ m, close, act }: { m: Member; close: () => void; act: (f: () => Promise<unknown>) => void }) {
  const [p, set] = useState<Person | null>(null)
  const [shown, setShown] = useState('')
  useEffect(() => void attempt(async () => set(await ask<Person>('GET', path`/v1/people/${m.user}`))), [m.user])
  return (
    <Dialog title={`Verify ${nameOf(m)}`} close={close}>
      <p>If the other side shows the same digits, or says the same words in a call, nobody is between you.</p>
      {p ? <>
        <p class="digits"><code>{p.digits}</code></p>
        <p class="digits"><code>{p.words}</code></p>
        {p.code && <QR text={p.code} label="The code for the other side to scan" />}
        {m.verified ? <p>You verified this user{p.verified_at && <> on {moment(p.verified_at)}</>}.{p.new_devices && ' It has a new device since then: verify again.'}</p> : null}
        <form onSubmit={(e) => { e.preventDefault(); close(); act(() => ask('POST', path`/v1/people/${m.user}/verified`, { shown })) }}>
          <label>What the other side shows<input value={shown} onInput={(e) => setShown(e.currentTarget.value)} /></label>
          <div class="row end">
            {m.verified && <button type="button" onClick={() => { close(); act(() => ask('DELETE', path`/v1/people/${m.user}/verified`)) }}>Not verified any more</button>}
            <button class="good" disabled={!shown.trim()}>It is the same</button>
          </div>
        </form>
      </> : <p class="faint">Asking the node…</p>}
    </Dialog>
  )
}

const ends: [string, string][] = [['1h', 'an hour'], ['24h', 'a day'], ['168h', 'a week'], ['', 'never']]

function Ways({ g }: { g: Group }) {
  const [list, set] = useState<Invite[] | null>(null)
  const [made, setMade] = useState<Invite | null>(null)
  const [f, setF] = useState({ role: 'member', uses: '1', expires: '24h' })
  const read = () => attempt(async () => set((await ask<Invites>('GET', path`/v1/groups/${g.id}/invites`)).invites || []))
  useEffect(() => void read(), [g.id])
  const make = () => attempt(async () => {
    setMade(await ask<Invite>('POST', path`/v1/groups/${g.id}/invites`, { role: f.role, uses: Number(f.uses), expires: f.expires || undefined }))
    await read()
  })
  const valid = (list || []).filter((i) => i.valid)
  return (
    <>
      <form onSubmit={(e) => { e.preventDefault(); void make() }}>
        <h3>Give out an invite</h3>
        <label>Whoever has it becomes<select value={f.role} onChange={(e) => setF({ ...f, role: e.currentTarget.value })}>{['member', 'read-only', 'admin'].map((r) => <option>{r}</option>)}</select></label>
        <label>It lets in<select value={f.uses} onChange={(e) => setF({ ...f, uses: e.currentTarget.value })}><option value="1">one user</option><option value="5">5 users</option><option value="20">20 users</option><option value="0">any number</option></select></label>
        <label>It ends after<select value={f.expires} onChange={(e) => setF({ ...f, expires: e.currentTarget.value })}>{ends.map(([v, t]) => <option value={v}>{t}</option>)}</select></label>
        <button class="good">Make a link</button>
      </form>
      <h3>{valid.length ? 'Invites that are good' : 'No invite is good now'}</h3>
      <ul class="people">
        {valid.map((i) => (
          <li key={i.id}>
            <span class="grow"><span>for {i.role}, used {i.uses ? `${i.used} of ${i.uses}` : count(i.used, 'time')}</span><small>{i.expires ? 'until ' + moment(i.expires) : 'without an end'}, by {called(i.by, i.by_name)}</small></span>
            <button onClick={() => void attempt(async () => { await ask('DELETE', path`/v1/groups/${g.id}/invites/${i.id}`); await read() })}>Revoke</button>
          </li>
        ))}
      </ul>
      {made?.link && (
        <Dialog title="An invite" close={() => setMade(null)}>
          <p>Whoever has this link can come in. It is shown this once, and kept nowhere.</p>
          <QR text={made.link} label="The invite as a QR code" />
          <textarea class="link" readOnly rows={4} aria-label="The link" value={made.link} onFocus={(e) => e.currentTarget.select()} />
          <div class="row end"><Copy text={made.link} label="Copy the link" /></div>
        </Dialog>
      )}
    </>
  )
}

/** Local is what stays on this node. */
function Local({ g }: { g: Group }) {
  const set = (what: { muted?: boolean; pinned?: boolean }) => void attempt(async () => { await ask('PUT', path`/v1/groups/${g.id}/local`, what); await refresh(g.id) })
  return (
    <fieldset>
      <legend>For you alone</legend>
      <label class="choice"><input type="checkbox" checked={!!g.pinned} onChange={(e) => set({ pinned: e.currentTarget.checked })} /><span>Pinned<small>It stays on top of the list.</small></span></label>
      <label class="choice"><input type="checkbox" checked={!!g.muted} onChange={(e) => set({ muted: e.currentTarget.checked })} /><span>Muted<small>Only what mentions you stands out.</small></span></label>
    </fieldset>
  )
}

/** Setting is a choice that holds for everybody in the group. */
function Setting({ g, of, label, choices }: { g: Group; of: string; label: string; choices: [string, string][] }) {
  const now = g.settings?.[of] || ''
  if (now && !choices.some(([v]) => v === now)) choices.push([now, clean(now)])
  return <label>{label}<select value={now} onChange={(e) => { const value = e.currentTarget.value; void attempt(() => ask('PUT', path`/v1/groups/${g.id}/settings/${of}`, { value })) }}>{choices.map(([v, t]) => <option value={v}>{t}</option>)}</select></label>
}

function Settings({ g, chief }: { g: Group; chief: boolean }) {
  const [name, setName] = useState(clean(g.name))
  const [about, setAbout] = useState(clean(g.description))
  const [sure, setSure] = useState<'' | 'leave' | 'forget' | 'unsent'>('')
  const save = () => attempt(() => ask('POST', path`/v1/groups/${g.id}/profile`, { name: name !== g.name ? name : undefined, description: about !== (g.description || '') ? about : undefined }))
  const alone = g.members === 1
  const forget = (discard: boolean) => attempt(async () => {
    await ask('POST', path`/v1/groups/${g.id}/forget`, { discard_unsent: discard })
    groups.value = groups.value!.filter((x) => x.id !== g.id)
    go({ view: 'group' })
  })
  return (
    <>
      <Local g={g} />
      {chief && g.state === 'member' ? (
        <form onSubmit={(e) => { e.preventDefault(); void save() }}>
          <label>Name<input value={name} dir="auto" required maxLength={64} onInput={(e) => setName(e.currentTarget.value)} /></label>
          <label>Description<textarea rows={3} dir="auto" maxLength={1024} value={about} onInput={(e) => setAbout(e.currentTarget.value)} /></label>
          <button class="good" disabled={name === g.name && about === (g.description || '')}>Save</button>
        </form>
      ) : g.description ? <p dir="auto">{clean(g.description)}</p> : null}
      {chief && g.state === 'member' && <>
        <Setting g={g} of="expiry" label="Messages stay" choices={[['', 'for ever'], ['1d', 'a day'], ['7d', 'a week'], ['30d', '30 days'], ['365d', 'a year']]} />
        <Setting g={g} of="files.max" label="Files have at most" choices={[['', 'what each node lets its user send'], ['1MiB', '1 MiB'], ['10MiB', '10 MiB'], ['100MiB', '100 MiB'], ['1GiB', '1 GiB']]} />
      </>}
      <dl>
        <dt>Your role</dt><dd>{g.role || '–'}</dd>
        <dt>Who comes in</dt><dd>{{ open: 'anybody who asks', request: 'those an admin lets in', invite: 'those with an invite' }[g.policy] || g.policy}</dd>
        <dt>Found by</dt><dd>{g.private ? 'invite only' : 'its name'}</dd>
        <dt>Founded</dt><dd>{moment(g.created)}</dd>
        <dt>ID</dt><dd><code>{g.id}</code> <Copy text={g.id} /></dd>
        <dt>Epoch</dt><dd>{g.epoch}</dd>
        {g.mailboxes > 0 && <><dt>Mailboxes</dt><dd>{g.mailboxes}</dd></>}
        {g.missing && <><dt>Not synced</dt><dd>{sentence(clean(g.missing))}</dd></>}
      </dl>
      <div class="row">
        {g.state === 'out' || alone ? null : <button class="bad" disabled={!!g.leaving} onClick={() => setSure('leave')}>{g.leaving ? 'Leaving…' : 'Leave the group'}</button>}
        {alone && g.state === 'member' && <button class="bad" onClick={() => setSure('leave')}>Leave the group</button>}
        {g.state === 'out' && <button class="bad" onClick={() => setSure('forget')}>Forget the group</button>}
      </div>
      {sure === 'leave' && <Sure title={`Leave ${clean(g.name)}?`} text={alone ? 'You are its only member: nobody is left who could let you in again.' : `You go as soon as a member who stays has all that you wrote. ${me.value?.name ? '' : ''}Somebody has to let you in if you want to come back.`} yes="Leave" close={() => setSure('')} act={() => attempt(() => ask('POST', path`/v1/groups/${g.id}/leave`))} />}
      {sure === 'forget' && <Sure title="Forget this group?" text="Its messages go from this device, and with them those of your own that nobody else is known to have." yes="Forget" close={() => setSure('')} act={() => forget(true)} />}
    </>
  )
}

// Who this node's user is: what members of all its groups see.
import { useState } from 'preact/hooks'
import type { UserProfile } from './api.gen'
import { ask } from './net'
import { Copy, Dialog, Trouble } from './parts'
import { attempt, me, ownName, profile, trouble } from './state'
import { clean, hue, initial } from './words'

/** You is the button with one's own name. */
export function You() {
  const [more, set] = useState(false)
  return (
    <>
      <button class="line grow you" title="How members see you" onClick={() => set(true)}>
        <span class={'face ' + hue(me.value?.user || '')} aria-hidden="true">{initial(ownName.value)}</span>
        <span class="grow"><bdi>{clean(ownName.value)}</bdi><span class="sr">, how members see you</span></span>
      </button>
      {more && <Profile close={() => set(false)} />}
    </>
  )
}

function Profile({ close }: { close: () => void }) {
  const [name, setName] = useState(clean(ownName.value))
  const [about, setAbout] = useState(clean(profile.value.about))
  const save = () => attempt(async () => {
    profile.value = await ask<UserProfile>('PUT', '/v1/profile', { name: name.trim(), about: about.trim() })
    close()
  })
  return (
    <Dialog title="How members see you" close={close}>
      <Trouble of={trouble.value} />
      <form onSubmit={(e) => { e.preventDefault(); void save() }}>
        <p class="faint">In all your groups, in place of the name of this device. Those who come in later get it when you write.</p>
        <label>Name<input value={name} dir="auto" maxLength={64} placeholder={clean(me.value?.name)} onInput={(e) => setName(e.currentTarget.value)} /></label>
        <label>About you<textarea rows={2} dir="auto" maxLength={256} value={about} onInput={(e) => setAbout(e.currentTarget.value)} /></label>
        <dl>
          <dt>User</dt><dd><code>{me.value?.user}</code> <Copy text={me.value?.user || ''} /></dd>
          <dt>Device</dt><dd><bdi>{clean(me.value?.name)}</bdi></dd>
        </dl>
        <div class="row end"><button class="good" disabled={name.trim() === ownName.value && about.trim() === (profile.value.about || '')}>Save</button></div>
      </form>
    </Dialog>
  )
}

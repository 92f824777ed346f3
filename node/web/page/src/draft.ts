// Drafts are the node's: what somebody has begun is there in another tab, and after a reload.
// The page stores none, since a browser would write that to the disk as it is.
import type { Draft, Local } from './api.gen'
import { ask, path, token } from './net'

const none: Draft = { text: '' }
const mine = new Map<string, Draft>() // as they are written here
const kept = new Map<string, Draft>() // as the node has them, as far as is known
const telling = new Map<string, Draft>() // as the node is being told
const timers = new Map<string, number>()

const same = (a: Draft, b: Draft) => a.text === b.text && (a.reply_to || '') === (b.reply_to || '')

export const draft = (group: string) => mine.get(group) || none

/** begun notes what stands in the line, and tells the node of it soon. */
export function begun(group: string, d: Draft) {
  mine.set(group, d)
  clearTimeout(timers.get(group))
  timers.set(group, window.setTimeout(() => keep(group), 400))
}

function keep(group: string) {
  clearTimeout(timers.get(group))
  const d = draft(group)
  if (!token.peek() || same(d, telling.get(group) || kept.get(group) || none)) return
  telling.set(group, d)
  ask('PUT', path`/v1/groups/${group}/local`, { draft: { text: d.text, reply_to: (d.text && d.reply_to) || undefined } })
    .then(() => kept.set(group, d), () => {}) // it is told again with the next word
    .finally(() => { if (telling.get(group) === d) telling.delete(group) })
}

/** sent takes a draft out of the line. The node keeps it until it has the message. */
export function sending(group: string) {
  clearTimeout(timers.get(group))
  mine.set(group, none)
}

export function sent(group: string) {
  if (!draft(group).text) {
    kept.set(group, { text: '?' }) // the node may have erased it by itself
    keep(group)
  }
}

/** unkept gives what the node has not been told of. */
export const unkept = () => [...mine].flatMap(([group, d]) => (d.text && !same(d, kept.get(group) || none) ? [d.text] : []))

/** read asks the node for a draft. It gives one if another tab has written it, or one of before. */
export async function read(group: string): Promise<Draft | null> {
  const before = draft(group)
  const told = (await ask<Local>('GET', path`/v1/groups/${group}/local`)).draft || none
  const known = kept.get(group) || none
  if (!same(draft(group), before) || !same(before, known) || same(told, known)) return null // something was typed here since
  kept.set(group, told)
  mine.set(group, told)
  return told
}

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'hidden') for (const g of mine.keys()) keep(g)
})
addEventListener('pagehide', () => { for (const g of mine.keys()) keep(g) })

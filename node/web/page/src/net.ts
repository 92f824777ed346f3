// The API of the node, asked by fetch with the token of this tab.
import { signal } from '@preact/signals'
import type { APIError } from './api.gen'

const kept = 'pandanode.token'

export const token = signal<string | null>(sessionStorage.getItem(kept))

/** Fault is an error of the node: what happened, and what helps. */
export class Fault extends Error {
  code: string
  hint: string
  constructor(e: Partial<APIError>) {
    super(e.message || 'something went wrong')
    this.code = e.code || 'internal'
    this.hint = e.hint || ''
  }
}

export const gone = 'unavailable'

/** ended: this tab was logged in, and the node does not know it any more. */
export const ended = signal(false)

export function leave() {
  sessionStorage.removeItem(kept)
  token.value = null
}

async function raw(method: string, path: string, body: unknown, o: { last?: string; signal?: AbortSignal } = {}): Promise<Response> {
  const headers: Record<string, string> = {}
  if (token.value) headers.Authorization = 'Bearer ' + token.value
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (o.last) headers['Last-Event-ID'] = o.last
  let r: Response
  try {
    r = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: o.signal, keepalive: method === 'PUT', credentials: 'omit', redirect: 'error', cache: 'no-store' })
  } catch (e) {
    if (o.signal?.aborted) throw e
    throw new Fault({ code: gone, message: 'the node does not answer' })
  }
  if (r.ok) return r
  let e: APIError | undefined
  try {
    e = (await r.json()).error
  } catch {
    // no answer of the node's
  }
  if (r.status === 401 && token.value) {
    ended.value = true
    leave()
  }
  throw new Fault(e || { message: `the node answered ${r.status}` })
}

/** content gives the bytes of a file that is here. */
export async function content(id: string): Promise<ArrayBuffer> {
  return (await raw('GET', path`/v1/files/${id}/content`, undefined)).arrayBuffer()
}

/** upload gives a file to the node, and says how much of it is there. Only an XMLHttpRequest tells that. */
export function upload<T>(file: File, group: string, keep: boolean, sent: (n: number) => void, stop: AbortSignal): Promise<T> {
  return new Promise((done, fail) => {
    const x = new XMLHttpRequest()
    x.open('POST', '/v1/files?name=' + encodeURIComponent(file.name) + '&group=' + encodeURIComponent(group) + (keep ? '&keep_metadata=true' : ''))
    x.setRequestHeader('Authorization', 'Bearer ' + token.value)
    x.setRequestHeader('Content-Type', 'application/octet-stream')
    x.upload.onprogress = (e) => sent(e.loaded)
    x.onload = () => {
      let said: (T & { error?: undefined }) | { error: APIError } | undefined
      try {
        said = JSON.parse(x.responseText)
      } catch {
        // no answer of the node's
      }
      if (x.status === 401) {
        ended.value = true
        leave()
      }
      if (x.status === 200 && said) done(said as T)
      else fail(new Fault(said?.error || { message: `the node answered ${x.status}` }))
    }
    x.onerror = () => fail(new Fault({ code: gone, message: 'the file could not be read, or the node does not answer' }))
    x.onabort = () => fail(new Fault({ message: 'it was called off' }))
    stop.addEventListener('abort', () => x.abort())
    x.send(file)
  })
}

/** path puts values into a path: path`/v1/groups/${id}`. */
export function path(parts: TemplateStringsArray, ...values: (string | number)[]): string {
  return parts.reduce((out, p, i) => out + encodeURIComponent(values[i - 1]!) + p)
}

export async function ask<T>(method: string, where: string, body?: unknown): Promise<T> {
  return (await raw(method, where, body === undefined && (method === 'POST' || method === 'PUT') ? {} : body)).json()
}

/** follow calls emit for each item of a stream, and returns when that ends. */
export async function follow<T>(method: string, where: string, emit: (item: T, id: string) => void, o: { body?: unknown; last?: string; signal?: AbortSignal; begun?: () => void } = {}): Promise<void> {
  const r = await raw(method, where, o.body ?? (method === 'POST' ? {} : undefined), o)
  o.begun?.()
  const reader = r.body!.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let ended = false
  for (;;) {
    const { value, done } = await reader.read().catch(() => ({ value: undefined, done: true }))
    if (done) break
    const events = (rest + value).split('\n\n')
    rest = events.pop()!
    for (const e of events) {
      let name = '', id = '', data = ''
      for (const line of e.split('\n')) {
        if (line.startsWith('event: ')) name = line.slice(7)
        else if (line.startsWith('id: ')) id = line.slice(4)
        else if (line.startsWith('data: ')) data = line.slice(6)
      }
      if (name === 'end') ended = true
      else if (name === 'error') throw new Fault(JSON.parse(data).error)
      else if (data) emit(JSON.parse(data), id)
    }
  }
  if (!ended && !o.signal?.aborted) throw new Fault({ code: gone, message: 'the node does not answer' })
}

/** all gives the items of a stream that ends. */
export async function all<T>(where: string): Promise<T[]> {
  const out: T[] = []
  await follow<T>('GET', where, (x) => out.push(x))
  return out
}

/** gather gives at most so many items of a stream; cut: there are more. */
export async function gather<T>(where: string, most: number, signal?: AbortSignal): Promise<{ items: T[]; cut: boolean }> {
  const items: T[] = []
  const stop = new AbortController()
  const end = () => stop.abort()
  signal?.addEventListener('abort', end)
  try {
    await follow<T>('GET', where, (x) => {
      if (items.length < most) items.push(x)
      else stop.abort()
    }, { signal: stop.signal })
  } catch (e) {
    if (!stop.signal.aborted) throw e
  }
  signal?.removeEventListener('abort', end)
  return { items, cut: stop.signal.aborted }
}

/** login trades the secret in the address for a token, and wipes it before anything else. */
export async function login(): Promise<void> {
  const m = /^#login=([\w-]+)$/.exec(location.hash)
  if (!m) return
  history.replaceState(null, '', location.pathname)
  const { token: t } = await ask<{ token: string }>('POST', '/login', { login: m[1] })
  sessionStorage.setItem(kept, t)
  ended.value = false
  token.value = t
}

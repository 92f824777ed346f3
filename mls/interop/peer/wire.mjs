// The RPCs of the interoperability harness as JSON lines over stdio: a request is
// {id, method, request}, its answer {id, response} or {id, code, error}, messages in
// proto3's JSON form with the field names of the .proto (bytes are base64).
import { createInterface } from 'node:readline'

// Unimplemented is thrown for what the peer's public interface does not offer.
export class Unimplemented extends Error {}

export const bytes = (s) => new Uint8Array(Buffer.from(s ?? '', 'base64'))
export const base64 = (b) => (b === undefined ? '' : Buffer.from(b).toString('base64'))

// Registry numbers what the RPCs refer to; ids of all registries are distinct.
let lastId = 0
export class Registry extends Map {
  constructor(what) {
    super()
    this.what = what
  }
  put(value) {
    this.set(++lastId, value)
    return lastId
  }
  take(id) {
    const value = this.get(id)
    if (value === undefined) throw new Error(`${this.what} ${id} is unknown`)
    return value
  }
}

// detail is the cause within an error of core-crypto.
const detail = (inner) => JSON.stringify(inner, (_, v) => (typeof v === 'bigint' ? String(v) : v))

// serve answers requests one after the other until stdin ends.
export async function serve(methods) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, request } = JSON.parse(line)
    let answer
    try {
      if (!(method in methods)) throw new Unimplemented(method)
      answer = { id, response: (await methods[method](request)) ?? {} }
    } catch (e) {
      const code = e instanceof Unimplemented ? 'unimplemented' : 'aborted'
      answer = { id, code, error: `${e?.name ?? 'Error'}: ${e?.message ?? e}${e?.inner ? ' ' + detail(e.inner) : ''}` }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
}

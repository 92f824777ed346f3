// Pictures: known by their bytes, never by their name or by what their sender says.

export interface Picture {
  type: string
  width: number
  height: number
}

/** picture says what picture the bytes are; null: none that a page may show. SVG is none. */
export function picture(b: Uint8Array): Picture | null {
  const v = new DataView(b.buffer, b.byteOffset, b.byteLength)
  const is = (at: number, text: string) => at + text.length <= b.length && [...text].every((c, i) => b[at + i] === c.charCodeAt(0))
  const of = (type: string, width: number, height: number) => (width > 0 && height > 0 ? { type, width, height } : null)
  if (is(0, '\x89PNG\r\n\x1a\n') && is(12, 'IHDR') && b.length >= 24) return of('image/png', v.getUint32(16), v.getUint32(20))
  if ((is(0, 'GIF87a') || is(0, 'GIF89a')) && b.length >= 10) return of('image/gif', v.getUint16(6, true), v.getUint16(8, true))
  if (is(0, 'RIFF') && is(8, 'WEBP') && b.length >= 30) {
    if (is(12, 'VP8X')) return of('image/webp', 1 + (v.getUint32(23, true) >>> 8), 1 + (v.getUint32(26, true) >>> 8))
    if (is(12, 'VP8L')) {
      const n = v.getUint32(21, true)
      return of('image/webp', 1 + (n & 0x3fff), 1 + ((n >>> 14) & 0x3fff))
    }
    if (is(12, 'VP8 ')) return of('image/webp', v.getUint16(26, true) & 0x3fff, v.getUint16(28, true) & 0x3fff)
    return null
  }
  if (!is(0, '\xff\xd8\xff')) return null
  for (let at = 2; at + 9 <= b.length; at += 2 + v.getUint16(at + 2)) { // the segments of a JPEG
    while (b[at] === 0xff && b[at + 1] === 0xff) at++ // padding
    const mark = b[at + 1]!
    if (b[at] !== 0xff || mark === 0xda) return null
    if (at + 9 <= b.length && mark >= 0xc0 && mark <= 0xcf && mark !== 0xc4 && mark !== 0xc8 && mark !== 0xcc) return of('image/jpeg', v.getUint16(at + 7), v.getUint16(at + 5))
  }
  return null
}

/** shows says whether a picture may be drawn: one that says that it is huge costs memory as if it were. */
export const shows = (p: Picture | null) => !!p && p.width * p.height <= 40e6

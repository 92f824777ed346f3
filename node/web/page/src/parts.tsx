// Small parts that all of the page uses.
import type { ComponentChildren } from 'preact'
import { Icon } from './icons'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ask, Fault } from './net'
import { trouble } from './state'

/** Dialog is a modal window; Escape and a click beside it close it. */
export function Dialog({ title, wide, close, children }: { title: string; wide?: boolean; close: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const back = document.activeElement as HTMLElement | null
    ref.current!.showModal()
    return () => back?.focus?.()
  }, [])
  return (
    <dialog ref={ref} class={wide ? 'wide' : undefined} aria-label={title} onClose={close} onClick={(e) => e.target === ref.current && close()}>
      <header>
        <h2 dir="auto">{title}</h2>
        <button class="icon" aria-label="Close" onClick={close}><Icon of="close" /></button>
      </header>
      {children}
    </dialog>
  )
}

/** Sure asks before something that cannot be taken back. */
export function Sure({ title, text, yes, act, close }: { title: string; text: string; yes: string; act: () => unknown; close: () => void }) {
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      <div class="row end">
        <button onClick={close}>Cancel</button>
        <button class="bad" onClick={() => { close(); void act() }}>{yes}</button>
      </div>
    </Dialog>
  )
}

export function Trouble({ of }: { of: Fault | null }) {
  if (!of) return null
  return (
    <div class="trouble" role="alert">
      <span>{sentence(of.message)}{of.hint && <small> What helps: {of.hint}</small>}</span>
      <button class="icon" aria-label="Dismiss" onClick={() => (trouble.value = null)}><Icon of="close" /></button>
    </div>
  )
}

export const sentence = (s: string) => s.charAt(0).toUpperCase() + s.slice(1) + (/[.!?]$/.test(s) ? '' : '.')

export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [done, set] = useState(false)
  return (
    <button onClick={() => void navigator.clipboard?.writeText(text).then(() => { set(true); setTimeout(set, 2000, false) }, () => undefined)}>
      {done ? 'Copied' : label}
    </button>
  )
}

/** QR draws a text as a QR code, with the margin that readers need. */
export function QR({ text, label }: { text: string; label: string }) {
  const [rows, set] = useState<string[] | null>(null)
  useEffect(() => {
    let here = true
    ask<{ rows: string[] }>('POST', '/qr', { text }).then((r) => here && set(r.rows), () => undefined)
    return () => { here = false }
  }, [text])
  if (!rows) return null
  const size = rows.length + 8
  let d = ''
  rows.forEach((row, y) => {
    for (const m of row.matchAll(/1+/g)) d += `M${m.index + 4} ${y + 4}h${m[0].length}v1h-${m[0].length}z`
  })
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={d} fill="#000" />
    </svg>
  )
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>
}

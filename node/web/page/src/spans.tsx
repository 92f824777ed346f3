// Markdown, as the node has read it: a tree, of which every word is shown as text.
import type { ComponentChildren } from 'preact'
import type { Message, Span } from './api.gen'
import { me } from './state'
import { clean, Name, Text } from './words'

/** Link opens elsewhere, and shows where that is if its words do not. */
function Link({ s }: { s: Span }) {
  const words = <Spans of={s.spans || []} plain />
  if (!/^(https?|mailto):/i.test(s.url || '')) return words
  let host = ''
  try {
    const u = new URL(s.url!)
    host = u.host || u.pathname
  } catch {
    return words
  }
  const said = (s.spans || []).length === 1 && s.spans![0]!.text === s.url
  return <><a href={s.url} title={clean(s.url)} target="_blank" rel="noopener noreferrer">{words}</a>{!said && <small class="to"> ({clean(host)})</small>}</>
}

/** Spans shows spans; plain: in a link, where no other link may be. */
function Spans({ of, plain }: { of: Span[]; plain?: boolean }) {
  return <>{of.map((s) => one(s, plain))}</>
}

function one(s: Span, plain?: boolean): ComponentChildren {
  const inner = () => <Spans of={s.spans || []} plain={plain} />
  switch (s.kind) {
    case 'text': return plain ? clean(s.text) : <Text>{s.text || ''}</Text>
    case 'break': return <br />
    case 'strong': return <strong>{inner()}</strong>
    case 'emphasis': return <em>{inner()}</em>
    case 'strike': return <s>{inner()}</s>
    case 'code': return <code>{clean(s.text)}</code>
    case 'link': return plain ? inner() : <Link s={s} />
    case 'mention': return <span class={s.user === me.value?.user ? 'mention hot' : 'mention'} title={s.user}>@<Name id={s.user || ''} name={s.name || ''} /></span>
    case 'task': return s.checked ? '☑ ' : '☐ '
    case 'heading': return <p class="strong" role="heading" aria-level={Math.min(6, (s.level || 1) + 2)} dir="auto">{inner()}</p>
    case 'quote': return <blockquote>{inner()}</blockquote>
    case 'list': return s.ordered ? <ol start={s.start}>{inner()}</ol> : <ul>{inner()}</ul>
    case 'item': return <li dir="auto">{inner()}</li>
    case 'code-block': return <pre tabIndex={0}><code>{clean((s.text || '').replace(/\n$/, ''))}</code></pre>
    case 'rule': return <hr />
    case 'table': return <div class="table" tabIndex={0}><table>{inner()}</table></div>
    case 'row': return <tr>{(s.spans || []).map((c) => (s.header ? <th>{one(c, plain)}</th> : <td>{one(c, plain)}</td>))}</tr>
    case 'cell': return inner()
    case 'paragraph': return <p dir="auto">{inner()}</p>
  }
  return s.text ? clean(s.text) : inner() // a kind of a newer node
}

/** Said shows what a message says. */
export function Said({ m }: { m: Message }) {
  if (m.spans?.length) return <div class="md" dir="auto"><Spans of={m.spans} /></div>
  return <p dir="auto"><Text>{m.text ?? `[${m.media_type}]`}</Text></p>
}

// The answers of the routes that the page may use, as node/api has them. Made by
// `go test ./node/web -run TestTypesOfThePage -update`.

export interface APIError {
  code: string
  message: string
  hint?: string
  retryable: boolean
}

export interface Branch {
  tip: string
  epoch: number
  from: string
  length: number
  by?: string
  chosen: boolean
  here: boolean
  held: boolean
  reason?: string
  voters: string[]
}

export interface Candidate {
  id: string
  name?: string
  verified?: boolean
}

export interface Change {
  did: string
  group: string
  group_name: string
  user?: string
  user_name?: string
  verified?: boolean
  doubt?: string
  role?: string
  was?: string
  invite?: string
}

export interface Changed {
  by: string
  name: string
  what: string
}

export interface Checkup {
  findings: Finding[]
}

export interface Deleted {
  by: string
  name: string
  at: string
}

export interface Draft {
  text: string
  reply_to?: string
}

export interface Empty {
}

export interface Event {
  cursor: number
  run?: string
  kind: string
  at: string
  group?: string
  message?: string
  user?: string
  device?: string
  by?: string
  group_name?: string
  user_name?: string
  by_name?: string
  epoch_id?: string
  up_to?: number
  peer?: string
  detail?: string
}

export interface Explanation {
  subject: string
  kind: string
  state: string
  facts: string[]
  next: string[]
}

export interface File {
  id: string
  name?: string
  media_type: string
  size: number
  description?: string
  preview?: string
  state: string
  have: number
  sealed: number
  fetched: number
  wanted?: boolean
  own?: boolean
  pinned?: boolean
  why?: string
  messages?: FileMessage[]
  holders?: FileHolder[]
  created?: string
}

export interface FileHolder {
  peer: string
  user?: string
  name?: string
  verified?: boolean
  doubt?: string
  have: number
  mailbox?: boolean
  why?: string
}

export interface FileMessage {
  group: string
  message: string
}

export interface Files {
  files: File[]
  taken: number
  quota: number
  max: number
  group_max?: number
}

export interface Finding {
  check: string
  health: string
  detail: string
  hint?: string
  code?: string
}

export interface Forgotten {
  group: string
  messages: number
  unsent?: number
}

export interface Found {
  id: string
  name: string
  description?: string
  tags?: string[]
  policy: string
  members: number
  created: string
  source: string
  peer?: string
  verified: boolean
  claims?: string[]
  votes?: number
  sources?: string[]
}

export interface Group {
  id: string
  name: string
  description?: string
  tags?: string[]
  policy: string
  settings?: Record<string, string>
  private: boolean
  created: string
  state: string
  missing?: string
  known_as_of?: string
  leaving?: boolean
  left?: boolean
  active?: string
  unseen: number
  read: number
  unread_count: number
  mention_count: number
  muted?: boolean
  pinned?: boolean
  role?: string
  members: number
  epoch: number
  epoch_id?: string
  epoch_authenticator?: string
  tree_hash?: string
  topic?: string
  published: boolean
  topic_peers: number
  mailboxes: number
  cursor: number
  outbox: number
  gaps: number
  parked: number
  entries: number
}

export interface GroupDevice {
  device: string
  user: string
  name: string
  self: boolean
  last?: string
  vote?: string
  vote_epoch: number
  voted_at?: string
  vote_on_chosen: boolean
  refuses: number
  cannot_get: number
  heard: boolean
  lacks: number
  gaps: number
  rejoins: boolean
  in_tree: boolean
}

export interface GroupMailbox {
  peer: string
  addrs: string[]
  reached?: string
  health: string
  error?: string
  waiting: number
  files_waiting?: number
  file_error?: string
}

export interface GroupStatus {
  id: string
  name: string
  description?: string
  tags?: string[]
  policy: string
  settings?: Record<string, string>
  private: boolean
  created: string
  state: string
  missing?: string
  known_as_of?: string
  leaving?: boolean
  left?: boolean
  active?: string
  unseen: number
  read: number
  unread_count: number
  mention_count: number
  muted?: boolean
  pinned?: boolean
  role?: string
  members: number
  epoch: number
  epoch_id?: string
  epoch_authenticator?: string
  tree_hash?: string
  topic?: string
  published: boolean
  topic_peers: number
  mailboxes: number
  cursor: number
  outbox: number
  gaps: number
  parked: number
  entries: number
  branches: Branch[]
  devices: GroupDevice[]
  gate_closed: boolean
  adds_due: number
  removes_due: number
  heal_at?: string
  settle_at?: string
  rejoining: boolean
  seals_waiting: number
  entries_lacking: number
  requests: number
  unsealed: string[]
  unread: string[]
  suggestions: Suggestion[]
  transport_key: string
  transport_keys: number
}

export interface Groups {
  groups: Group[]
}

export interface Happening {
  cursor: number
  at: string
  live?: boolean
  more?: boolean
  message?: Message
  event?: Event
}

export interface Healed {
  did: string[]
  synced: string[]
  failed: Record<string, string>
  found: number
  alone?: boolean
}

export interface ID {
  user: string
  device: string
  peer: string
  name: string
}

export interface Incidents {
  incidents: Event[]
  refusals: Refused[]
}

export interface Invite {
  id: string
  link?: string
  by: string
  by_name: string
  role: string
  created: string
  expires?: string
  uses: number
  used: number
  revoked_by?: string
  valid: boolean
  void?: string
}

export interface Invites {
  invites: Invite[]
}

export interface JoinUpdate {
  group: string
  stage: string
  detail?: string
  at: string
}

export interface Left {
  waits: boolean
  group: string
  group_name: string
  ended?: boolean
}

export interface LevelState {
  level: string
  reached: boolean
  missing?: string
  as_of?: string
}

export interface Local {
  group: string
  muted: boolean
  pinned: boolean
  draft?: Draft
}

export interface Log {
  operations: Operation[]
}

export interface MailboxStatus {
  boxes: number
  envelopes: number
  bytes: number
  quota: number
  lifetime: string
  files?: number
  file_bytes?: number
  file_quota?: number
}

export interface Mailboxes {
  mailboxes: GroupMailbox[]
}

export interface Member {
  user: string
  name: string
  role: string
  self: boolean
  devices: string[]
  since: string
  in_tree: boolean
  own_name?: string
  about?: string
  verified?: boolean
  blocked?: boolean
  doubt?: string
  new_devices?: string[]
}

export interface Members {
  members: Member[]
  known?: Candidate[]
}

export interface Message {
  cursor: number
  id: string
  group: string
  user: string
  device: string
  name: string
  sent: string
  media_type: string
  text?: string
  data?: string
  spans?: Span[]
  own: boolean
  verified?: boolean
  state?: string
  held_by?: number
  readers?: number
  mimi_id?: string
  edited?: boolean
  versions?: MessageVersion[]
  deleted?: Deleted
  expires?: string
  expired?: boolean
  reply_to?: Reference
  thread?: string
  earlier?: boolean
  replies?: number
  reactions?: Reaction[]
  files?: File[]
  mentions_me?: boolean
  cannot_show?: string
  kind?: string
  group_name?: string
  change?: Changed
}

export interface MessageVersion {
  id: string
  sent: string
  text: string
}

export interface Messages {
  messages: Message[]
  more: boolean
}

export interface Operation {
  hash: string
  at: string
  user: string
  device: string
  name: string
  kind: string
  subject?: string
  subject_device?: string
  subject_name?: string
  role?: string
  why?: string
  invite?: string
  detail?: string
  void?: string
}

export interface Peer {
  peer: string
  addrs: string[]
  source: string
  since: string
  direction: string
  limited: boolean
}

export interface Peers {
  peers: Peer[]
}

export interface People {
  people: Person[]
}

export interface Person {
  user: string
  name: string
  petname?: string
  own_name?: string
  verified?: boolean
  verified_at?: string
  blocked?: boolean
  about?: string
  doubt?: string
  new_devices?: string[]
  digits?: string
  words?: string
  code?: string
}

export interface Reaction {
  text: string
  count: number
  mine?: boolean
  users: string[]
}

export interface ReadMark {
  group: string
  cursor: number
  unread_count: number
  mention_count: number
}

export interface Reference {
  id: string
  user?: string
  name?: string
  excerpt?: string
}

export interface Refused {
  source: string
  reason: string
  count: number
  first: string
  last: string
  from: string
  detail: string
}

export interface Request {
  user: string
  device: string
  name: string
  asked: string
  by: string
  state: string
  denied_by?: string
  removed: boolean
}

export interface Requests {
  requests: Request[]
}

export interface Sent {
  id: string
  ids?: string[]
  group: string
  state: string
  held_by: number
  readers: number
  note?: string
  again?: boolean
}

export interface Span {
  kind: string
  text?: string
  url?: string
  user?: string
  name?: string
  verified?: boolean
  doubt?: string
  level?: number
  ordered?: boolean
  start?: number
  checked?: boolean
  header?: boolean
  language?: string
  spans?: Span[]
}

export interface Status {
  user: string
  device: string
  peer: string
  name: string
  version: string
  pid: number
  home: string
  started: string
  uptime: string
  listen: string[]
  not_listening?: string[]
  clock?: string
  peers: number
  sources: Record<string, number>
  dht_peers: number
  groups: Group[]
  levels: LevelState[]
  metrics?: string
  relays?: string[]
  relay_for?: string
  counters?: Record<string, number>
  mailbox_troubles?: string[]
  hook_troubles?: string[]
  twin?: string
  people_notices?: string[]
  mailbox?: MailboxStatus
  locked?: boolean
  locked_why?: string
}

export interface StoreKind {
  kind: string
  records: number
  bytes: number
}

export interface StoreUsage {
  records: number
  vaults: number
  live_bytes: number
  disk_bytes: number
  kinds: StoreKind[]
}

export interface Suggestion {
  user: string
  silent_since?: string
  invalid?: number
}

export interface UserProfile {
  name: string
  about?: string
}

export interface Version {
  version: string
  revision?: string
  go: string
  os: string
  arch: string
}

// ts-mls as a client of the interoperability harness. Its states are immutable, so a
// state_id is one of them and what came with it.
import { p256, p384, p521 } from '@noble/curves/nist.js'
import * as mls from 'ts-mls'
import { createGroupInfo } from 'ts-mls/createCommit.js'
import { decodeRatchetTree, ratchetTreeEncoder } from 'ts-mls/ratchetTree.js'
import { encode } from 'ts-mls/codec/tlsEncoder.js'
import { Registry, Unimplemented, base64, bytes, serve } from './wire.mjs'

const states = new Registry('state_id')
const joiners = new Registry('transaction_id')
const reinits = new Registry('reinit_id')
const suites = new Map()

const nameOf = (id) => Object.keys(mls.ciphersuites).find((n) => mls.ciphersuites[n] === id)

const curves = { 2: p256, 5: p521, 7: p384 }

// suite gives a ciphersuite, with two deviations of the peer from RFC 9420 mended.
// It puts the bare key into external_pub, where Section 12.4.3.2 has a struct with a
// vector: take the vector's length off. It makes compressed ECDSA keys, where Section
// 5.1.1 wants uncompressed points: make those.
async function suite(id) {
  if (!nameOf(id)) throw new Unimplemented(`ciphersuite ${id}`)
  if (!suites.has(id)) {
    const cs = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(nameOf(id)))
    const importPublicKey = cs.hpke.importPublicKey.bind(cs.hpke)
    const size = (await cs.hpke.exportPublicKey((await cs.hpke.deriveKeyPair(new Uint8Array(cs.kdf.size))).publicKey)).length
    cs.hpke.importPublicKey = (k) => importPublicKey(k.length > size ? k.slice(k.length - size) : k)
    if (curves[id]) {
      const keygen = cs.signature.keygen.bind(cs.signature)
      cs.signature.keygen = async () => {
        const { signKey } = await keygen()
        return { signKey, publicKey: curves[id].getPublicKey(signKey, false) }
      }
    }
    suites.set(id, cs)
  }
  return suites.get(id)
}

const vector = (b) =>
  b.length < 64 ? Uint8Array.of(b.length, ...b) : Uint8Array.of(0x40 | (b.length >> 8), b.length & 255, ...b)

function message(b, wireformat) {
  const decoded = mls.decodeMlsMessage(b, 0)
  if (decoded === undefined || decoded[1] !== b.length) throw new Error('not an MLSMessage')
  if (wireformat && decoded[0].wireformat !== wireformat) throw new Error(`${decoded[0].wireformat} is not ${wireformat}`)
  return decoded[0]
}
const keyPackage = (b) => message(b, 'mls_key_package').keyPackage
const envelope = (wireformat, field, value) => base64(mls.encodeMlsMessage({ version: 'mls10', wireformat, [field]: value }))
const tree = (b) => (b.length ? decodeRatchetTree(b, 0)[0] : undefined)
const extension = (x) => ({
  extensionType:
    Object.keys(mls.defaultExtensionTypes).find((n) => mls.defaultExtensionTypes[n] === x.extension_type) ?? x.extension_type,
  extensionData: bytes(x.extension_data),
})

// Lifetime and capabilities without the GREASE that the peer draws at random.
const capabilities = () => ({
  versions: ['mls10'], ciphersuites: Object.keys(mls.ciphersuites).filter((n) => mls.ciphersuites[n] < 8),
  extensions: [], proposals: [], credentials: ['basic', 'x509'],
})
async function newKeyPackage(cs, identity, signatureKeyPair) {
  const credential = { credentialType: 'basic', identity }
  const made = signatureKeyPair
    ? await mls.generateKeyPackageWithKey(credential, capabilities(), mls.defaultLifetime, [], signatureKeyPair, cs)
    : await mls.generateKeyPackage(credential, capabilities(), mls.defaultLifetime, [], cs)
  return { public: made.publicPackage, private: made.privatePackage }
}

const index = (s) => mls.makePskIndex(s.state, s.psks)
// next is what follows s: the PSKs are the client's, its own proposals the epoch's.
const next = (s, state) => states.put({ ...s, state, own: new Set(), pending: undefined })
const authenticator = (state) => base64(state.keySchedule.epochAuthenticator)

function member(s, identity) {
  const at = s.state.ratchetTree.findIndex(
    (n) => n?.nodeType === 'leaf' && Buffer.from(n.leaf.credential.identity ?? []).equals(Buffer.from(identity)))
  if (at < 0) throw new Error('removed_id is no member')
  return at / 2
}

function describe(s, d) {
  switch (Buffer.from(bytes(d.proposal_type)).toString()) {
    case 'add':
      return { proposalType: 'add', add: { keyPackage: keyPackage(bytes(d.key_package)) } }
    case 'remove':
      return { proposalType: 'remove', remove: { removed: member(s, bytes(d.removed_id)) } }
    case 'externalPSK':
      return { proposalType: 'psk', psk: { preSharedKeyId: { psktype: 'external', pskId: bytes(d.psk_id), pskNonce: s.cs.rng.randomBytes(s.cs.kdf.size) } } }
    case 'resumptionPSK':
      return { proposalType: 'psk', psk: { preSharedKeyId: {
        psktype: 'resumption', usage: 'application', pskGroupId: s.state.groupContext.groupId,
        pskEpoch: BigInt(d.epoch_id), pskNonce: s.cs.rng.randomBytes(s.cs.kdf.size) } } }
    case 'groupContextExtensions':
      return { proposalType: 'group_context_extensions', groupContextExtensions: { extensions: (d.extensions ?? []).map(extension) } }
    case 'reinit':
      return { proposalType: 'reinit', reinit: {
        groupId: bytes(d.group_id), version: 'mls10', cipherSuite: nameOf(d.cipher_suite), extensions: (d.extensions ?? []).map(extension) } }
    default:
      throw new Unimplemented(`proposal_type ${d.proposal_type}`)
  }
}

async function propose(stateId, description) {
  const s = states.take(stateId)
  const out = await mls.createProposal(s.state, !s.encrypt, describe(s, description), s.cs)
  s.state = out.newState
  const proposal = base64(mls.encodeMlsMessage(out.message))
  s.own.add(proposal)
  return { proposal }
}
const kind = (name, fields) => ({ proposal_type: base64(Buffer.from(name)), ...fields })

// receive takes in a proposal or commit; mls.processMessage hides PSKs from PrivateMessages.
async function receive(s, state, b) {
  const m = message(b)
  const out =
    m.wireformat === 'mls_public_message'
      ? await mls.processPublicMessage(state, m.publicMessage, index({ ...s, state }), s.cs)
      : await mls.processPrivateMessage(state, m.privateMessage, index({ ...s, state }), s.cs)
  if (out.newState.groupActiveState.kind === 'removedFromGroup') throw new Error('removed from the group')
  return out.newState
}
async function receiveAll(s, proposals) {
  let state = s.state
  for (const p of proposals) if (!s.own.has(p)) state = await receive(s, state, bytes(p))
  return state
}

async function commit(r) {
  const s = states.take(r.state_id)
  const extraProposals = r.by_value.map((d) => describe(s, d))
  const forced = r.force_path && extraProposals.length + r.by_reference.length > 0
  const pathless = ['add', 'psk', 'reinit']
  if (forced && extraProposals.every((p) => pathless.includes(p.proposalType))) throw new Unimplemented('force_path')
  const state = await receiveAll(s, r.by_reference)
  const out = await mls.createCommit({ state, cipherSuite: s.cs, pskIndex: index({ ...s, state }) }, {
    wireAsPublicMessage: !s.encrypt, extraProposals, ratchetTreeExtension: !r.external_tree,
  })
  s.pending = out.newState
  return {
    commit: base64(mls.encodeMlsMessage(out.commit)),
    welcome: out.welcome && envelope('mls_welcome', 'welcome', out.welcome),
    ratchet_tree: r.external_tree ? base64(encode(ratchetTreeEncoder)(out.newState.ratchetTree)) : '',
  }
}
function takePending(stateId) {
  const s = states.take(stateId)
  if (!s.pending) throw new Error('no commit is pending')
  return [s, s.pending]
}

// suspended makes the KeyPackage with which a client goes on after a ReInit.
async function suspended(s, state) {
  if (state.groupActiveState.kind !== 'suspendedPendingReinit') throw new Error('the commit has no ReInit')
  const { cipherSuite } = state.groupActiveState.reinit
  const cs = await suite(mls.ciphersuites[cipherSuite])
  const own = state.ratchetTree[2 * state.privatePath.leafIndex].leaf
  const kp = await newKeyPackage(cs, own.credential.identity)
  const id = reinits.put({ ...s, state, cs, kp })
  return { reinit_id: id, key_package: envelope('mls_key_package', 'keyPackage', kp.public), epoch_authenticator: authenticator(state) }
}
// started is a subgroup as its creator has it.
function started(s, out) {
  const state = out.newState
  return {
    state_id: next(s, state), welcome: envelope('mls_welcome', 'welcome', out.welcome),
    ratchet_tree: base64(encode(ratchetTreeEncoder)(state.ratchetTree)), epoch_authenticator: authenticator(state),
  }
}

await serve({
  Name: () => ({ name: 'ts-mls' }),
  async SupportedCiphersuites() {
    const ciphersuites = []
    for (const id of [1, 2, 3, 4, 5, 6, 7]) if (await suite(id).catch(() => undefined)) ciphersuites.push(id)
    return { ciphersuites }
  },
  async CreateGroup(r) {
    const cs = await suite(r.cipher_suite)
    const kp = await newKeyPackage(cs, bytes(r.identity))
    const state = await mls.createGroup(bytes(r.group_id), kp.public, kp.private, [], cs)
    return { state_id: next({ cs, encrypt: r.encrypt_handshake, psks: {} }, state) }
  },
  async CreateKeyPackage(r) {
    const cs = await suite(r.cipher_suite)
    const kp = await newKeyPackage(cs, bytes(r.identity))
    return {
      transaction_id: joiners.put({ cs, kp, psks: {} }), key_package: envelope('mls_key_package', 'keyPackage', kp.public),
      init_priv: base64(kp.private.initPrivateKey), encryption_priv: base64(kp.private.hpkePrivateKey),
      signature_priv: base64(kp.private.signaturePrivateKey),
    }
  },
  async JoinGroup(r) {
    const j = joiners.take(r.transaction_id)
    const { welcome } = message(bytes(r.welcome), 'mls_welcome')
    const state = await mls.joinGroup(welcome, j.kp.public, j.kp.private, mls.makePskIndex(undefined, j.psks), j.cs, tree(bytes(r.ratchet_tree)))
    return { state_id: next({ cs: j.cs, encrypt: r.encrypt_handshake, psks: j.psks }, state), epoch_authenticator: authenticator(state) }
  },
  async ExternalJoin(r) {
    if (r.psks.length) throw new Unimplemented('PSKs in an external commit')
    if (r.remove_prior) throw new Unimplemented('resync with another signature key')
    const { groupInfo } = message(bytes(r.group_info), 'mls_group_info')
    const cs = await suite(mls.ciphersuites[groupInfo.groupContext.cipherSuite])
    const kp = await newKeyPackage(cs, bytes(r.identity))
    const out = await mls.joinGroupExternal(groupInfo, kp.public, kp.private, false, cs, tree(bytes(r.ratchet_tree)))
    return {
      state_id: next({ cs, encrypt: r.encrypt_handshake, psks: {} }, out.newState),
      commit: envelope('mls_public_message', 'publicMessage', out.publicMessage), epoch_authenticator: authenticator(out.newState),
    }
  },
  async GroupInfo(r) {
    const { state, cs } = states.take(r.state_id)
    const pair = await cs.hpke.deriveKeyPair(state.keySchedule.externalSecret)
    const encoded = encode(ratchetTreeEncoder)(state.ratchetTree)
    const extensions = [{ extensionType: 'external_pub', extensionData: vector(await cs.hpke.exportPublicKey(pair.publicKey)) }]
    if (!r.external_tree) extensions.push({ extensionType: 'ratchet_tree', extensionData: encoded })
    const info = await createGroupInfo(state.groupContext, state.confirmationTag, state, extensions, cs)
    return { group_info: envelope('mls_group_info', 'groupInfo', info), ratchet_tree: r.external_tree ? base64(encoded) : '' }
  },
  StateAuth: (r) => ({ state_auth_secret: authenticator(states.take(r.state_id).state) }),
  async Export(r) {
    const { state, cs } = states.take(r.state_id)
    return { exported_secret: base64(await mls.mlsExporter(state.keySchedule.exporterSecret, r.label, bytes(r.context), r.key_length, cs)) }
  },
  async Protect(r) {
    const s = states.take(r.state_id)
    const out = await mls.createApplicationMessage(s.state, bytes(r.plaintext), s.cs, bytes(r.authenticated_data))
    s.state = out.newState
    return { ciphertext: envelope('mls_private_message', 'privateMessage', out.privateMessage) }
  },
  async Unprotect(r) {
    const s = states.take(r.state_id)
    const { privateMessage } = message(bytes(r.ciphertext), 'mls_private_message')
    const out = await mls.processPrivateMessage(s.state, privateMessage, mls.emptyPskIndex, s.cs)
    if (out.kind !== 'applicationMessage') throw new Error('not application data')
    s.state = out.newState
    return { plaintext: base64(out.message), authenticated_data: base64(privateMessage.authenticatedData) }
  },
  StorePSK(r) {
    const owner = states.get(r.state_or_transaction_id) ?? joiners.take(r.state_or_transaction_id)
    owner.psks[mls.bytesToBase64(bytes(r.psk_id))] = bytes(r.psk_secret)
  },
  AddProposal: (r) => propose(r.state_id, kind('add', r)),
  RemoveProposal: (r) => propose(r.state_id, kind('remove', r)),
  ExternalPSKProposal: (r) => propose(r.state_id, kind('externalPSK', r)),
  ResumptionPSKProposal: (r) => propose(r.state_id, kind('resumptionPSK', r)),
  GroupContextExtensionsProposal: (r) => propose(r.state_id, kind('groupContextExtensions', r)),
  ReInitProposal: (r) => propose(r.state_id, kind('reinit', r)),
  Commit: commit,
  HandlePendingCommit(r) {
    const [s, state] = takePending(r.state_id)
    return { state_id: next(s, state), epoch_authenticator: authenticator(state) }
  },
  async HandleCommit(r) {
    const s = states.take(r.state_id)
    const state = await receive(s, await receiveAll(s, r.proposal), bytes(r.commit))
    return { state_id: next(s, state), epoch_authenticator: authenticator(state) }
  },
  ReInitCommit: commit,
  HandlePendingReInitCommit: (r) => suspended(...takePending(r.state_id)),
  async HandleReInitCommit(r) {
    const s = states.take(r.state_id)
    return suspended(s, await receive(s, await receiveAll(s, r.proposal), bytes(r.commit)))
  },
  async ReInitWelcome(r) {
    if (!r.external_tree || r.force_path) throw new Unimplemented('a tree in the Welcome, or a path, of a reinitialised group')
    const s = reinits.take(r.reinit_id)
    const { groupId, cipherSuite, extensions } = s.state.groupActiveState.reinit
    const packages = r.key_package.map((k) => keyPackage(bytes(k)))
    return started(s, await mls.reinitCreateNewGroup(s.state, s.kp.public, s.kp.private, packages, groupId, cipherSuite, extensions))
  },
  async HandleReInitWelcome(r) {
    const s = reinits.take(r.reinit_id)
    const { welcome } = message(bytes(r.welcome), 'mls_welcome')
    const state = await mls.joinGroupFromReinit(s.state, welcome, s.kp.public, s.kp.private, tree(bytes(r.ratchet_tree)))
    return { state_id: next(s, state), epoch_authenticator: authenticator(state) }
  },
  async CreateBranch(r) {
    if (!r.external_tree || r.force_path || r.extensions.length) throw new Unimplemented('a tree in the Welcome, a path, or extensions, of a branch')
    const s = states.take(r.state_id)
    const own = s.state.ratchetTree[2 * s.state.privatePath.leafIndex].leaf
    const kp = await newKeyPackage(s.cs, own.credential.identity)
    const packages = r.key_packages.map((k) => keyPackage(bytes(k)))
    return started(s, await mls.branchGroup(s.state, kp.public, kp.private, packages, bytes(r.group_id), s.cs))
  },
  async HandleBranch(r) {
    const s = states.take(r.state_id)
    const j = joiners.take(r.transaction_id)
    const { welcome } = message(bytes(r.welcome), 'mls_welcome')
    const state = await mls.joinGroupFromBranch(s.state, welcome, j.kp.public, j.kp.private, tree(bytes(r.ratchet_tree)), s.cs)
    return { state_id: next({ ...s, psks: j.psks }, state), epoch_authenticator: authenticator(state) }
  },
  async NewMemberAddProposal(r) {
    const { groupInfo } = message(bytes(r.group_info), 'mls_group_info')
    const cs = await suite(mls.ciphersuites[groupInfo.groupContext.cipherSuite])
    const kp = await newKeyPackage(cs, bytes(r.identity))
    const proposal = await mls.proposeAddExternal(groupInfo, kp.public, kp.private, cs)
    return {
      transaction_id: joiners.put({ cs, kp, psks: {} }), proposal: base64(mls.encodeMlsMessage(proposal)),
      init_priv: base64(kp.private.initPrivateKey), encryption_priv: base64(kp.private.hpkePrivateKey),
      signature_priv: base64(kp.private.signaturePrivateKey),
    }
  },
  Free(r) {
    states.take(r.state_id)
    states.delete(r.state_id)
  },
})

package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	recpb "github.com/libp2p/go-libp2p-record/pb"
	"google.golang.org/protobuf/proto"
)

// Bounds of the records that this node keeps for others. Any peer can make groups, and so
// valid records.
const (
	maxStoreEntries = 16 << 10
	maxStoreBytes   = 32 << 20
)

// valueStore is the datastore of the DHT's values, in memory. When it is full, the peers
// that hold most of it make room: see shares.
type valueStore struct {
	mu      sync.Mutex
	m       *ds.MapDatastore
	shares  *shares[ds.Key]
	ids     map[ds.Key][32]byte // recordID of what is there
	from    func(key string, value []byte) holder
	entries int // bound
	limit   int // bound, bytes
}

var _ ds.Batching = (*valueStore)(nil)

// newValueStore makes a store. from returns the peer that brought a record.
func newValueStore(entries, bytes int, from func(key string, value []byte) holder) *valueStore {
	return &valueStore{m: ds.NewMapDatastore(), shares: newShares[ds.Key](), ids: make(map[ds.Key][32]byte), from: from, entries: entries, limit: bytes}
}

// Put keeps an encoded record. If several peers bring the same value, all of them are its
// holders.
func (s *valueStore) Put(ctx context.Context, k ds.Key, v []byte) error {
	var rec recpb.Record
	if err := proto.Unmarshal(v, &rec); err != nil {
		return fmt.Errorf("keeping a value of the DHT: %w", err)
	}
	by, id := s.from(string(rec.GetKey()), rec.GetValue()), recordID(string(rec.GetKey()), rec.GetValue())
	s.mu.Lock()
	defer s.mu.Unlock()
	holders := []holder{by}
	if s.ids[k] == id {
		holders = s.shares.with(k, by)
	}
	if err := s.drop(ctx, k); err != nil {
		return err
	}
	for s.shares.len() >= s.entries || s.shares.total+len(v) > s.limit {
		old, ok := s.shares.heaviest()
		if !ok {
			break
		}
		if err := s.drop(ctx, old); err != nil {
			return err
		}
	}
	s.shares.put(k, len(v), holders...)
	s.ids[k] = id
	return s.m.Put(ctx, k, v)
}

// drop forgets k if it is there.
func (s *valueStore) drop(ctx context.Context, k ds.Key) error {
	s.shares.drop(k)
	delete(s.ids, k)
	if err := s.m.Delete(ctx, k); err != nil && !errors.Is(err, ds.ErrNotFound) {
		return err
	}
	return nil
}

// Delete forgets a record.
func (s *valueStore) Delete(ctx context.Context, k ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(ctx, k)
}

// Get gives a record, encoded.
func (s *valueStore) Get(ctx context.Context, k ds.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Get(ctx, k)
}

// Has says whether a record is there.
func (s *valueStore) Has(ctx context.Context, k ds.Key) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Has(ctx, k)
}

// GetSize gives the length of a record's encoding.
func (s *valueStore) GetSize(ctx context.Context, k ds.Key) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.GetSize(ctx, k)
}

// Query goes through a copy of the store.
func (s *valueStore) Query(ctx context.Context, q query.Query) (query.Results, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Query(ctx, q) // copies what it gives
}

// Batch gives a batch whose writes are made one by one.
func (s *valueStore) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }

// Sync has nothing to do in memory.
func (s *valueStore) Sync(context.Context, ds.Key) error { return nil }

// Close has nothing to close.
func (s *valueStore) Close() error { return nil }

package discovery

import (
	"container/list"
	"context"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Bounds of the DHT's store in memory. Anyone can make groups, so anyone can make
// valid records: what was written longest ago makes room.
const (
	maxStoreEntries = 16 << 10
	maxStoreBytes   = 32 << 20
)

// boundedStore is a datastore in memory that forgets its oldest writes.
type boundedStore struct {
	mu      sync.Mutex
	m       *ds.MapDatastore
	order   *list.List // of ds.Key, oldest write first
	at      map[ds.Key]*list.Element
	bytes   int
	entries int // bound
	limit   int // bound, bytes
}

var _ ds.Batching = (*boundedStore)(nil)

func newBoundedStore(entries, bytes int) *boundedStore {
	return &boundedStore{m: ds.NewMapDatastore(), order: list.New(), at: make(map[ds.Key]*list.Element), entries: entries, limit: bytes}
}

func (s *boundedStore) Put(ctx context.Context, k ds.Key, v []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.drop(ctx, k); err != nil {
		return err
	}
	for s.order.Len() > 0 && (s.order.Len() >= s.entries || s.bytes+len(v) > s.limit) {
		if err := s.drop(ctx, s.order.Front().Value.(ds.Key)); err != nil {
			return err
		}
	}
	s.at[k] = s.order.PushBack(k)
	s.bytes += len(v)
	return s.m.Put(ctx, k, v)
}

// drop forgets k if it is there.
func (s *boundedStore) drop(ctx context.Context, k ds.Key) error {
	e, ok := s.at[k]
	if !ok {
		return nil
	}
	n, err := s.m.GetSize(ctx, k)
	if err != nil {
		return err
	}
	s.bytes -= n
	s.order.Remove(e)
	delete(s.at, k)
	return s.m.Delete(ctx, k)
}

func (s *boundedStore) Delete(ctx context.Context, k ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop(ctx, k)
}

func (s *boundedStore) Get(ctx context.Context, k ds.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Get(ctx, k)
}

func (s *boundedStore) Has(ctx context.Context, k ds.Key) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Has(ctx, k)
}

func (s *boundedStore) GetSize(ctx context.Context, k ds.Key) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.GetSize(ctx, k)
}

func (s *boundedStore) Query(ctx context.Context, q query.Query) (query.Results, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Query(ctx, q) // copies what it gives
}

func (s *boundedStore) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }
func (s *boundedStore) Sync(context.Context, ds.Key) error      { return nil }
func (s *boundedStore) Close() error                            { return nil }

package storage

import "fmt"

// schema is the newest layout of the database that this program knows. A record keeps the schema it was sealed under.
const schema = 1

// migrations[i] lifts a store from schema i+1 to i+2. Each must be able to run again after
// a crash halfway.
var migrations = [schema - 1]func(*Store) error{}

// migrate brings the store to the newest schema, one step at a time.
func (s *Store) migrate() error {
	for s.ring.schema < schema {
		if err := migrations[s.ring.schema-1](s); err != nil {
			return fmt.Errorf("storage: migrating from schema %d: %w", s.ring.schema, err)
		}
		s.ring.schema++
		if err := s.replaceKeys(nil, nil); err != nil {
			return err
		}
	}
	return nil
}

package main

import "hash"

// Java's murmur2 of a key, as a hash that sarama takes; the hash of librdkafka's `murmur2` too.
type murmur2 struct{ key []byte }

func newMurmur2() hash.Hash32 { return &murmur2{} }

func (m *murmur2) Write(part []byte) (int, error) {
	m.key = append(m.key, part...)
	return len(part), nil
}

func (m *murmur2) Sum32() uint32 {
	const multiplier, shift = 0x5bd1e995, 24
	rest, h := m.key, 0x9747b28c^uint32(len(m.key))
	for ; len(rest) >= 4; rest = rest[4:] {
		k := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16 | uint32(rest[3])<<24
		k *= multiplier
		k ^= k >> shift
		h = h*multiplier ^ k*multiplier
	}
	for at := len(rest) - 1; at >= 0; at-- {
		h ^= uint32(rest[at]) << (8 * at)
	}
	if len(rest) > 0 {
		h *= multiplier
	}
	h ^= h >> 13
	h *= multiplier
	return h ^ h>>15
}

func (m *murmur2) Sum(before []byte) []byte {
	h := m.Sum32()
	return append(before, byte(h>>24), byte(h>>16), byte(h>>8), byte(h))
}

func (m *murmur2) Reset()         { m.key = m.key[:0] }
func (m *murmur2) Size() int      { return 4 }
func (m *murmur2) BlockSize() int { return 4 }

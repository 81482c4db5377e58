// Verifies checkpoints and proofs of a ledger with the Go project's own packages for transparency logs: reads claims from
// stdin, one JSON object a line, and prints "true" or "false" for each.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A claim is a note signed by a key, an inclusion proof if it has a leaf, or else a consistency proof.
type claim struct {
	Key, Note string

	Leaf          []byte
	Index         int64
	Old, Size     int64
	OldRoot, Root []byte
	Path          [][]byte
}

func (c claim) holds() bool {
	if c.Note != "" {
		verifier, err := verifierOf(c.Key)
		if err != nil {
			return false
		}
		_, err = note.Open([]byte(c.Note), note.VerifierList(verifier))
		return err == nil
	}
	var path []tlog.Hash
	for _, each := range c.Path {
		path = append(path, hash(each))
	}
	if c.Leaf != nil {
		return tlog.CheckRecord(path, c.Size, hash(c.Root), c.Index, tlog.RecordHash(c.Leaf)) == nil
	}
	return tlog.CheckTree(path, c.Size, hash(c.Root), c.Old, hash(c.OldRoot)) == nil
}

// A witness's key, of a kind that the package does not know (c2sp.org/tlog-cosignature, Ed25519).
type witness struct {
	name string
	key  []byte
}

func (w witness) Name() string { return w.name }

func (w witness) KeyHash() uint32 {
	hash := sha256.Sum256(append([]byte(w.name+"\n\x04"), w.key...))
	return binary.BigEndian.Uint32(hash[:])
}

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(w.key, []byte(signed), signature[8:])
}

func verifierOf(text string) (note.Verifier, error) {
	if parts := strings.SplitN(text, "+", 3); len(parts) == 3 {
		key, err := base64.StdEncoding.DecodeString(parts[2])
		if err == nil && len(key) == 1+ed25519.PublicKeySize && key[0] == 4 {
			return witness{parts[0], key[1:]}, nil
		}
	}
	return note.NewVerifier(text)
}

func hash(content []byte) (found tlog.Hash) {
	if copy(found[:], content) != len(content) || len(content) != len(found) {
		fmt.Fprintln(os.Stderr, "not a hash:", content)
		os.Exit(2)
	}
	return found
}

func main() {
	decoder := json.NewDecoder(os.Stdin)
	for decoder.More() {
		var each claim
		if err := decoder.Decode(&each); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		fmt.Println(each.holds())
	}
}

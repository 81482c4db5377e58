// Verifies checkpoints and proofs of a ledger with the Go project's own packages for transparency logs: reads claims from
// stdin, one JSON object a line, and prints "true" or "false" for each.
package main

import (
	"encoding/json"
	"fmt"
	"os"

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
		verifier, err := note.NewVerifier(c.Key)
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

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	inquiry "estelam/inquiry/v1"

	"google.golang.org/protobuf/proto"
)

var answers = map[inquiry.Outcome]inquiry.Answer{
	inquiry.Outcome_OUTCOME_YES:       inquiry.Answer_ANSWER_YES,
	inquiry.Outcome_OUTCOME_NO:        inquiry.Answer_ANSWER_NO,
	inquiry.Outcome_OUTCOME_DISCLOSED: inquiry.Answer_ANSWER_UNSPECIFIED,
}

// proven returns the ledger's entry if receipt proves bare, the reply without it, to request; else nil.
// docs/receipts.md says what that means.
func proven(cert *x509.Certificate, method string, request, bare proto.Message, answer inquiry.Answer, receipt *inquiry.Receipt) *inquiry.Entry {
	entry := &inquiry.Entry{}
	askedProven, bareProven := request.ProtoReflect().New().Interface(), bare.ProtoReflect().New().Interface()
	if proto.Unmarshal(receipt.GetEntry(), entry) != nil || proto.Unmarshal(receipt.GetRequest(), askedProven) != nil ||
		proto.Unmarshal(receipt.GetReply(), bareProven) != nil {
		return nil
	}
	// 1 The receipt holds this question and this answer, and 2 the entry commits to them.
	committed := sum(receipt.GetSalt(), sum(receipt.GetRequest()), sum(receipt.GetReply()))
	stated, isAnswer := answers[entry.GetOutcome()]
	if !proto.Equal(askedProven, request) || !proto.Equal(bareProven, bare) || entry.GetMethod() != method ||
		!isAnswer || stated != answer || !bytes.Equal(committed, entry.GetCommitment()) {
		return nil
	}
	// 3 The checkpoint's tree has the entry.
	parts := strings.SplitN(receipt.GetCheckpoint(), "\n\n", 2)
	head := strings.Split(parts[0], "\n")
	if len(parts) < 2 || len(head) != 3 {
		return nil
	}
	size, err := strconv.ParseUint(head[1], 10, 63)
	root := rootAbove(sum([]byte{0}, receipt.GetEntry()), receipt.GetIndex(), size, receipt.GetInclusionPath())
	if err != nil || root == nil || base64.StdEncoding.EncodeToString(root) != head[2] {
		return nil
	}
	// 4 The provider's key has signed the checkpoint of its own ledger, when its certificate was valid.
	at := time.Unix(int64(entry.GetAnsweredAtMicros()/1000000), 0)
	ledger := fmt.Sprintf("estelam/%s/%s", strings.Split(method, ".")[1], organizationOf(cert))
	if at.Before(cert.NotBefore) || at.After(cert.NotAfter) || head[0] != ledger || !isSigned(cert, ledger, parts[0]+"\n", parts[1]) {
		return nil
	}
	return entry
}

func isSigned(cert *x509.Certificate, ledger, body, lines string) bool {
	key, isEd25519 := cert.PublicKey.(ed25519.PublicKey)
	name := sum([]byte(ledger+"\n\x01"), key)[:4]
	for _, line := range strings.Split(lines, "\n") {
		words := strings.Split(line, " ")
		if !isEd25519 || len(words) != 3 || words[0] != "—" || words[1] != ledger {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(words[2])
		if err == nil && len(signature) > 4 && bytes.Equal(signature[:4], name) && ed25519.Verify(key, []byte(body), signature[4:]) {
			return true
		}
	}
	return false
}

// rootAbove returns the root above a leaf (RFC 9162); nil if the path has too few or too many nodes.
func rootAbove(leaf []byte, index, size uint64, path [][]byte) []byte {
	if index >= size {
		return nil
	}
	node := leaf
	for i, end := index, size-1; end > 0; i, end = i>>1, end>>1 {
		if i&1 == 0 && i == end {
			continue // no sibling at this level
		}
		if len(path) == 0 {
			return nil
		}
		if i&1 == 1 {
			node = sum([]byte{1}, path[0], node)
		} else {
			node = sum([]byte{1}, node, path[0])
		}
		path = path[1:]
	}
	if len(path) > 0 {
		return nil
	}
	return node
}

func sum(parts ...[]byte) []byte {
	hash := sha256.Sum256(bytes.Join(parts, nil))
	return hash[:]
}

// organizationOf returns the organisation that a certificate names (OID 2.5.4.97).
func organizationOf(cert *x509.Certificate) string {
	for _, name := range cert.Subject.Names {
		if name.Type.String() == "2.5.4.97" {
			return fmt.Sprint(name.Value)
		}
	}
	return ""
}
